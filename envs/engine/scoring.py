"""How good a network is: a metric and a loss on a split that stays on the device."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from envs.engine.batches import count_samples, device_of, take
from envs.engine.calls import Inputs, forward, map_tensors
from envs.engine.precision import full_precision
from envs.engine.types import Evaluation

Score = Callable[[nn.Module], Evaluation]


class Answers(NamedTuple):
    """What a classifier made of some images, on the host.

    Attributes:
        correct: whether the class of highest score is the right one, bool, shape ``(n,)``.
        loss: cross-entropy summed over the images.
    """

    correct: Tensor
    loss: float


class Top1Scorer:
    """Measures top-1 accuracy and mean cross-entropy of a classifier, on a whole split or a slice of it."""

    def __init__(self, images: Inputs, labels: Tensor, batch_size: int = 100) -> None:
        """Hold the split.

        Args:
            images: the network's inputs, tensors of shape ``(n, ...)``, on the device that networks run on.
            labels: class numbers, shape ``(n,)``.
            batch_size: images a forward pass.

        Raises:
            ValueError: there is no image, or not one class number an image.
        """
        count = count_samples(images)
        if count == 0 or count != len(labels):
            raise ValueError(f"{count} images and {len(labels)} labels: scoring needs as many, and at least one")
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(
                f"labels {tuple(labels.shape)} of {labels.dtype}: accuracy needs one class number an image"
            )
        self._images = map_tensors(images, _channels_last)
        self._labels = labels.to(device_of(images))
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score a network in eval mode on the whole split."""
        correct, loss = self.answers(model, 0, len(self))
        return Evaluation(int(correct.sum()) / len(self), loss / len(self), len(self))

    def answers(self, model: nn.Module, start: int, stop: int) -> Answers:
        """Run a network in eval mode on the images from ``start`` up to ``stop``."""
        images, labels = take(self._images, slice(start, stop)), self._labels[start:stop]
        correct = torch.empty(len(labels), dtype=torch.bool, device=labels.device)
        loss = torch.zeros((), dtype=torch.float64, device=labels.device)
        # The host waits once, at the end: on a GPU batches queue up behind each other.
        with torch.inference_mode():
            for first in range(0, len(labels), self._batch_size):
                part = slice(first, first + self._batch_size)
                logits = _class_scores(forward(model, take(images, part))).float()
                correct[part] = logits.argmax(1) == labels[part]
                loss += cross_entropy(logits, labels[part], reduction="sum")
        return Answers(correct.cpu(), float(loss))


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def _class_scores(outputs: object) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.ndim == 2:
        return outputs
    what = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
    raise ValueError(f"the network returns {what}, accuracy needs (samples, classes): give a score function instead")


def metric_scorer(score: Callable[[nn.Module], float | Evaluation]) -> Score:
    """Turn any function of a network into a scorer; where it returns a bare metric, loss and images are unknown.

    The function always sees float32: what it does with a network's outputs is not known to bear less.

    Raises:
        ValueError: when called, if the score is not a finite number.
    """

    def evaluate(model: nn.Module) -> Evaluation:
        with torch.inference_mode(), full_precision():
            scored = score(model)
        evaluation = scored if isinstance(scored, Evaluation) else Evaluation(float(scored), math.nan, 0)
        if not math.isfinite(evaluation.metric):
            raise ValueError(f"score(model) returned {evaluation.metric}: it must be a finite number")
        return evaluation

    return evaluate
