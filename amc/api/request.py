"""What one Python call was asked, and the networks that it compares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from amc.store.kept_layers import LayerKept
from envs.engine.types import Cost, Evaluation


class Network(NamedTuple):
    """One of the networks compared.

    Attributes:
        evaluation: how good it is, on the data that trials were scored on.
        cost: what it takes.
        layers: what it keeps of every layer.
    """

    evaluation: Evaluation
    cost: Cost
    layers: tuple[LayerKept, ...]


@dataclass(frozen=True)
class PruneRequest:
    """What was asked of a search, for those who read its outcome.

    Attributes:
        name: class of the network.
        policy: who searched.
        metric: what trials were scored by, in words; ``accuracy`` is top-1 on ``validation``,
            ``agreement`` that with the dense network where there are no labels.
        granularity: what was removed.
        criterion: how it was ranked.
        resource: what was limited.
        target: to which fraction.
        seed: of the search.
        episodes: strategies that could be scored.
        reward: what they were worth.
        limits: targets of further resources, by resource.
        max_drop: how much of the metric could be lost; then ``target`` is what that came to. None if it was asked for.
    """

    name: str
    policy: str
    metric: str
    granularity: str
    criterion: str
    resource: str
    target: float
    seed: int
    episodes: int
    reward: str
    limits: Mapping[str, float] = field(default_factory=dict)
    max_drop: float | None = None

    @property
    def targets(self) -> dict[str, float]:
        """Every target, by resource, the first one first."""
        return {self.resource: self.target, **self.limits}
