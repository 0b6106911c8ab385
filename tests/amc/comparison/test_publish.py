import json
from collections.abc import Callable
from pathlib import Path

import pytest

from amc.compare import main
from amc.errors import ConfigError, StorageError

AddRun = Callable[..., Path]
FILES = {"compare.html", "compare.md", *(f"compare-1-{name}.png" for name in ("curves", "front", "strategies"))}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_second_comparison_ignores_the_first_and_says_the_same(
    add_run: AddRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, test in enumerate((0.8, 0.9)):
        add_run("amc", seed, [0.5, 0.6], test)
    main([str(tmp_path)])
    first, said = files(tmp_path), capsys.readouterr().out
    assert first.keys() == FILES
    main([str(tmp_path)])
    assert (files(tmp_path), capsys.readouterr().out) == (first, said)


def test_another_folder_can_be_chosen(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5], 0.9)
    main([str(tmp_path), "--output", str(tmp_path / "elsewhere" / "deep")])
    assert files(tmp_path / "elsewhere" / "deep").keys() == FILES
    assert files(tmp_path) == {}


def test_every_problem_has_its_pictures(add_run: AddRun, tmp_path: Path) -> None:
    for model in ("first", "second"):
        add_run("amc", 0, [0.5], 0.9, model=model)
    main([str(tmp_path)])
    text = (tmp_path / "compare.md").read_text()
    for number in (1, 2):
        assert f"(compare-{number}-curves.png)" in text
        assert (tmp_path / f"compare-{number}-curves.png").exists()


def test_an_empty_folder_holds_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it holds no run"):
        main([str(tmp_path)])


def test_damaged_runs_alone_are_nothing_to_compare(add_run: AddRun, tmp_path: Path) -> None:
    for seed in range(5):
        path = add_run("amc", seed, [0.5], 0.9) / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"policy": ["__import__('os')"]}))
    with pytest.raises(ConfigError, match=r"unfinished or damaged: .*seed0.* and 2 more") as error:
        main([str(tmp_path)])
    assert len(str(error.value).splitlines()) == 1


def test_an_unwritable_output_is_a_storage_error(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5], 0.9)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file"):
        main([str(tmp_path), "--output", str(tmp_path / "file")])
