"""What a run asked, found and measured, as the records of its folder."""

from collections.abc import Mapping, Sequence

import torch

import amc
from amc.config.schema import SearchConfig
from amc.config.setting import Setting
from amc.run.measure import Measured, network_size
from amc.run.outcome import Outcome
from amc.run.stage import Stage
from amc.store.conditions import Conditions
from amc.store.kept_layers import StageKept, composed, layers_kept
from amc.store.results import SCHEMA, FineTuned, Result, TimeCheck
from amc.training.finetune import Tuned
from envs.search import Trial


def stage_kept(stage: Stage, found: Tuned, trials: Sequence[Trial]) -> StageKept:
    """Return what a stage came to, without a look at the test split."""
    engine = stage.engine
    return StageKept(
        target=stage.target,
        **network_size(engine.cost(found.strategy)),
        trials=len(trials),
        search_seconds=sum(trial.seconds for trial in trials),
        search_top1_before_finetune=found.before.metric,
        search_top1=found.after.metric,
        strategy=layers_kept(engine.layers, engine.kept(found.strategy)),
    )


def make_result(
    cfg: SearchConfig,
    asked: Mapping[str, Setting],
    outcome: Outcome,
    measured: Measured,
    earlier: Sequence[StageKept],
    known: Sequence[Conditions],
    *,
    stopped: bool,
    time_checks: Sequence[TimeCheck] = (),
) -> Result:
    """Return what ``result.json`` holds.

    Args:
        cfg: the configuration.
        asked: the run's settings, and under ``policy`` and ``seed`` who searched with which seed.
        outcome: what the search came to.
        measured: the networks, measured.
        earlier: the stages before the last.
        known: where it was computed.
        stopped: whether a signal ended the search.
        time_checks: how the target was met by the clock.
    """
    first, last = outcome.first, outcome.last
    stages = (*earlier, stage_kept(last, outcome.found, outcome.trials))
    uniform = first.engine.kept(outcome.uniform.strategy)
    return Result(
        schema=SCHEMA,
        model=cfg.model.name,
        data=cfg.data.name,
        policy=str(asked["policy"]),
        granularity=cfg.granularity,
        criterion=cfg.criterion,
        resource=cfg.resource,
        target=last.target,
        seed=cfg.seed,
        trials=len(outcome.trials),
        search_seconds=sum(stage.search_seconds for stage in stages),
        dense=measured.dense,
        uniform=measured.uniform,
        pruned=measured.found,
        strategy=composed(last.left, stages[-1].strategy),
        uniform_strategy=layers_kept(first.engine.layers, uniform),
        finetuned=tuple(
            FineTuned(index, tuned.before.metric, tuned.after.metric) for index, tuned in outcome.candidates.items()
        ),
        versions={"amc-search": amc.__version__, "torch": torch.__version__},
        images=measured.images,
        latencies=measured.latencies,
        settings={key: value for key, value in asked.items() if key not in ("policy", "seed")},
        stopped=stopped,
        stages=stages if earlier else (),
        conditions=tuple(known),
        network=first.engine.network_layers,
        time_checks=tuple(time_checks),
    )
