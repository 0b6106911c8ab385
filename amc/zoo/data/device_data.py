"""The splits of a run as networks see them: normalised, on the device that networks run on."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amc.zoo.data.dataset import Split, Splits
from envs.engine.network.memory_layout import lay_out
from envs.engine.scoring.top1 import Metric, Top1Scorer


@dataclass(frozen=True)
class DeviceData:
    """Splits, and the device that networks run on.

    Attributes:
        splits: the data, as bytes or floats on the CPU.
        device: where networks run.
        metric: what networks are scored by instead of accuracy.
    """

    splits: Splits
    device: torch.device
    metric: Metric | None = None

    def inputs(self, images: Tensor) -> Tensor:
        """Return images of a split, ``(n, channels, height, width)``, as a network's input on the device."""
        return self.splits.normalize(images).to(self.device)

    def example(self) -> Tensor:
        """Return one image as a network's input, ``(1, channels, height, width)``."""
        return self.splits.example().to(self.device)

    def place(self, network: nn.Module) -> nn.Module:
        """Put a network where it runs, in place and in eval mode, laid out as it reads images fastest."""
        network.to(self.device).eval()
        lay_out(network, self.example())
        return network

    def scorer(self, split: Split) -> Top1Scorer:
        """Return what scores a network on a split."""
        return Top1Scorer(self.inputs(split.images), split.labels.to(self.device), metric=self.metric)
