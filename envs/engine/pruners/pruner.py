"""What a granularity has to offer: from numbers of kept units to a pruned network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import nn

from envs.engine.choices import SMALLER
from envs.engine.errors import NotKnown
from envs.engine.latency import LatencyModel, TimedLayer
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


@runtime_checkable
class CompactPruner(Pruner, Protocol):
    """A pruner whose networks are smaller ones, so that time and memory at the peak can be said of them.

    Those that mask weights leave a network of the same layers and activations.
    """

    def cut(self, kept: Sequence[int]) -> nn.Module:
        """Return the physically smaller network, not repaired: for what does not depend on its weights."""

    def timed_layers(self, kept: Sequence[int]) -> list[TimedLayer]:
        """Return the layers that take time, with their channels when ``kept`` units are left in every step."""

    def predict_latency(self, model: LatencyModel) -> None:
        """Let costs hold the seconds that a table of layers predicts."""

    def track_peak(self, example_inputs: Inputs) -> None:
        """Let costs hold the memory that a forward pass of one sample takes at its peak."""

    def restrict(self, choices: Sequence[tuple[int, ...]]) -> None:
        """Leave every step fewer numbers of units to choose from, the whole among them."""


def as_compact(pruner: Pruner, granularity: str, asked: str) -> CompactPruner:
    """Return a pruner as one whose networks are smaller.

    Args:
        pruner: of that granularity.
        granularity: what is removed.
        asked: what it has to be one for, in words.

    Raises:
        NotKnown: it masks weights, and its networks stay as large.
    """
    if not isinstance(pruner, CompactPruner):
        raise NotKnown(f"{asked} needs granularity={', '.join(SMALLER)}, not {granularity}")
    return pruner
