"""Calibration data with what criteria that need a loss must know."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import cross_entropy

from envs.engine.network.batches import count_samples, device_of, split, take
from envs.engine.network.calls import Inputs

Loss = Callable[[Any, Tensor], Tensor]
"""``(outputs of the network, labels) -> mean loss``, a scalar."""


class Samples(NamedTuple):
    """Calibration inputs.

    Attributes:
        inputs: on the network's device, tensors of shape ``(n, ...)``.
        labels: what the loss compares outputs with, shape ``(n, ...)``; ``None`` where unknown.
        loss: what the network was trained with.
    """

    inputs: Inputs
    labels: Tensor | None = None
    loss: Loss = cross_entropy

    def batches(self, size: int, most: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield ``(inputs, labels)`` of at most ``size`` samples each, of the first ``most`` samples.

        Raises:
            ValueError: there are no labels, or not one a sample.
        """
        if self.labels is None:
            raise ValueError("this criterion looks at gradients: calibration has to be pairs (inputs, targets)")
        count = count_samples(self.inputs)
        if len(self.labels) != count:
            raise ValueError(f"{count} calibration inputs but {len(self.labels)} labels: one each is needed")
        labels = self.labels.to(device_of(self.inputs))
        return zip(split(take(self.inputs, slice(most)), size), labels[:most].split(size), strict=True)
