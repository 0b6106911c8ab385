"""The end of a run: the only place that reads the test split."""

from collections.abc import Sequence

import torch

import amc
from amc.config.run_settings import run_settings
from amc.config.schema import Granularity
from amc.measurement.latency import Latency, measure_latency
from amc.measurement.sparse_kernels import InHalf, has_sparse_kernels, on_sparse_kernels
from amc.run import build
from amc.run.bench import Bench
from amc.store.kept_layers import StageKept, composed, layers_kept
from amc.store.results import SCHEMA, FineTuned, PrunedScores, Result, Scores
from amc.training.finetune import Outcome, Tuned
from envs.engine.scoring.top1 import Score
from envs.engine.surgery.masking import without_masks
from envs.engine.types import Cost
from envs.search import Trial


def measure(
    bench: Bench, outcome: Outcome, policy: str, earlier: Sequence[StageKept] = (), *, stopped: bool = False
) -> Result:
    """Score the dense, the uniform and the found network on the test split, and time them.

    Args:
        bench: the run's parts.
        outcome: the networks, and the trials they come from.
        policy: name of who searched.
        earlier: the stages before the one that the outcome is of.
        stopped: whether a signal ended the search.
    """
    cfg, splits, engine = bench.cfg, bench.splits, bench.engine
    score = build.make_score(splits.test, splits, bench.device)
    latencies = measure_networks(bench, outcome)
    dense, uniform, found, *_ = (latency.median_ms for latency in latencies)
    size = network_size(engine.cost(engine.dense_strategy))
    stages = (*earlier, stage_kept(outcome.bench, outcome.found, outcome.trials))
    return Result(
        schema=SCHEMA,
        model=cfg.model.name,
        data=cfg.data.name,
        policy=policy,
        granularity=cfg.granularity.name,
        criterion=cfg.criterion.name,
        resource=cfg.resource.name,
        target=cfg.target,
        seed=cfg.seed,
        trials=len(outcome.trials),
        search_seconds=sum(stage.search_seconds for stage in stages),
        dense=Scores(test_top1=score(bench.dense).metric, latency_ms=dense, **size),
        uniform=pruned_scores(bench, outcome.uniform, score, uniform),
        pruned=pruned_scores(outcome.bench, outcome.found, score, found),
        strategy=composed(outcome.bench.left, stages[-1].strategy),
        uniform_strategy=layers_kept(engine.layers, engine.kept(outcome.uniform.strategy)),
        finetuned=tuple(
            FineTuned(index, tuned.before.metric, tuned.after.metric) for index, tuned in outcome.candidates.items()
        ),
        versions={"amc-search": amc.__version__, "torch": torch.__version__},
        images={name: len(getattr(splits, name).labels) for name in ("train", "calibration", "search", "test")},
        latencies=latencies,
        settings=run_settings(cfg),
        stopped=stopped,
        stages=stages if earlier else (),
    )


def stage_kept(bench: Bench, found: Tuned, trials: Sequence[Trial]) -> StageKept:
    """Return what a stage came to, without a look at the test split."""
    engine = bench.engine
    return StageKept(
        target=bench.target,
        **network_size(engine.cost(found.strategy)),
        trials=len(trials),
        search_seconds=sum(trial.seconds for trial in trials),
        search_top1_before_finetune=found.before.metric,
        search_top1=found.after.metric,
        strategy=layers_kept(engine.layers, engine.kept(found.strategy)),
    )


def measure_networks(bench: Bench, outcome: Outcome) -> tuple[Latency, ...]:
    """Time one image through the dense, the uniform and the found network, in that order.

    On a device with kernels for 2:4, a network pruned so is timed on them as well, beside half precision without.
    """
    uniform, found = without_masks(outcome.uniform.model), without_masks(outcome.found.model)
    networks = {"dense": bench.dense, "uniform": uniform, "found": found}
    if bench.cfg.granularity is Granularity.n_m and has_sparse_kernels(bench.device):
        sparse = on_sparse_kernels(found)
        networks["found, fp16"] = InHalf(found)
        networks[f"found, fp16, 2:4 kernels in {len(sparse.layers)} layers"] = sparse.model
    image = build.network_inputs(bench.splits.search.images[:1], bench.splits, bench.device)
    return tuple(measure_latency(networks, image))


def pruned_scores(bench: Bench, tuned: Tuned, score: Score, latency_ms: float) -> PrunedScores:
    """Score a pruned network on the test split, as it was before fine-tuning and as it is."""
    return PrunedScores(
        search_top1=tuned.after.metric,
        test_top1_before_finetune=score(bench.engine.prune(tuned.strategy)).metric,
        test_top1=score(tuned.model).metric,
        latency_ms=latency_ms,
        **network_size(bench.engine.cost(tuned.strategy)),
    )


def network_size(cost: Cost) -> dict[str, int]:
    """Return the sizes of a network as ``result.json`` names them."""
    return {"flops": round(cost.flops), "params": round(cost.params), "memory_bytes": round(cost.memory or 0)}
