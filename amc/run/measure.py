"""The end of a run: the only place that reads the test split."""

import logging
from dataclasses import dataclass

from amc.config.schema import AUTO, SearchConfig
from amc.errors import ModelError
from amc.measurement.latency import Latency
from amc.measurement.sparse_kernels import InHalf, has_sparse_kernels, on_sparse_kernels
from amc.run.outcome import Outcome
from amc.run.stage import Stage
from amc.runtimes.prepared import OnnxFiles
from amc.runtimes.profile import ONNX_RUNTIMES
from amc.runtimes.runtime import chosen_runtime
from amc.runtimes.timed_runs import time_networks
from amc.store.results import PrunedScores, Scores
from amc.training.finetune import Tuned
from amc.zoo.data.device_data import DeviceData
from envs.engine.scoring.top1 import Score
from envs.engine.surgery.masking import without_masks
from envs.engine.types import Cost

log = logging.getLogger(__name__)
BATCHES = (1, 32)
"""Images a pass that every run is timed with, beside ``latency.batch``."""


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


def measure(data: DeviceData, outcome: Outcome, cfg: SearchConfig) -> Measured:
    """Score the dense, the uniform and the found network on the test split, and time them."""
    score, first = data.scorer(data.splits.test), outcome.first
    latencies = measure_networks(data, outcome, cfg)
    dense, uniform, found, *_ = (latency.median_ms for latency in latencies)
    size = network_size(first.engine.cost(first.engine.dense_strategy))
    return Measured(
        dense=Scores(test_top1=score(first.network).metric, latency_ms=dense, **size),
        uniform=pruned_scores(first, outcome.uniform, score, uniform),
        found=pruned_scores(outcome.last, outcome.found, score, found),
        latencies=latencies,
        images={name: len(getattr(data.splits, name).labels) for name in ("train", "calibration", "search", "test")},
    )


def measure_networks(data: DeviceData, outcome: Outcome, cfg: SearchConfig) -> tuple[Latency, ...]:
    """Time the dense, the uniform and the found network, in that order, in the runtimes that are asked for.

    The first rows are of ``device_profile`` and ``latency.batch``. On a device with kernels for 2:4, a network pruned
    so is timed on them as well, beside half precision without.
    """
    first = chosen_runtime(cfg.device_profile, device=data.device.type)
    if cfg.device_profile == AUTO and data.device.type == "cpu" and first == "torch-eager":
        log.info("latency is that of torch, for small networks most of it overhead; onnxruntime is not installed")
    others = [chosen_runtime(name, "runtimes") for name in cfg.runtimes]
    found: list[Latency] = []
    for runtime in dict.fromkeys((first, *others)):
        try:
            found += _in_runtime(runtime, data, outcome, cfg)
        except ModelError as error:
            if cfg.device_profile != AUTO or runtime != first or cfg.needs_table:
                raise
            log.warning("%s; latency is that of torch", error)
            found += _in_runtime("torch-eager", data, outcome, cfg)
    return tuple(found)


def _in_runtime(runtime: str, data: DeviceData, outcome: Outcome, cfg: SearchConfig) -> list[Latency]:
    batches = tuple(dict.fromkeys((cfg.latency.batch, *BATCHES)))
    uniform, pruned = without_masks(outcome.uniform.model), without_masks(outcome.found.model)
    networks = {"dense": outcome.first.network, "uniform": uniform, "found": pruned}
    images, files = data.inputs(data.splits.search.images[:1]), None
    if runtime in ONNX_RUNTIMES:
        fold, fold_last = outcome.first.engine.pruner.for_inference, outcome.last.engine.pruner.for_inference
        networks = {"dense": fold(networks["dense"]), "uniform": fold(uniform), "found": fold_last(pruned)}
        images = images.cpu()
        files = OnnxFiles(networks["dense"], images)
    elif cfg.granularity == "n_m" and has_sparse_kernels(data.device):
        sparse = on_sparse_kernels(pruned)
        networks["found, fp16"] = InHalf(pruned)
        networks[f"found, fp16, 2:4 kernels in {len(sparse.layers)} layers"] = sparse.model
    asked = cfg.latency
    return time_networks(runtime, networks, images, files, batches=batches, threads=asked.threads, rounds=asked.rounds)


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
