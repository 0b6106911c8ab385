"""What a run's folder is worth: every file of it against what was written."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from amc.errors import RefusedInput
from amc.store.conditions import read_conditions
from amc.store.digests import CHECKSUMS, differing, files_of
from amc.store.results import read_asked, read_result, read_stage
from amc.store.run_folders import ASKED, CONDITIONS, RESULT, STAGE, TIMINGS, TRIALS, is_finished
from amc.store.trial_rows import damaged_seconds, recover_trials
from amc.weights.loading import read_header


class Verified(NamedTuple):
    """A file, or a thing that was looked at, and what is wrong with it.

    Attributes:
        name: within the run's folder.
        damage: what is wrong; empty if nothing is.
        vouched: whether a digest said what was written; version 0.1 wrote none.
    """

    name: str
    damage: str = ""
    vouched: bool = True


def verify_run(folder: Path) -> tuple[Verified, ...]:
    """Verify all files of a run, finished or not.

    Raises:
        RefusedInput: there is no run in the folder.
    """
    names = list(files_of(folder))
    if not any(Path(name).name in (TRIALS, RESULT) for name in names):
        raise RefusedInput(f"{folder}: holds no run; a run's folder is outputs/<name>/<model>-<data>/<policy>/seed<k>")
    try:
        listed = differing(folder)
    except RefusedInput as error:
        listed, broken = None, [Verified(CHECKSUMS, str(error))]
    else:
        broken = []
    missing = [Verified(name, why) for name, why in (listed or {}).items() if name not in names]
    found = [_verify(folder, name, listed) for name in names]
    return (*found, *missing, *broken, *_verify_whole(folder))


def _verify(folder: Path, name: str, listed: dict[str, str] | None) -> Verified:
    path = folder / name
    try:
        vouched = _read(path)
    except RefusedInput as error:
        return Verified(name, str(error).removeprefix(f"{path}: "))
    return Verified(name, (listed or {}).get(name, ""), vouched or listed is not None)


def _read(path: Path) -> bool:
    """Read a file as the package would, and tell whether a digest in it vouched for its content."""
    if path.name == TRIALS:
        found = recover_trials(path.parent)
        if found.damage:
            raise RefusedInput("; ".join(found.damage).replace(f"{path}: ", ""))
        return found.verified
    if path.name == TIMINGS and (damage := damaged_seconds(path.parent)):
        raise RefusedInput("; ".join(damage).replace(f"{path}: ", ""))
    if path.suffix == ".safetensors":
        read_header(path)
    elif path.name in READERS:
        READERS[path.name](path.parent)
    return False


READERS = {ASKED: read_asked, CONDITIONS: read_conditions, RESULT: read_result, STAGE: read_stage}


def _verify_whole(folder: Path) -> Iterator[Verified]:
    """Verify what no single file tells: that the trials of a finished run are all there."""
    if not is_finished(folder):
        return
    try:
        expected, found = read_result(folder).trials, recover_trials(folder).trials
    except RefusedInput:
        return
    if list(found) != list(range(expected)):
        yield Verified(TRIALS, f"holds {len(found)} of {expected} trials")
