"""AMC's evaluation of a strategy as its authors describe it, written plainly: what the engine is compared with.

Every episode prunes one layer after the other: the inputs of a layer that go are set to zero, and the weights that
stay are fitted by least squares (SVD) on the recorded inputs and outputs of the dense network. The network keeps its
dense size, and the hooks that recorded features stay on while it is scored.

References:
    He et al., 2018, "AMC", arXiv 1802.03494, section 3.3; He, Zhang, Sun, 2017, "Channel Pruning for Accelerating
    Very Deep Neural Networks", arXiv 1707.06168.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from envs.engine.network.channels import Side, first_units
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.repair.calibration import sample_inputs, watch_inputs

BATCH_SIZE = 50


class ReferenceProcedure:
    """Masks, solves and scores a network of convolutions without bias, each followed by a batch norm.

    Which channels go, which pixels are sampled and the intercept are as in the engine, so that both solve the same
    least-squares problems and must come to the same accuracies.
    """

    def __init__(
        self, model: nn.Module, pruner: ChannelPruner, calibration: Tensor, seed: int, points: int = 10
    ) -> None:
        """Record the features of the dense network.

        Args:
            model: the dense network in eval mode.
            pruner: knows channel groups and ranks.
            calibration: calibration inputs.
            seed: chooses the sampled pixels.
            points: output pixels an image.
        """
        self.model = model
        self.pruner = pruner
        self.norm_behind = dict(pruner.graph.folds)
        readers = [member.module for group in pruner.graph.groups for member in group.at(Side.IN)]
        self.inputs = self._record(list(dict.fromkeys(readers)), calibration, seed, points)

    def _record(self, names: Sequence[str], images: Tensor, seed: int, points: int) -> dict[str, np.ndarray]:
        generator = torch.Generator().manual_seed(seed)
        found: dict[str, list[Tensor]] = {name: [] for name in names}

        def record(name: str, module: nn.Module, inputs: Tensor) -> None:
            found[name].append(sample_inputs(module, inputs, points, generator)[0])

        watch_inputs(self.model, names, images, record)
        return {name: torch.cat(parts).numpy() for name, parts in found.items()}

    def prune(self, kept: Sequence[int]) -> nn.Module:
        """Return the masked network with its weights fitted layer by layer."""
        masked = copy.deepcopy(self.model)
        for group, rank, count in zip(self.pruner.graph.groups, self.pruner.ranks, kept, strict=True):
            units = first_units(rank, count)
            if units.all():
                continue
            for member in group.at(Side.IN):
                self._fit(masked, member.module, member.channels(units))
        return masked

    def _fit(self, masked: nn.Module, name: str, channels: Tensor) -> None:
        layer: Any = masked.get_submodule(name)  # a convolution or a linear layer
        weight = layer.weight.detach().flatten(1)
        columns = channels.repeat_interleave(weight.shape[1] // len(channels)).numpy()
        x = self.inputs[name]
        y = x @ weight.numpy().T
        x_mean, y_mean = x.mean(0), y.mean(0)
        solved, *_ = scipy.linalg.lstsq(
            x[:, columns] - x_mean[columns], y - y_mean, lapack_driver="gelsd", check_finite=False
        )
        fitted = np.zeros_like(weight.numpy())
        fitted[:, columns] = solved.T
        shift = torch.from_numpy(y_mean - x_mean @ fitted.T)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(fitted).view_as(layer.weight))
            if layer.bias is not None:
                layer.bias += shift
            else:
                masked.get_submodule(self.norm_behind[name]).running_mean -= shift

    @torch.no_grad()
    def accuracy(self, masked: nn.Module, images: Tensor, labels: Tensor) -> float:
        """Score the dense-sized network, features being recorded all along."""
        features: dict[str, tuple[Tensor, Tensor]] = {}
        handles = []
        for name, module in masked.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):

                def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                    features[name] = (args[0].clone(), output.clone())

                handles.append(module.register_forward_hook(hook))
        correct = 0
        for batch, target in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
            correct += int((masked(batch).argmax(1) == target).sum())
        for handle in handles:
            handle.remove()
        return correct / len(labels)
