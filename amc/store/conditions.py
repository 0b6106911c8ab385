"""Where a run was computed. A run that goes on elsewhere may round otherwise: its result says so."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from amc.errors import ConfigError, RefusedInput
from amc.store.digests import parse_sealed, sealed
from amc.store.durable_files import read_file, write_file
from amc.store.run_folders import CONDITIONS
from amc.store.typed_records import Whole

log = logging.getLogger(__name__)
MAY_DIFFER = ("torch", "device", "processor", "threads")


@dataclass(frozen=True)
class Conditions:
    """What the numbers of a run depend on beside what it was asked.

    Attributes:
        torch: version.
        device: that networks run on.
        processor: instructions that torch takes on the CPU, such as AVX2.
        threads: of torch.
        data: digest of all images and labels.
        since: trials that were recorded before.
    """

    torch: str
    device: str
    processor: str
    threads: Whole
    data: str
    since: Whole = 0


@dataclass(frozen=True)
class _Written:
    conditions: tuple[Conditions, ...]


def read_conditions(folder: Path) -> tuple[Conditions, ...]:
    """Read where a run was computed so far; none where nothing says so.

    Raises:
        RefusedInput: the file is damaged.
    """
    path = folder / CONDITIONS
    if not path.exists():
        return ()
    try:
        written: _Written = parse_sealed(_Written, read_file(path)).record
    except ValueError as error:
        raise RefusedInput(f"{path}: holds no conditions ({error})") from error
    return written.conditions


def note_conditions(folder: Path, now: Conditions, recorded: int) -> Sequence[Conditions]:
    """Write down where a run is computed from now on, if that is new, and return all that is known.

    A damaged file is replaced: what was known of before is lost, and a warning says so.

    Args:
        folder: of the run.
        now: the conditions of this process.
        recorded: trials of before.

    Raises:
        ConfigError: the run goes on with other data.
        StorageError: the folder cannot be written.
    """
    try:
        before = read_conditions(folder)
    except RefusedInput as error:
        log.warning("%s; what is so now is taken for what was", error)
        before = ()
    if before and recorded and before[-1].data != now.data:
        raise ConfigError(
            f"{folder} holds a run on other data: images or labels of data.folder or data._target_ have changed; "
            "choose another name=, or overwrite=true"
        )
    same = before and replace(before[-1], since=0) == replace(now, since=0)
    if before and same:
        return before
    if not recorded:
        before = ()
    for name in MAY_DIFFER if before else ():
        then, here = getattr(before[-1], name), getattr(now, name)
        if then != here:
            log.warning("going on with %s %s, where it was %s: result.json says so", name, here, then)
    known = (*before, replace(now, since=recorded))
    write_conditions(folder, known)
    return known


def write_conditions(folder: Path, known: Sequence[Conditions]) -> None:
    """Write down all that is known of where a run was computed.

    Raises:
        StorageError: the folder cannot be written.
    """
    rows = {"conditions": [asdict(each) for each in known]}
    write_file(folder / CONDITIONS, json.dumps(sealed(rows), indent=1) + "\n")
