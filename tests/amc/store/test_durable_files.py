"""What a process that died while it wrote has left is removed, and nothing else."""

import os
import subprocess
import sys
from errno import EIO, ESTALE
from pathlib import Path

import pytest

from amc.store.durable_files import read_file, remove_partial_files


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be asked there")
def test_what_the_living_write_stays_where_others_may_be_writing(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    names = (f"a.html.{os.getpid()}", f"a.html.{dead.pid}", "b.x.1")
    mine, left, other = (tmp_path / f".{name}.part" for name in names)
    for path in (mine, left, other):
        path.touch()
    remove_partial_files(tmp_path, "a*", alone=False)
    assert sorted(tmp_path.iterdir()) == sorted([mine, other])
    remove_partial_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_replaces_meanwhile_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "result.json").write_text("new")
    errors, read = [ESTALE, ESTALE, EIO], Path.read_bytes

    def disturbed(path: Path) -> bytes:
        if errors:
            raise OSError(error := errors.pop(0), os.strerror(error))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", disturbed)
    with pytest.raises(OSError, match=os.strerror(EIO)):
        read_file(tmp_path / "result.json")
    assert read_file(tmp_path / "result.json") == b"new"
