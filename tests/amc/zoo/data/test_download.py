import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from amc.errors import ConfigError, RefusedInput, StorageError
from amc.zoo.data.download import Download, fetch_files, find_files

CONTENT = b"published" * 300_000
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says what is compressed, as many servers do: clients that ask for it may unpack such a file."""

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        if self.path.endswith(".gz") and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine that publishes one file."""
    published = tmp_path / "published"
    published.mkdir()
    (published / "data.bin").write_bytes(CONTENT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(published))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(site: str, tmp_path: Path) -> None:
    file = Download("data.bin", f"{site}/data.bin", MD5)
    folder = fetch_files([file], tmp_path / "cache" / "data", "hint")
    assert (folder / "data.bin").read_bytes() == CONTENT
    (tmp_path / "published" / "data.bin").unlink()
    assert fetch_files([file], folder, "hint") == folder


def test_a_damaged_file_is_downloaded_again(site: str, tmp_path: Path) -> None:
    file = Download("data.bin", f"{site}/data.bin", MD5)
    (tmp_path / "data.bin").write_bytes(CONTENT[:100])
    fetch_files([file], tmp_path, "hint")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_file_that_was_published_compressed_stays_so(site: str, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    (tmp_path / "published" / "data.gz").write_bytes(packed)
    file = Download("data.gz", f"{site}/data.gz", hashlib.md5(packed).hexdigest())  # noqa: S324
    fetch_files([file], tmp_path / "cache", "hint")
    assert (tmp_path / "cache" / "data.gz").read_bytes() == packed


def test_nothing_is_written_to_the_terminal(site: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch_files([Download("data.bin", f"{site}/data.bin", MD5)], tmp_path / "cache", "hint")
    assert capfd.readouterr() == ("", "")


def test_a_changed_file_is_refused_and_not_kept(site: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=r"MD5.*take another road"):
        fetch_files([Download("data.bin", f"{site}/data.bin", "0" * 32)], tmp_path / "cache", "take another road")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_missing_file_is_a_storage_error(site: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"404.*take another road"):
        fetch_files([Download("none.bin", f"{site}/none.bin", MD5)], tmp_path / "cache", "take another road")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_server_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot download") as error:
        fetch_files([Download("data.bin", "http://127.0.0.1:9/data.bin", MD5)], tmp_path, "hint")
    assert "\n" not in str(error.value)


def test_a_given_folder_must_hold_the_files(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    assert find_files(str(tmp_path), ["here"], "hint") == tmp_path
    with pytest.raises(ConfigError, match="lacks there"):
        find_files(str(tmp_path), ["here", "there"], "hint")
    with pytest.raises(ConfigError, match="is no folder"):
        find_files(str(tmp_path / "nowhere"), [], "hint")
