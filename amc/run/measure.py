"""The end of a run: the only place that reads the test split."""

from dataclasses import dataclass

from amc.measurement.latency import Latency, measure_latency
from amc.measurement.sparse_kernels import InHalf, has_sparse_kernels, on_sparse_kernels
from amc.run.outcome import Outcome
from amc.run.stage import Stage
from amc.store.results import PrunedScores, Scores
from amc.training.finetune import Tuned
from amc.zoo.data.device_data import DeviceData
from envs.engine.scoring.top1 import Score
from envs.engine.surgery.masking import without_masks
from envs.engine.types import Cost


@dataclass(frozen=True)
class Measured:
    """The three networks of a run, measured.

    Attributes:
        dense: the run's dense network.
        uniform: one ratio for all layers.
        found: the winner.
        latencies: how long the three take, in that order, and whatever else was timed.
        images: size of every split.
    """

    dense: Scores
    uniform: PrunedScores
    found: PrunedScores
    latencies: tuple[Latency, ...]
    images: dict[str, int]


def measure(data: DeviceData, outcome: Outcome, granularity: str) -> Measured:
    """Score the dense, the uniform and the found network on the test split, and time them."""
    score, first = data.scorer(data.splits.test), outcome.first
    latencies = measure_networks(data, outcome, granularity)
    dense, uniform, found, *_ = (latency.median_ms for latency in latencies)
    size = network_size(first.engine.cost(first.engine.dense_strategy))
    return Measured(
        dense=Scores(test_top1=score(first.network).metric, latency_ms=dense, **size),
        uniform=pruned_scores(first, outcome.uniform, score, uniform),
        found=pruned_scores(outcome.last, outcome.found, score, found),
        latencies=latencies,
        images={name: len(getattr(data.splits, name).labels) for name in ("train", "calibration", "search", "test")},
    )


def measure_networks(data: DeviceData, outcome: Outcome, granularity: str) -> tuple[Latency, ...]:
    """Time one image through the dense, the uniform and the found network, in that order.

    On a device with kernels for 2:4, a network pruned so is timed on them as well, beside half precision without.
    """
    uniform, found = without_masks(outcome.uniform.model), without_masks(outcome.found.model)
    networks = {"dense": outcome.first.network, "uniform": uniform, "found": found}
    if granularity == "n_m" and has_sparse_kernels(data.device):
        sparse = on_sparse_kernels(found)
        networks["found, fp16"] = InHalf(found)
        networks[f"found, fp16, 2:4 kernels in {len(sparse.layers)} layers"] = sparse.model
    return tuple(measure_latency(networks, data.inputs(data.splits.search.images[:1])))


def pruned_scores(stage: Stage, tuned: Tuned, score: Score, latency_ms: float) -> PrunedScores:
    """Score a pruned network on the test split, as it was before fine-tuning and as it is."""
    return PrunedScores(
        search_top1=tuned.after.metric,
        test_top1_before_finetune=score(stage.engine.finish(tuned.strategy)).metric,
        test_top1=score(tuned.model).metric,
        latency_ms=latency_ms,
        **network_size(stage.engine.cost(tuned.strategy)),
    )


def network_size(cost: Cost) -> dict[str, int]:
    """Return the sizes of a network as ``result.json`` names them."""
    return {"flops": round(cost.flops), "params": round(cost.params), "memory_bytes": round(cost.memory or 0)}
