"""How good a network is: accuracy, loss and divergence from the dense one on a split that stays on the device."""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, nll_loss

from envs.engine.network.batches import SampleIndex, count_samples, device_of, take
from envs.engine.network.calls import Inputs, described, flatten_outputs, forward, main_output, map_tensors
from envs.engine.network.isolation import copy_network
from envs.engine.network.memory_layout import Layout, layout_of
from envs.engine.scoring.answers import Answers
from envs.engine.scoring.close_calls import settle
from envs.engine.scoring.fast_convolutions import FastConvolutions
from envs.engine.scoring.parallel import even_batches, run_batches
from envs.engine.scoring.precision import full_precision
from envs.engine.types import Evaluation

Score = Callable[[nn.Module], Evaluation]
Metric = Callable[[Tensor, Tensor], float]
"""``(class scores, class numbers) -> how good they are``, higher is better; ``(n, classes)`` and ``(n,)``."""
ALL = slice(None)
BATCH, SMALL_IMAGE, BATCH_OF_SMALL = 100, 3 * 64 * 64, 250
"""Samples a forward pass; numbers of a small image, and how many of those."""
LARGEST_METRIC = 1e15
"""Beyond it squares of differences between metrics leave the range of float32, in which agents learn."""
LARGEST_LOSS = 1e6
"""Nats an image: beyond it networks are as wrong as each other, and one whose scores overflow still has a number."""


class Top1Scorer:
    """Measures top-1 accuracy and mean cross-entropy of a classifier, on a whole split or a slice of it.

    One that was made by ``compared_with`` a network measures the divergence from that one's outputs besides.

    Attributes:
        images: the inputs of the split.
        reference: logarithms of that network's class probabilities, shape ``(n, classes)``.
    """

    is_pure: ClassVar[bool] = True
    """A score depends on the network alone, and several may be made side by side."""

    def __init__(
        self,
        images: Inputs,
        labels: Tensor,
        batch_size: int | None = None,
        output: Callable[[Any], Any] = main_output,
        metric: Metric | None = None,
    ) -> None:
        """Hold the split.

        Args:
            images: the network's inputs, tensors of shape ``(n, ...)``, on the device that networks run on.
            labels: class numbers, shape ``(n,)``.
            batch_size: images a forward pass, at most; by default 250 of up to 64x64 pixels, 100 of anything else.
            output: picks the class scores from what a network returns.
            metric: scores a network instead of accuracy.

        Raises:
            ValueError: there is no image, one that holds NaN, or not one class number an image.
        """
        count = count_samples(images)
        if count == 0 or count != len(labels):
            raise ValueError(f"{count} images and {len(labels)} labels: scoring needs as many, and at least one")
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(
                f"labels {tuple(labels.shape)} of {labels.dtype}: accuracy needs one class number an image"
            )
        if int(labels.min()) < 0:
            raise ValueError(f"labels go down to {int(labels.min())}: class numbers start at 0")
        if any(bool(tensor.isnan().any()) for tensor in flatten_outputs(images) if tensor.is_floating_point()):
            raise ValueError("images to score on hold NaN: every accuracy would be a wrong number")
        self.images = images
        self._layout: Layout | None = None  # the first network tells: those pruned from one another read alike
        self._classes = int(labels.max()) + 1
        self._labels = labels.to(device_of(images))
        self._batch_size, self._output, self._metric = batch_size or usual_batch(images), output, metric
        self.reference: Tensor | None = None
        self._fast = FastConvolutions()  # one for all parts of the split

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._labels)

    def __call__(self, model: nn.Module) -> Evaluation:
        """Score a network in eval mode on the whole split; accuracy is that of float32 where less precision is on."""
        if self._metric is not None:
            return self._by_metric(model, self._metric)
        correct, loss, _, divergence = self._settled(model)
        count = len(self)
        divergence_mean = math.nan if self.reference is None else float(divergence.sum()) / count
        return Evaluation(int(correct.sum()) / count, float(loss.sum()) / count, count, divergence_mean)

    def compared_with(self, dense: nn.Module) -> "Top1Scorer":
        """Return a scorer of the same split that knows the outputs of a network in eval mode, in float32.

        Raises:
            ValueError: it does not return class scores.
        """
        with full_precision():
            reference = self._scores(dense).log_softmax(1)
        scorer = copy.copy(self)
        scorer.reference = reference
        return scorer

    def imitating(self, dense: nn.Module) -> "Top1Scorer":
        """Return a scorer like ``compared_with``'s to which the class that ``dense`` takes is the right one.

        Labels do not count: accuracy is agreement with ``dense``.
        """
        scorer = self.compared_with(dense)
        assert scorer.reference is not None  # noqa: S101  it was compared with a network
        scorer._labels = scorer.reference.argmax(1)
        return scorer

    def part(self, samples: Tensor) -> "Top1Scorer":
        """Return a scorer of some of the images, by number."""
        scorer = copy.copy(self)
        chosen = samples.to(self._labels.device)
        scorer.images = take(self.images, chosen)
        if self._layout is not None:
            scorer.images = map_tensors(scorer.images, self._layout)
        scorer._labels = self._labels[chosen]
        scorer.reference = None if self.reference is None else self.reference[chosen]
        return scorer

    def _scores(self, model: nn.Module) -> Tensor:
        """Return a network's class scores of all images, float32, ``(n, classes)``."""
        parts: dict[int, Tensor] = {}

        images = self._laid_out(model)

        def work(network: nn.Module, part: slice) -> None:
            outputs = self._output(forward(network, take(images, part)))
            parts[part.start] = _class_scores(outputs, self._classes, len(self._labels[part])).float()

        run_batches(work, self.ready(model), even_batches(len(self), self._batch_size), self._labels.device)
        return torch.cat([parts[start] for start in sorted(parts)])

    def _by_metric(self, model: nn.Module, metric: Metric) -> Evaluation:
        scores, count = self._scores(model), len(self)
        logs = scores.log_softmax(1)
        divergence = math.nan if self.reference is None else float(_divergence(logs, self.reference).mean())
        scored = _as_evaluation(metric(scores, self._labels))
        return Evaluation(scored.metric, float(nll_loss(logs, self._labels).clamp(max=LARGEST_LOSS)), count, divergence)

    def answers(self, model: nn.Module, samples: SampleIndex = ALL) -> Answers:
        """Run a network in eval mode, as it is, on some of the images, all by default."""
        images, labels = take(self._laid_out(model), samples), self._labels[samples]
        correct = torch.empty(len(labels), dtype=torch.bool, device=labels.device)
        loss, margin, divergence = (torch.full((len(labels),), math.nan, device=labels.device) for _ in range(3))
        reference = None if self.reference is None else self.reference[samples]

        # The host waits once, at the end: on a GPU batches queue up behind each other.
        def work(network: nn.Module, part: slice) -> None:
            outputs = self._output(forward(network, take(images, part)))
            scores = _class_scores(outputs, self._classes, len(labels[part])).float()
            best = scores.topk(min(2, scores.shape[1]), 1).values
            logs = scores.log_softmax(1)
            correct[part] = scores.argmax(1) == labels[part]
            loss[part] = nll_loss(logs, labels[part], reduction="none").clamp(max=LARGEST_LOSS)
            margin[part] = best[:, 0] - best[:, -1]
            if reference is not None:
                divergence[part] = _divergence(logs, reference[part])

        run_batches(work, model, even_batches(len(labels), self._batch_size), labels.device)
        return Answers(correct.cpu(), loss.cpu().double(), margin.cpu(), divergence.cpu().double())

    def _settled(self, model: nn.Module) -> Answers:
        """Return the answers to all images, close calls decided in float32 where less precision is on."""
        ready = self.ready(model)

        def exact(images: Tensor) -> Answers:
            with full_precision():
                return self.answers(ready, images)

        answers = self.answers(ready)
        is_reduced = torch.is_autocast_enabled(self._labels.device.type)
        return settle(answers, exact) if is_reduced else answers

    def ready(self, model: nn.Module) -> nn.Module:
        """Return what gives the same answers sooner: made once for a network that is asked several times."""
        return self._fast(model) if self._labels.device.type == "cpu" else model

    def _laid_out(self, model: nn.Module) -> Inputs:
        if self._layout is None:
            self._layout = layout_of(model, self.images)
            self.images = map_tensors(self.images, self._layout)
        return self.images


def usual_batch(inputs: Inputs) -> int:
    """Return how many samples a forward pass takes at a time: more of small images keep deep layers busier."""
    first = flatten_outputs(inputs)[0]
    return BATCH_OF_SMALL if first.ndim == 4 and first[0].numel() <= SMALL_IMAGE else BATCH


def _divergence(logs: Tensor, reference: Tensor) -> Tensor:
    """Return the KL divergence of every image's class probabilities from the reference's, float64."""
    return kl_div(logs, reference, reduction="none", log_target=True).sum(1).double().clamp(max=LARGEST_LOSS)


def _class_scores(outputs: object, classes: int, samples: int) -> Tensor:
    if isinstance(outputs, Tensor) and outputs.ndim == 2 and len(outputs) == samples:
        # By shape alone: looking at labels here would have the host wait for the device.
        if outputs.shape[1] < classes:
            raise ValueError(f"labels go up to {classes - 1}, and the network knows {outputs.shape[1]} classes from 0")
        return outputs
    raise ValueError(
        f"the network returns {described(outputs)} for {samples} samples, accuracy needs (samples, classes): "
        "give output=lambda outputs: ..., or give a score function instead"
    )


def metric_scorer(score: Callable[[nn.Module], float | Evaluation]) -> Score:
    """Turn any function of a network into a scorer; where it returns a bare metric, loss and images are unknown.

    The function always sees float32: what it does with a network's outputs is not known to bear less. It is handed a
    copy: what it does to the network changes nothing else.

    Raises:
        ValueError: when called, if the score is not a finite number of usual size.
    """

    def evaluate(model: nn.Module) -> Evaluation:
        # Copied outside of inference mode, in which copies would be of no use to functions that take gradients.
        copied = copy_network(model)
        with torch.inference_mode(), full_precision():
            return _as_evaluation(score(copied))

    return evaluate


def _as_evaluation(scored: object) -> Evaluation:
    metric = scored.metric if isinstance(scored, Evaluation) else scored
    try:
        number = float(metric)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"score(model) returned a {type(metric).__name__}: it must be a number") from error
    if not abs(number) <= LARGEST_METRIC:
        raise ValueError(f"score(model) returned {number}: it must be a finite number, of at most {LARGEST_METRIC:g}")
    return scored._replace(metric=number) if isinstance(scored, Evaluation) else Evaluation(number, math.nan, 0)
