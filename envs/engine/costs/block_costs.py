"""What goes with whole residual blocks, beside the channels that go."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from envs.engine.tracing.graph import NetworkGraph
from envs.engine.tracing.preflight import is_inside


class Layers(NamedTuple):
    """FLOPs and parameters of modules in the dense network, by row."""

    names: Sequence[str]
    flops: NDArray[np.float64]
    params: NDArray[np.float64]


class BlockCosts:
    """What is left of a network without some of its blocks: which modules, and what belongs to no module.

    Where channels go from a gone block, too, nothing more goes with them. What a group that reaches beyond the block
    takes outside of layers is not told apart by block: streams, of which this could be, multiply nothing themselves.
    """

    def __init__(self, model: nn.Module, graph: NetworkGraph, layers: Layers) -> None:
        """Take down what is inside of every block."""
        inside = [[is_inside(name, [block.name]) for name in layers.names] for block in graph.blocks]
        self._rows = np.array(inside, dtype=bool).reshape(len(graph.blocks), len(layers.names))
        groups = [
            [all(is_inside(member.module, [block.name]) for member in group.members) for group in graph.groups]
            for block in graph.blocks
        ]
        self._groups = np.array(groups, dtype=bool).reshape(len(graph.blocks), len(graph.groups))
        counts = [sum(each.numel() for each in model.get_submodule(block.name).parameters()) for block in graph.blocks]
        self._params = np.array(counts, dtype=np.float64) - self._rows @ layers.params
        self._flops = np.array([block.flops for block in graph.blocks], dtype=np.float64) - self._rows @ layers.flops

    def modules_left(self, without: Sequence[int]) -> NDArray[np.bool_]:
        """Return which modules are still there, shape ``(modules,)``."""
        return np.asarray(~self._rows[list(without)].any(0), dtype=np.bool_)

    def groups_left(self, without: Sequence[int]) -> NDArray[np.bool_]:
        """Return which groups are not inside of a block that is gone, shape ``(groups,)``."""
        return np.asarray(~self._groups[list(without)].any(0), dtype=np.bool_)

    def other_flops(self, without: Sequence[int]) -> float:
        """Return the FLOPs of the blocks that are gone outside of their layers, all channels there."""
        return float(self._flops[list(without)].sum())

    def other_params(self, without: Sequence[int]) -> float:
        """Return the parameters of the blocks that are gone that no kind of layer knows."""
        return float(self._params[list(without)].sum())
