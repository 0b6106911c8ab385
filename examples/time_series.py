"""Prune a one-dimensional network that tells four frequencies apart in noise."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import amc


def signals(count: int) -> tuple[Tensor, Tensor]:
    """Return sine waves of four frequencies with random phase and noise, ``(count, 1, 64)``, and their classes."""
    labels, phase = torch.randint(4, (count,)), 6.3 * torch.rand(count, 1)
    waves = torch.sin(torch.arange(64) * (0.3 + 0.1 * labels.unsqueeze(1)) + phase)
    return (waves + 0.8 * torch.randn(count, 64)).unsqueeze(1), labels


def main(steps: int = 200, episodes: int = 50) -> None:
    """Train and search."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv1d(1, 32, 9, padding=4), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Conv1d(32, 64, 9, padding=4), nn.BatchNorm1d(64), nn.ReLU(), nn.AdaptiveAvgPool1d(4)),
        *(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 4)),
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        inputs, labels = signals(64)
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    train, val = [signals(256)], [signals(512)]
    result = amc.prune(model.eval(), train[0][0][:1], calibration=train, validation=val, target=0.3, episodes=episodes)
    dense = float((model(val[0][0]).argmax(1) == val[0][1]).float().mean())
    print(f"accuracy {dense:.3f} dense, {result.best.evaluation.metric:.3f} at 30% of the FLOPs: {result.strategy}")


if __name__ == "__main__":
    main()
