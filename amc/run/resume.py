"""A run that was cut short goes on where it stood, and a finished one is not run again.

No checkpoint of a policy is needed. A policy is a function of its seed and of the rewards, and evaluations are
recorded, so the policy plays its trials once more, the engine looks each of them up instead of computing it, and
behind the last recorded one the search goes on. It is the same for every policy, whatever it holds inside, and costs
the policy's own time again. A damaged trial is evaluated again on the way.

What comes after the search may be asked for otherwise: then the run goes on from its trials.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from amc.config.identity import with_later_keys
from amc.config.setting import Setting
from amc.errors import ConfigError, RefusedInput, StorageError
from amc.store.digests import CHECKSUMS
from amc.store.results import Result, RunFolder, read_asked, read_result, read_stage, read_trials
from amc.store.run_folders import (
    ASKED,
    NETWORK,
    RESULT,
    STAGE,
    TIMINGS,
    TRIALS,
    clear,
    holds_run,
    is_finished,
    stage_folder,
    stage_folders,
)
from amc.store.trial_rows import recover_trials
from amc.weights.loading import read_header
from envs.engine.scoring.racing import RacingScorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import PruningEngine
from envs.search import Trial
from envs.workers.engine import WorkersEngine

log = logging.getLogger(__name__)
SHOWN = 3
# What a search does not see. The second of several stages does: it is on a network that was fine-tuned.
AFTER_SEARCH = ("finetune.", "data.finetune_epochs")


def finished_before(folder: Path, asked: Mapping[str, Setting], *, overwrite: bool) -> Result | None:
    """Return the result of the finished run that is asked for; ``None`` where something is left to search or tune.

    Raises:
        ConfigError: the folder holds another run, and may not be overwritten.
        RefusedInput: it cannot be told which run it holds.
    """
    if overwrite or not holds_run(folder):
        return None
    before = _asked_before(folder)
    changed = sorted(key for key in {*before, *asked} if before.get(key) != asked.get(key))
    others = [key for key in changed if not key.startswith(AFTER_SEARCH)]
    if others:
        changes = ", ".join(f"{key}={before.get(key)}" for key in others[:SHOWN])
        raise ConfigError(
            f"{folder} holds a run with {changes}; choose another name=, or overwrite=true "
            f"(a sweep over {others[0]} needs 'name=study/${{{others[0]}}}')"
        )
    result = _whole_result(folder)
    if result is None or result.stopped:
        return None
    now = {key: value for key, value in asked.items() if key not in ("policy", "seed")}
    then = with_later_keys(result.settings) if result.settings else now
    if then != now:
        keys = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
        log.info("%s is asked for otherwise: going on from the trials", ", ".join(keys[:SHOWN]))
        return None
    return result


def forget_later_stages(folder: Path, asked: Mapping[str, Setting]) -> None:
    """Let a run of several stages go on from the trials of its first, if it is to be fine-tuned otherwise.

    A kill at any moment leaves what begins here anew.

    Raises:
        StorageError: a file cannot be removed.
    """
    if "stages" not in asked or not holds_run(folder) or _asked_before(folder) == asked:
        return
    log.info("fine-tuning is asked for otherwise: going on from the trials of the first stage")
    first, *later = stage_folders(folder) or [folder]
    try:
        for name in (CHECKSUMS, RESULT, TRIALS, TIMINGS):
            (folder / name).unlink(missing_ok=True)
        for stage in later:
            clear(stage)
        for name in (STAGE, NETWORK) if first != folder else ():
            (first / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from error


def _asked_before(folder: Path) -> Mapping[str, Setting]:
    damage: Exception = ConfigError(
        f"{folder} holds a run, and {ASKED}, which says what was asked, is missing, as in earlier versions; "
        "choose another name=, or overwrite=true"
    )
    try:
        before = read_asked(folder)
    except RefusedInput as error:
        before, damage = None, error
    if before is not None:
        return with_later_keys(before)
    # The result says the same.
    result = _read(folder)
    if result is None or not result.settings:
        raise damage
    log.warning("%s; taken from %s", folder / ASKED, RESULT)
    return with_later_keys({**result.settings, "policy": result.policy, "seed": result.seed})


def _whole_result(folder: Path) -> Result | None:
    """Return the result of a run whose trials and network are whole; say what is not."""
    result = _read(folder) if is_finished(folder) else None
    if result is None:
        return None
    try:
        found = recover_trials(folder)
        read_header(folder)
    except RefusedInput as error:
        log.warning("%s; it is made again", error)
        return None
    # The last of its stages is the run itself.
    for number in range(1, len(result.stages)):
        if not stage_is_whole(stage_folder(folder, number)):
            log.warning("%s: is missing or damaged; it is made again", stage_folder(folder, number))
            return None
    if list(found.trials) == list(range(result.trials)) and not found.damage:
        return result
    for damage in found.damage or [f"{folder / TRIALS}: holds {len(found.trials)} of {result.trials} trials"]:
        log.warning("%s; it is evaluated again", damage)
    return None


def _read(folder: Path) -> Result | None:
    if not is_finished(folder):
        return None
    try:
        return read_result(folder)
    except RefusedInput as error:
        log.warning("%s; it is made again from the trials", error)
        return None


def stage_is_whole(folder: Path) -> bool:
    """Tell whether an earlier stage was finished and what it left is whole; say what is not."""
    if not ((folder / STAGE).exists() and (folder / NETWORK).exists()):
        return False
    try:
        expected, found = read_stage(folder).trials, len(read_trials(folder))
        if found != expected:
            raise RefusedInput(f"{folder / TRIALS}: holds {found} of {expected} trials")
        read_header(folder / NETWORK)
    except RefusedInput as error:
        log.warning("%s; the stage is made again", error)
        return False
    return True


class Continuation:
    """The sink that keeps trials: those recorded before are checked, the others recorded.

    Attributes:
        run: the run's folder.
        recorded: its trials of before, by index; those behind a damaged one are among them.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Setting], *, overwrite: bool) -> None:
        """Open the folder, and keep the trials of an unfinished run in it unless it is to be overwritten.

        Raises:
            StorageError: the folder cannot be written.
        """
        self.run = RunFolder(folder, keep=not overwrite and holds_run(folder))
        self.recorded: Mapping[int, Trial] = self.run.recorded
        self._kept = len(self.run.first_recorded())
        before = _read(folder)
        if before is not None and (before.stopped or self._kept != before.trials):
            # Its trials are about to grow; a result with others beside it would be a wrong one.
            self.run.unpublish()
        self.run.ask(asked)

    def teach(self, engine: PruningEngine) -> None:
        """Let the engine remember the recorded evaluations."""
        if not self.recorded:
            return
        log.info("going on behind %d trials recorded before", len(self.recorded))
        trials = self.recorded.values()
        assert isinstance(engine, TorchEngine | WorkersEngine)  # noqa: S101  what runs search on
        if isinstance(engine, TorchEngine) and isinstance(engine.score, RacingScorer):
            # A race knows the best so far by its answers, which are not on disk.
            engine.score_again(max(trials, key=lambda trial: trial.evaluation.metric).strategy)
        for trial in trials:
            engine.remember(trial.strategy, trial.evaluation)

    def __call__(self, trial: Trial) -> None:
        """Record a trial, or check that it repeats the recorded one.

        Raises:
            RefusedInput: it does not, because another version or machine recorded it.
        """
        before = self.recorded.get(trial.index)
        if before is not None and trial.strategy != before.strategy:
            raise RefusedInput(
                f"{self.run.folder}: trial {trial.index} does not repeat, it was recorded by another version or "
                "machine; overwrite=true starts the run anew"
            )
        if trial.index >= self._kept:
            self.run.record(before or trial)
