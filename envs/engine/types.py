"""The types that engine, environment and policies share. No logic beyond rounding, no torch."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

Strategy = tuple[float, ...]
"""Keep ratio per step, in forward order: in (0, 1], and 0 for a residual block that goes."""


@dataclass(frozen=True)
class Layer:
    """One step of the MDP: the input channels of a layer and all that must keep the same ones, a weight, or a block.

    The shape fields describe that layer, the first to read the channels or use the weight, as AMC's state does. Those
    of a residual block are of what it adds to; its kernel of 0, which no layer has, says that it is one.

    Attributes:
        name: module name of the layer.
        units: number of channels that can go one by one (a unit may stand for several, see the engine's graph), or
            of parts of the weight, see ``envs.engine.surgery.granularity``; 1 for a block.
        choices: numbers of units that may be kept, ascending; the last is ``units``. Only a block may keep 0.
        outputs: output channels, n in the paper.
        inputs: input channels, c in the paper.
        height: height of the layer's input in pixels, 1 where it has none.
        width: width of the layer's input in pixels, 1 where it has none.
        stride: stride along the last axis, 1 for linear layers.
        kernel: kernel size along the last axis, 1 for linear layers, 0 for a block.
        flops: multiply-accumulates of the dense layer for one sample.

    Raises:
        ValueError: ``choices`` is not ascending from at least 1, or 0 for a block, up to ``units``.
    """

    name: str
    units: int
    choices: tuple[int, ...]
    outputs: int
    inputs: int
    height: int
    width: int
    stride: int
    kernel: int
    flops: float

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.choices, self.choices[1:], strict=False))
        least = 0 if self.is_block else 1
        if not self.choices or self.choices[0] < least or self.choices[-1] != self.units or not ascending:
            raise ValueError(f"layer {self.name}: choices {self.choices} must ascend from {least} to {self.units}")

    @property
    def is_block(self) -> bool:
        """Whether it is a residual block, which stays or goes altogether."""
        return self.kernel == 0

    def kept(self, keep: float) -> int:
        """Return the allowed number of units nearest to ``keep * units``, the larger one where two are as near."""
        wanted = keep * self.units
        above = min(bisect_left(self.choices, wanted), len(self.choices) - 1)
        below = max(above - 1, 0)
        nearer_below = wanted - self.choices[below] < self.choices[above] - wanted
        return self.choices[below if nearer_below else above]

    def executed(self, keep: float) -> float:
        """Return the keep ratio that rounding makes of ``keep``."""
        return self.kept(keep) / self.units


class Cost(NamedTuple):
    """What a network takes for one sample; ``None`` where the engine does not know.

    Attributes:
        flops: multiply-accumulates. Where whole channels go, those of the whole network: convolutions, linear layers,
            attention and other products of matrices; where masks are set, of convolutions and linear layers only.
        params: number of parameters.
        memory: bytes of parameters and buffers as shipped; of pruned weights the cheaper of sparse and dense storage.
        latency: seconds of one forward pass. ``TorchEngine`` knows it once it was given a table of layers
            (``predict_latency``), ``AnalyticEngine`` does not: ``resource="latency"`` is refused then.
        memory_peak: bytes of weights, buffers, input and live activations at the peak of a forward pass; known where it
            was asked for (``track_peak``).
    """

    flops: float
    params: float
    memory: float | None = None
    latency: float | None = None
    memory_peak: float | None = None


class Evaluation(NamedTuple):
    """How good a network is.

    Attributes:
        metric: higher is better; for classifiers top-1 accuracy as a fraction.
        loss: lower is better, ``nan`` where the scoring function gives none.
        n_samples: how many samples it was measured on.
        divergence: mean KL divergence of its class probabilities from the dense network's, in nats; ``nan`` where it
            was not measured.
    """

    metric: float
    loss: float
    n_samples: int
    divergence: float = math.nan


class PruningEngine(Protocol):
    """What carries strategies out and scores them.

    ``cost`` is a pure function of the strategy. So is ``evaluate``, unless candidates race against each other: then it
    depends on what was scored before, too, and repeats where the same strategies come in the same order.
    """

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The steps of the MDP, in forward order."""

    def cost(self, strategy: Strategy) -> Cost:
        """Return what the network pruned by ``strategy`` takes, without running it."""

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Prune by ``strategy`` and score the result on the search split."""


class LayerPart(NamedTuple):
    """Channels of a layer that one step of the MDP decides about.

    Attributes:
        step: its number.
        channels: how many of the layer's channels go with it.
    """

    step: int
    channels: int


class NetworkLayer(NamedTuple):
    """A layer of the network, searched or kept whole, and where its cost lies.

    Attributes:
        name: of the module.
        type: its class.
        flops: its multiply-accumulates in the dense network, for one sample.
        params: its parameters there.
        inputs: its input channels; 0 where it has none that are known.
        outputs: its output channels; 0 likewise.
        reads: what decides about its input channels.
        writes: what decides about its output channels.
        weight: what decides about the weights that it keeps, where masks are set; ``None`` elsewhere.
        whole: why it keeps all its outputs, or all its weights where masks are set; empty where it does not.
        block: what decides about the residual block that it is in; ``None`` where that stays.
    """

    name: str
    type: str
    flops: float
    params: int
    inputs: int
    outputs: int
    reads: tuple[LayerPart, ...] = ()
    writes: tuple[LayerPart, ...] = ()
    weight: int | None = None
    whole: str = ""
    block: int | None = None

    @property
    def searched(self) -> bool:
        """Whether a search can make it any smaller."""
        return bool(steps_of(self))


def steps_of(layer: NetworkLayer) -> tuple[int, ...]:
    """Return the numbers of the steps that decide about a layer, each once."""
    others = (step for step in (layer.weight, layer.block) if step is not None)
    return tuple(dict.fromkeys([*(part.step for part in (*layer.reads, *layer.writes)), *others]))


@runtime_checkable
class KnowsNetwork(Protocol):
    """What an engine may offer beside ``PruningEngine``: every layer of its network, also those that stay whole."""

    @property
    def network_layers(self) -> tuple[NetworkLayer, ...]:
        """Return the layers that compute anything, or have weights that could go, in forward order."""


@runtime_checkable
class KnowsUnitScores(Protocol):
    """What an engine may offer beside ``PruningEngine``: what its criterion says of each unit."""

    def unit_scores(self, step: int) -> tuple[float, ...]:
        """Return the score of every unit: the highest stay. Of groups that keep as many each, the mean, the best first.

        Args:
            step: number of the layer.
        """


@runtime_checkable
class KnowsReconstructionError(Protocol):
    """What an engine may offer beside ``PruningEngine``: how much each layer loses, known without an evaluation."""

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        """Return the error that each choice of a layer costs by itself, all other layers whole.

        Errors of different layers are comparable and 0 for the layer kept whole; what the unit is, is the engine's.

        Args:
            step: number of the layer.

        Raises:
            ValueError: the engine's settings leave the error unknown.
        """


@runtime_checkable
class EvaluatesMany(Protocol):
    """What an engine may offer beside ``PruningEngine``: strategies evaluated side by side."""

    @property
    def at_once(self) -> int:
        """How many strategies keep the machine busy when they are handed over together; 1 where more gain nothing."""

    def evaluate_many(self, strategies: Sequence[Strategy]) -> list[Evaluation]:
        """Return what ``evaluate`` would for one strategy after the other, to the last bit.

        Args:
            strategies: any number of them; the same one may stand there twice.
        """


@runtime_checkable
class EvaluatesAhead(Protocol):
    """What an engine may offer beside ``PruningEngine``: workers evaluate while further strategies are asked for."""

    @property
    def ahead(self) -> int:
        """How many strategies should be asked for before the evaluation of the first is known."""

    def evaluate_ahead(self, strategies: Iterator[Strategy], ahead: int) -> Iterator[Evaluation]:
        """Yield what ``evaluate`` would for one strategy after the other, in their order.

        Strategies are taken as evaluations are yielded: never more than ``ahead``, at least 1, are without one.
        """


RewardFn = Callable[[Evaluation, Cost], float]
