"""What a run found, as ``result.json`` holds it; ``amc.store.results`` reads and writes it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from amc.measurement.latency import Latency
from amc.store.conditions import Conditions
from amc.store.kept_layers import LayerKept, StageKept
from amc.store.typed_records import Integer, Number, Whole
from envs.engine.types import NetworkLayer, steps_of

StoredSetting = str | Integer | float | bool | None
"""The value of one setting, as a file holds it."""


class FineTuned(NamedTuple):
    """A trial and its top-1 on the search split before and after fine-tuning."""

    trial: Whole
    search_top1_before_finetune: Number
    search_top1: Number


@dataclass(frozen=True)
class TimeCheck:
    """A network that was timed in turn with the dense one between search and fine-tuning.

    Attributes:
        network: ``uniform`` or ``found``.
        kept: units left at every step.
        predicted: fraction of the dense network's time by the table of latencies.
        measured: fraction of it by the clock.
        chosen: whether it went on to fine-tuning.
    """

    network: str
    kept: tuple[Whole, ...]
    predicted: Number
    measured: Number
    chosen: bool


@dataclass(frozen=True)
class Scores:
    """A network as measured. What ``flops`` counts, ``envs.engine.types.Cost`` says."""

    test_top1: Number
    flops: Whole
    params: Whole
    memory_bytes: Whole
    latency_ms: Number


@dataclass(frozen=True)
class PrunedScores(Scores):
    """A pruned and fine-tuned network as measured."""

    search_top1: Number
    test_top1_before_finetune: Number


@dataclass(frozen=True)
class Result:
    """What ``result.json`` holds.

    ``uniform`` is one ratio for all layers, fine-tuned like the winner; ``images`` is the size of every split,
    ``latencies`` what stands behind ``latency_ms``, and ``settings`` what was asked (see ``amc.config.identity``);
    runs of before there were settings have none. ``stopped`` says that a signal ended the search before its time.
    ``network`` is every layer of the dense network, searched or kept whole; the steps that decide about a layer are
    rows of ``strategy``.
    Of a staged run ``stages`` holds every stage, ``search_seconds`` is the time of all of them, and ``trials`` and
    ``finetuned`` are those of the last; strategies are of the original network, and ``uniform`` got there in one step
    with as many epochs of fine-tuning in total. Other runs have no ``stages``.

    ``conditions`` says where the run was computed, more than one where it went on elsewhere; runs of before there were
    conditions have none. ``time_checks`` is how the target was met by the clock where latency is limited.
    """

    schema: Whole
    model: str
    data: str
    policy: str
    granularity: str
    criterion: str
    resource: str
    target: Number
    seed: Whole
    trials: Whole
    search_seconds: Number
    dense: Scores
    uniform: PrunedScores
    pruned: PrunedScores
    strategy: tuple[LayerKept, ...]
    uniform_strategy: tuple[LayerKept, ...]
    finetuned: tuple[FineTuned, ...]
    versions: dict[str, str]
    images: dict[str, Whole] = field(default_factory=dict)
    latencies: tuple[Latency, ...] = ()
    settings: dict[str, StoredSetting] = field(default_factory=dict)
    stopped: bool = False
    stages: tuple[StageKept, ...] = ()
    network: tuple[NetworkLayer, ...] = ()
    conditions: tuple[Conditions, ...] = ()
    time_checks: tuple[TimeCheck, ...] = ()

    def __post_init__(self) -> None:
        """Check what the types do not say.

        Raises:
            ValueError: a layer goes by a step that the strategy does not have.
        """
        if not all(0 <= step < len(self.strategy) for layer in self.network for step in steps_of(layer)):
            raise ValueError("network names a step that is not in strategy")
