"""The lock between processes, real ones: each counts up a number in a file, slowly."""

import subprocess
import sys
from pathlib import Path

import pytest

from amc.errors import StorageError
from amc.store.lock import alone

WITHOUT_LOCKS = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = flock
"""
COUNT = """
import sys, time
from pathlib import Path
from amc.store.lock import alone
folder, times = Path(sys.argv[1]), int(sys.argv[2])
number = folder / "number"
for _ in range(times):
    with alone(folder / "lock", "count"):
        before = int(number.read_text())
        time.sleep(0.002)
        number.write_text(str(before + 1))
"""
HOLD = """
import sys, time
from pathlib import Path
from amc.store.lock import alone
with alone(Path(sys.argv[1]) / "lock", "hold"):
    print("held", flush=True)
    time.sleep(600)
"""


def start(script: str, *args: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, "-c", script, *args], cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("before", "times"), [("", "50"), (WITHOUT_LOCKS, "5")], ids=["locks", "leases"])
def test_processes_count_without_losing_one(before: str, times: str, tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    counters = [start(before + COUNT, str(tmp_path), times) for _ in range(3)]
    assert [counter.wait(timeout=120) for counter in counters] == [0, 0, 0]
    for counter in counters:
        counter.communicate()
    assert (tmp_path / "number").read_text() == str(3 * int(times))
    assert not list(tmp_path.glob("*.lease"))


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with start(HOLD, str(tmp_path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiting = start(COUNT, str(tmp_path), "1")
        (tmp_path / "number").write_text("0")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=1.5)
        holder.kill()
    assert waiting.wait(timeout=60) == 0
    waiting.communicate()
    assert (tmp_path / "number").read_text() == "1"


def test_a_lease_of_another_machine_ends_when_it_is_not_touched(tmp_path: Path) -> None:
    """No process of another machine can be asked whether it lives."""
    short = WITHOUT_LOCKS + "import amc.store.lock\namc.store.lock.LEASE_SECONDS = 0.5\n"
    elsewhere = "import socket\nsocket.gethostname = lambda: 'elsewhere'\n"
    (tmp_path / "number").write_text("0")
    with start(elsewhere + short + HOLD, str(tmp_path)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waiting = start(short + COUNT, str(tmp_path), "1")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=2)
        holder.kill()
    assert waiting.wait(timeout=60) == 0
    waiting.communicate()
    assert not list(tmp_path.glob("*.lease*"))


def test_a_lock_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="lock"), alone(tmp_path / "file" / "lock", "nothing"):
        pass
