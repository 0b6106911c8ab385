"""Prune a convolutional network of your own to 30% of its FLOPs, fine-tune it, save it and load it back.

Any ``nn.Module`` will do. What a search needs beside it are three sets of images that do not overlap:

- training images, a few hundred of which repair the candidates (``calibration``) and all of which fine-tune the winner;
- images that candidates are scored on while the search chooses among them (``validation``);
- test images that neither training nor the search has seen, for the figures that are printed.

The images are scikit-learn's digits, 8 x 8 pixels in one channel. Takes about ten seconds on one core.
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import amc


def load_splits() -> list[tuple[Tensor, Tensor]]:
    """Return the splits for training, for the search and for the test, each as images and labels."""
    pixels, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(classes))
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16
    labels = torch.tensor(classes)[order]
    sizes = [1000, 300, 497]
    return list(zip(images.split(sizes), labels.split(sizes), strict=True))


def make_network() -> nn.Module:
    """Return two convolutions with batch norms, and a classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def fit(model: nn.Module, images: Tensor, labels: Tensor, steps: int) -> None:
    """Train for some steps of 64 images, and leave the network in eval mode."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    for _ in range(steps):
        batch = torch.randint(len(labels), (64,))
        optimizer.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images that are told right."""
    return float((model(images).argmax(1) == labels).float().mean())


def main(steps: int = 200, episodes: int = 50) -> None:
    """Train, search, fine-tune, and come back from a folder."""
    torch.manual_seed(0)
    train, search, test = load_splits()
    model = make_network()
    fit(model, *train, steps)

    calibration = [(train[0][:300], train[1][:300])]
    found = amc.prune(model, train[0][:1], calibration=calibration, validation=[search], target=0.3, episodes=episodes)
    batches = list(zip(train[0].split(64), train[1].split(64), strict=True))
    tuned = found.finetune(batches, epochs=5)
    with tempfile.TemporaryDirectory() as folder:
        tuned.save(folder)
        loaded = amc.load(folder, model=model)

    print(f"accuracy on test: {accuracy(model, *test):.3f} dense")
    print(f"{accuracy(found.model, *test):.3f} at 30% of the FLOPs, {accuracy(loaded, *test):.3f} fine-tuned")


if __name__ == "__main__":
    main()
