import sys
from pathlib import Path

import pytest

from amc.errors import ConfigError
from amc.store.cache import cache_folder


def test_the_folder_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("here") == Path("here")
    assert cache_folder("~/here") == tmp_path / "here"


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG base directory specification is Linux's")
def test_else_it_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(None) == tmp_path / ".cache" / "amc-search"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(None) == tmp_path / "xdg" / "amc-search"


@pytest.mark.parametrize("asked", [None, "~/here", "~nobody-of-this-name/here"])
@pytest.mark.skipif(sys.platform == "win32", reason="looks users up otherwise")
def test_a_home_that_is_not_known_names_the_key(asked: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    # As in a container that is run by a number: no user has it.
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    with pytest.raises(ConfigError, match=r"^cache_dir: where"):
        cache_folder(asked)
