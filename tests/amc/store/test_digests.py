"""Checksums of a finished run: what is added later vouches for nothing else."""

import hashlib
from pathlib import Path

import pytest

from amc.errors import RefusedInput
from amc.store.digests import CHECKSUMS, add_checksums, differing, write_checksums


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("report.html", "reward.png"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    return tmp_path


def test_a_file_that_is_added_does_not_make_a_damaged_one_good(run: Path) -> None:
    (run / "report.html").write_text("rep0rt.html")
    (run / "pruned.onnx").write_bytes(b"network")
    add_checksums(run, ["pruned.onnx"])
    assert list(differing(run) or ()) == ["report.html"]
    assert f"{hashlib.sha256(b'network').hexdigest()}  pruned.onnx\n" in (run / CHECKSUMS).read_text()
    (run / "pruned.onnx").write_bytes(b"another network")
    add_checksums(run, ["pruned.onnx"])
    assert list(differing(run) or ()) == ["report.html"]


def test_nothing_is_added_to_what_is_not_finished_or_damaged(run: Path) -> None:
    (run / CHECKSUMS).write_text("noise\n")
    with pytest.raises(RefusedInput, match=CHECKSUMS):
        add_checksums(run, ["report.html"])
    (run / CHECKSUMS).unlink()
    add_checksums(run, ["report.html"])
    assert not (run / CHECKSUMS).exists()
