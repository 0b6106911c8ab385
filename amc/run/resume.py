"""A run that was cut short goes on where it stood, and a finished one is not run again.

No checkpoint of a policy is needed. A policy is a function of its seed and of the rewards, and evaluations are
recorded, so the policy plays its trials once more, the engine looks each of them up instead of computing it, and
behind the last recorded one the search goes on. It is the same for every policy, whatever it holds inside, and costs
the policy's own time again.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from amc.config.setting import Setting
from amc.errors import ConfigError, RefusedInput
from amc.store.results import RunFolder, read_asked, read_result, read_trials
from amc.store.run_folders import TRIALS, holds_run, is_finished
from envs.engine.scoring.racing import RacingScorer
from envs.engine.torch_engine import TorchEngine
from envs.search import Trial

log = logging.getLogger(__name__)
SHOWN = 3


def finished_before(folder: Path, asked: Mapping[str, Setting], *, overwrite: bool) -> bool:
    """Whether the folder holds the finished run that is asked for; ``False`` where there is something left to do.

    Raises:
        ConfigError: the folder holds another run, and may not be overwritten.
        RefusedInput: what it holds is damaged.
    """
    if overwrite or not holds_run(folder):
        return False
    before = read_asked(folder)
    if before is None:
        raise ConfigError(f"{folder} holds a run of an earlier version; choose another name=, or overwrite=true")
    others = sorted(key for key in {*before, *asked} if before.get(key) != asked.get(key))
    if others:
        changes = ", ".join(f"{key}={before.get(key)}" for key in others[:SHOWN])
        raise ConfigError(
            f"{folder} holds a run with {changes}; choose another name=, or overwrite=true "
            f"(a sweep over {others[0]} needs 'name=study/${{{others[0]}}}')"
        )
    return is_finished(folder) and not read_result(folder).stopped


class Continuation:
    """The sink that keeps trials: those recorded before are checked, the others recorded.

    Attributes:
        run: the run's folder.
        recorded: its trials of before.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Setting], *, overwrite: bool) -> None:
        """Open the folder, and keep the trials of an unfinished run in it unless it is to be overwritten.

        Raises:
            RefusedInput: the trials are damaged.
            StorageError: the folder cannot be written.
        """
        keep = not overwrite and holds_run(folder)
        self.run = RunFolder(folder, keep=keep)
        # A run that was cut short before its last stage has none of its own.
        self.recorded: Sequence[Trial] = read_trials(folder) if keep and (folder / TRIALS).exists() else ()
        if [trial.index for trial in self.recorded] != list(range(len(self.recorded))):
            raise RefusedInput(f"{folder}: trials are missing; overwrite=true starts the run anew")
        self.run.ask(asked)

    def teach(self, engine: TorchEngine) -> None:
        """Let the engine remember the recorded evaluations."""
        if not self.recorded:
            return
        log.info("going on behind %d trials recorded before", len(self.recorded))
        if isinstance(engine.score, RacingScorer):
            # A race knows the best so far by its answers, which are not on disk.
            engine.score_again(max(self.recorded, key=lambda trial: trial.evaluation.metric).strategy)
        for trial in self.recorded:
            engine.remember(trial.strategy, trial.evaluation)

    def __call__(self, trial: Trial) -> None:
        """Record a trial, or check that it repeats the recorded one.

        Raises:
            RefusedInput: it does not, because another version or machine recorded it.
        """
        if trial.index >= len(self.recorded):
            self.run.record(trial)
        elif trial.strategy != self.recorded[trial.index].strategy:
            raise RefusedInput(
                f"{self.run.folder}: trial {trial.index} does not repeat, it was recorded by another version or "
                "machine; overwrite=true starts the run anew"
            )
