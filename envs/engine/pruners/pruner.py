"""What a granularity has to offer: from numbers of kept units to a pruned network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import nn

from envs.engine.network.calls import Inputs
from envs.engine.types import Cost, Layer, NetworkLayer


class Pruner(Protocol):
    """Prunes one dense network in one granularity.

    Attributes:
        layers: the steps of the MDP, in forward order.
    """

    layers: tuple[Layer, ...]

    @property
    def unprunable(self) -> Mapping[str, str]:
        """Modules that cannot be pruned, with the reason."""

    @property
    def knows(self) -> Mapping[str, Callable[[int], tuple[float, ...]]]:
        """What can be said of a layer beside: ``unit_scores``, ``reconstruction_error``; the engine offers the same."""

    def network_layers(self, inputs: Inputs) -> tuple[NetworkLayer, ...]:
        """Return every layer of the network, searched or kept whole, given what it is called with."""

    def cost(self, kept: Sequence[int]) -> Cost:
        """Return what the network takes with ``kept`` units left in every layer, without running it."""

    def prune(self, kept: Sequence[int]) -> nn.Module:
        """Return the pruned network, its weights repaired and its batch norms as they were; it owns its tensors."""

    def finish(self, kept: Sequence[int]) -> nn.Module:
        """Do as ``prune``, and repair as well as can be: what is fine-tuned or handed over."""

    def for_inference(self, model: nn.Module) -> nn.Module:
        """Return a copy of a network made by ``prune`` that gives the same outputs in less time."""
