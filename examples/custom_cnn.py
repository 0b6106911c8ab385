"""Prune a convolutional network of your own on scikit-learn's digits, and fine-tune it."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import amc

PIXELS, LABELS = map(torch.tensor, load_digits(return_X_y=True))
IMAGES = PIXELS.float().view(-1, 1, 8, 8) / 16


def fit(model: nn.Module, steps: int) -> float:
    """Train, and return the accuracy on images not trained on."""
    optimizer = torch.optim.Adam(model.train().parameters(), 3e-3)
    for batch in torch.randint(1200, (steps, 64)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES[batch]), LABELS[batch]).backward()
        optimizer.step()
    return float((model.eval()(IMAGES[1200:]).argmax(1) == LABELS[1200:]).float().mean())


def main(steps: int = 200, episodes: int = 50) -> None:
    """Train, search, fine-tune."""
    torch.manual_seed(0)
    first = (nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    model = nn.Sequential(*first, *second, nn.Linear(256, 10))
    dense, train, val = fit(model, steps), [(IMAGES[:1200], LABELS[:1200])], [(IMAGES[1200:], LABELS[1200:])]
    result = amc.prune(model, IMAGES[:1], calibration=train, validation=val, target=0.3, episodes=episodes)
    found, tuned = result.best.evaluation.metric, fit(result.model, steps // 4)
    print(f"accuracy {dense:.3f} dense, {found:.3f} at 30% of the FLOPs, {tuned:.3f} fine-tuned")


if __name__ == "__main__":
    main()
