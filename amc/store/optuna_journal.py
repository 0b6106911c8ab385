"""Finished runs as Optuna studies in one journal file: ``optuna-dashboard FILE`` shows them, whatever policy searched.

The file is the one that Optuna's ``JournalFileBackend`` writes, byte for byte. That backend takes a lock and waits for
the disk at every trial (4.4 s for 400 trials against 0.7 s), so the journal is made in memory and put in place whole,
which also means that a kill leaves the old one or the new one.
"""

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from amc.errors import ConfigError
from amc.store.durable_files import write_file
from amc.store.results import read_result, read_trials
from baselines.optuna_search import quiet_optuna
from envs.search import Trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SHOWN = ("model", "data", "policy", "granularity", "criterion", "resource", "target", "seed")


class SearchedRun(NamedTuple):
    """A run as a study.

    Attributes:
        name: of the study; no two runs in a file share it.
        layers: names of the layers, one a step.
        trials: what was scored.
        attributes: what else is to be shown of the run; JSON values.
        owners: what else is to be shown of each trial, where there is anything.
    """

    name: str
    layers: Sequence[str]
    trials: Sequence[Trial]
    attributes: dict[str, Any]
    owners: Sequence[dict[str, Any]] = ()


def export_studies(path: Path, folders: Sequence[Path]) -> Path:
    """Write the trials of finished run folders as an Optuna journal, one study a folder, and return its path.

    Raises:
        ConfigError: there is no folder, or one is named twice.
        RefusedInput: a folder is none of a finished run.
        StorageError: the journal cannot be written.
    """
    if not folders:
        raise ConfigError("no run folder is given: an Optuna study needs at least one")
    names = [str(folder) for folder in folders]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{twice} is given twice: each run is one study")
    runs = [read_run(folder) for folder in folders]
    return write_file(path, journal([*runs, *together(runs)]))


def together(runs: Sequence[SearchedRun]) -> list[SearchedRun]:
    """Return all runs on the same layers, of several policies and seeds, as one study, besides.

    Its trials say which policy and seed they are of.
    """
    by_problem: dict[tuple[str, ...], list[SearchedRun]] = defaultdict(list)
    for run in runs:
        asked = (str(run.attributes[name]) for name in SHOWN if name not in ("policy", "seed"))
        by_problem[(*asked, *run.layers)].append(run)
    found: list[SearchedRun] = []
    for same in by_problem.values():
        if len(same) > 1:
            first = same[0]
            shown = {name: first.attributes[name] for name in SHOWN if name not in ("policy", "seed")}
            where = os.path.commonpath([run.name for run in same])
            name = "{}: {model} on {data} at {target} of {resource}, {granularity} by {criterion}".format(
                where, **shown
            )
            twins = sum(each.name.startswith(name) for each in found)  # what a name says may not tell layers apart
            name += f" ({twins + 1})" if twins else ""
            trials = [trial for run in same for trial in run.trials]
            owners = [{key: run.attributes[key] for key in ("policy", "seed")} for run in same for _ in run.trials]
            found.append(SearchedRun(name, first.layers, trials, shown, owners))
    return found


def read_run(folder: Path) -> SearchedRun:
    """Read a finished run folder; its path becomes the name of the study.

    Raises:
        RefusedInput: it is none of a finished run.
    """
    result = read_result(folder)
    attributes = {name: getattr(result, name) for name in SHOWN}
    return SearchedRun(str(folder), [row.layer for row in result.strategy], read_trials(folder), attributes)


def journal(runs: Iterable[SearchedRun]) -> str:
    """Return the content of an Optuna journal file that holds each run as a study that maximises the reward."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    class Memory(BaseJournalBackend):
        """A journal that is no file yet."""

        def __init__(self) -> None:
            self.logs: list[dict[str, Any]] = []

        def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            # As a file would: what is appended is text from here on.
            self.logs += json.loads(json.dumps(logs))

    memory = Memory()
    storage = JournalStorage(memory)
    with quiet_optuna():
        for run in runs:
            study = optuna.create_study(storage=storage, study_name=run.name, direction="maximize")
            study.set_metric_names(["reward"])
            for name, value in run.attributes.items():
                study.set_user_attr(name, value)
            owners = run.owners or [{}] * len(run.trials)
            pairs = zip(run.trials, owners, strict=True)
            study.add_trials([as_optuna_trial(trial, run.layers, owner) for trial, owner in pairs])
    return "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in memory.logs)


def as_optuna_trial(trial: Trial, layers: Sequence[str], more: Mapping[str, Any] | None = None) -> "FrozenTrial":
    """Return a trial as Optuna holds it: executed ratios as parameters, the reward as value.

    What was measured beside goes along as attributes. A trial beyond the target counts as failed, so that it is never
    the best.
    """
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    measured = trial.evaluation._asdict() | trial.cost._asdict() | {"seconds": trial.seconds}
    known = {name: value for name, value in measured.items() if value is not None and not math.isnan(value)}
    return create_trial(
        state=TrialState.COMPLETE if trial.feasible else TrialState.FAIL,
        value=trial.reward if trial.feasible else None,
        params=dict(zip(layers, trial.strategy, strict=True)),
        distributions={name: FloatDistribution(0.0, 1.0) for name in layers},
        user_attrs={"index": trial.index, "reward": trial.reward, "feasible": trial.feasible, **known, **(more or {})},
    )
