"""Whether and what a run tells a tracker."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self

from amc.config.schema import SearchConfig
from amc.store.results import Result, note_told, read_trials, told
from amc.store.run_folders import stage_folders
from amc.tracking.process import TrackerProcess, known_as
from amc.tracking.tracker import Ending, Figures, TrackedRun
from amc.weights.export import WEIGHTS_FILE
from envs.costs.resource_use import amount, use
from envs.engine.types import Cost
from envs.search import Trial, better


class Tracking(Protocol):
    """A sink of ``RecordTrials``, used as a context manager around the run."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...

    def __call__(self, trial: Trial) -> None:
        """Report a trial."""

    def begin_stage(self, stage: int) -> None:
        """Take the next trials for those of a stage of a staged run, counted from 1."""

    def finish(self, result: Result) -> None:
        """Report the end of a run whose files are written, and note in its folder that this was done."""


class Untracked(AbstractContextManager["Untracked"]):
    """Reports nothing to nobody."""

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, trial: Trial) -> None:
        """Do nothing."""

    def begin_stage(self, stage: int) -> None:
        """Do nothing."""

    def finish(self, result: Result) -> None:
        """Do nothing."""


class Tracked(AbstractContextManager["Tracked"]):
    """Turns trials and the result of a run into what a tracker is told.

    Args:
        process: the tracker.
        folder: of the run.
        dense: what the dense network takes.
        resource: the resource that the search limits, a field of ``Cost``.
    """

    def __init__(self, process: TrackerProcess, folder: Path, dense: Cost, resource: str) -> None:
        self._process = process
        self._folder = folder
        self._dense = amount(dense, resource)
        self._resource = resource
        self._best: Trial | None = None
        self._stage: Figures = {}
        self._before = self._count = 0

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.__exit__(*raised)

    def __call__(self, trial: Trial) -> None:
        """Report a trial, and the best reward within the target so far."""
        self._best = better(trial, self._best)
        self._count = self._before + trial.index + 1
        self._process.report(self._before + trial.index, self._figures(trial))

    def begin_stage(self, stage: int) -> None:
        """Number the next trials behind those so far; the best so far of another target counts no more."""
        self._best, self._before, self._stage = None, self._count, {"stage": stage}

    def finish(self, result: Result) -> None:
        """Report the result, with the pictures and the network that lie in the run's folder."""
        ending = Ending(
            summary=summary(result),
            strategy=[(row.layer, row.keep, row.kept, row.of) for row in result.strategy],
            pictures=sorted(self._folder.glob("*.png")),
            model=self._folder / WEIGHTS_FILE,
        )
        if self._process.finish(ending):
            note_told(self._folder, self._process.known_as)

    def _figures(self, trial: Trial) -> Figures:
        best = {} if self._best is None else {"best_reward": self._best.reward}
        # What a run's files do not say of its dense network is not known when it is reported later.
        kept = {} if self._dense is None else {"resource_kept": use(trial.cost, self._resource) / self._dense}
        return {
            "reward": trial.reward,
            **best,
            "metric": trial.evaluation.metric,
            **kept,
            "seconds": trial.seconds,
            "policy_seconds": trial.seconds - trial.engine_seconds,
            "engine_seconds": trial.engine_seconds,
            **self._stage,
        }


def track(settings: Mapping[str, Any] | None, run: TrackedRun, dense: Cost, resource: str) -> Tracking:
    """Return what reports the run to a tracker.

    Args:
        settings: the tracker's, with its ``_target_``; ``None`` for no tracker.
        run: the run as it starts.
        dense: what the dense network takes.
        resource: the resource that the search limits, a field of ``Cost``.
    """
    if settings is None:
        return Untracked()
    return Tracked(TrackerProcess(settings, run), run.folder, dense, resource)


def report_finished(run: TrackedRun, cfg: SearchConfig, result: Result) -> None:
    """Report a run that was finished before to a tracker that has not heard of it, trials and all."""
    if cfg.tracker is None or known_as(cfg.tracker) in told(run.folder):
        return
    dense = Cost(result.dense.flops, result.dense.params, result.dense.memory_bytes)
    with track(cfg.tracker, run, dense, cfg.resource) as tracking:
        for number, stage in enumerate(stage_folders(run.folder), 1):
            tracking.begin_stage(number)
            for trial in read_trials(stage):
                tracking(trial)
        if result.stages:
            tracking.begin_stage(len(result.stages))
        for trial in read_trials(run.folder):
            tracking(trial)
        tracking.finish(result)


def tracked_run(cfg: SearchConfig, policy: str, folder: Path) -> TrackedRun:
    """Return what a tracker is told of a run as it starts.

    Args:
        cfg: the configuration.
        policy: name of who searches.
        folder: of the run.
    """
    name = f"{cfg.model.name}-{cfg.data.name}-{policy}-seed{cfg.seed}"
    return TrackedRun(folder.absolute(), cfg.name, policy, name, _tags(cfg))


def summary(result: Result) -> Figures:
    """Return the figures of a result: ``dense/test_top1`` and so on, and what the search took."""
    networks = {"dense": result.dense, "uniform": result.uniform, "pruned": result.pruned}
    measured = {f"{name}/{key}": value for name, scores in networks.items() for key, value in asdict(scores).items()}
    return {**measured, "search_seconds": result.search_seconds, "trials": result.trials}


def _tags(cfg: SearchConfig) -> tuple[str, ...]:
    chosen = (cfg.model.name, cfg.data.name, cfg.granularity, cfg.criterion, cfg.resource)
    return (*chosen, cfg.reward, f"target={cfg.target:g}")
