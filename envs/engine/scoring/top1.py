"""How good a network is: accuracy, loss and divergence from the dense one on a split that stays on the device."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, nll_loss

from envs.engine.network.batches import Samples, count_samples, device_of, take
from envs.engine.network.calls import Inputs, forward, map_tensors
from envs.engine.scoring.parallel import run_batches
from envs.engine.scoring.precision import full_precision
from envs.engine.types import Evaluation

Score = Callable[[nn.Module], Evaluation]
ALL = slice(None)


class Answers(NamedTuple):
    """What a classifier made of some images, on the host.

    Attributes:
        correct: whether the class of highest score is the right one, bool, shape ``(n,)``.
        loss: cross-entropy of each image, float64, shape ``(n,)``.
        margin: by how much the highest score is above the second, shape ``(n,)``.
        divergence: KL divergence of the class probabilities from the reference's, in nats, float64, shape ``(n,)``;
            ``nan`` where there is no reference.
    """

    correct: Tensor
    loss: Tensor
    margin: Tensor
    divergence: Tensor


class Top1Scorer:
    """Measures top-1 accuracy and mean cross-entropy of a classifier, on a whole split or a slice of it.

    One that was made by ``compared_with`` a network measures the divergence from that one's outputs besides.
    """

    def __init__(self, images: Inputs, labels: Tensor, batch_size: int = 100, reference: Tensor | None = None) -> None:
        """Hold the split.

        Args:
            images: the network's inputs, tensors of shape ``(n, ...)``, on the device that networks run on.
            labels: class numbers, shape ``(n,)``.
            batch_size: images a forward pass.
            reference: logarithms of the class probabilities to compare with, shape ``(n, classes)``.

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
        self._reference = reference

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score a network in eval mode on the whole split."""
        correct, loss, _, divergence = self.answers(model)
        count = len(self)
        divergence_mean = math.nan if self._reference is None else float(divergence.sum()) / count
        return Evaluation(int(correct.sum()) / count, float(loss.sum()) / count, count, divergence_mean)

    def compared_with(self, dense: nn.Module) -> "Top1Scorer":
        """Return a scorer of the same split that knows the outputs of a network in eval mode, in float32.

        Raises:
            ValueError: it does not return class scores.
        """
        parts: dict[int, Tensor] = {}

        def work(network: nn.Module, part: slice) -> None:
            parts[part.start] = _log_probabilities(network, take(self._images, part))

        with full_precision():
            run_batches(work, dense, self._batches(len(self)), self._labels.device)
        reference = torch.cat([parts[start] for start in sorted(parts)])
        return Top1Scorer(self._images, self._labels, self._batch_size, reference)

    def answers(self, model: nn.Module, samples: Samples = ALL) -> Answers:
        """Run a network in eval mode on some of the images, all by default."""
        images, labels = map_tensors(take(self._images, samples), _channels_last), self._labels[samples]
        correct = torch.empty(len(labels), dtype=torch.bool, device=labels.device)
        loss, margin, divergence = (torch.full((len(labels),), math.nan, device=labels.device) for _ in range(3))
        reference = None if self._reference is None else self._reference[samples]

        # The host waits once, at the end: on a GPU batches queue up behind each other.
        def work(network: nn.Module, part: slice) -> None:
            scores = _class_scores(forward(network, take(images, part))).float()
            best = scores.topk(min(2, scores.shape[1]), 1).values
            logs = scores.log_softmax(1)
            correct[part] = scores.argmax(1) == labels[part]
            loss[part] = nll_loss(logs, labels[part], reduction="none")
            margin[part] = best[:, 0] - best[:, -1]
            if reference is not None:
                divergence[part] = kl_div(logs, reference[part], reduction="none", log_target=True).sum(1)

        run_batches(work, model, self._batches(len(labels)), labels.device)
        return Answers(correct.cpu(), loss.cpu().double(), margin.cpu(), divergence.cpu().double())

    def _batches(self, count: int) -> list[slice]:
        return [slice(start, start + self._batch_size) for start in range(0, count, self._batch_size)]


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def _log_probabilities(network: nn.Module, images: Inputs) -> Tensor:
    return _class_scores(forward(network, images)).float().log_softmax(1)


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
