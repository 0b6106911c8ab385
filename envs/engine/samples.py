"""Calibration data with what criteria that need a loss must know."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import cross_entropy

Loss = Callable[[Any, Tensor], Tensor]
"""``(outputs of the network, labels) -> mean loss``, a scalar."""


class Samples(NamedTuple):
    """Calibration inputs.

    Attributes:
        inputs: on the network's device, shape ``(n, ...)``.
        labels: what the loss compares outputs with, shape ``(n, ...)``; ``None`` where unknown.
        loss: what the network was trained with.
    """

    inputs: Tensor
    labels: Tensor | None = None
    loss: Loss = cross_entropy

    def batches(self, size: int, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(inputs, labels)`` of at most ``size`` samples each, of the first ``most`` samples.

        Raises:
            ValueError: there are no labels, or not one a sample.
        """
        if self.labels is None:
            raise ValueError("this criterion needs the labels of the calibration data: pass calibration_labels")
        if len(self.labels) != len(self.inputs):
            raise ValueError(f"{len(self.inputs)} calibration inputs but {len(self.labels)} labels: one each is needed")
        labels = self.labels.to(self.inputs.device)
        return zip(self.inputs[:most].split(size), labels[:most].split(size), strict=True)
