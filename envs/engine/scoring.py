"""How good a network is: a metric and a loss on a split that stays on the device."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from envs.engine.types import Evaluation

Score = Callable[[nn.Module], Evaluation]


def top1_scorer(images: Tensor, labels: Tensor, batch_size: int = 100) -> Score:
    """Return a function that measures top-1 accuracy and mean cross-entropy.

    Args:
        images: the network's input, shape ``(n, ...)``, on the device that networks run on.
        labels: class numbers, shape ``(n,)``.
        batch_size: images a forward pass.

    Raises:
        ValueError: there is no image, or not one label an image.
    """
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels: scoring needs as many, and at least one")
    if images.ndim == 4:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = labels.to(images.device)

    def score(model: nn.Module) -> Evaluation:
        correct = torch.zeros((), dtype=torch.int64, device=images.device)
        loss = torch.zeros((), dtype=torch.float64, device=images.device)
        with torch.inference_mode():
            for batch, target in zip(images.split(batch_size), labels.split(batch_size), strict=True):
                logits = model(batch).float()
                correct += (logits.argmax(1) == target).sum()
                loss += cross_entropy(logits, target, reduction="sum")
        return Evaluation(int(correct) / len(labels), float(loss) / len(labels), len(labels))

    return score


def metric_scorer(score: Callable[[nn.Module], Any]) -> Score:
    """Turn any ``score(model) -> float``, higher being better, into a scorer without a loss.

    Raises:
        ValueError: when called, if the score is not a finite number.
    """

    def evaluate(model: nn.Module) -> Evaluation:
        with torch.inference_mode():
            metric = float(score(model))
        if metric != metric or metric in (float("inf"), float("-inf")):
            raise ValueError(f"score(model) returned {metric}: it must be a finite number")
        return Evaluation(metric, float("nan"), 0)

    return evaluate
