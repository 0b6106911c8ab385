"""Runs that go on elsewhere, or are asked for otherwise, on a problem so small that a run takes a second."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from matplotlib.figure import Figure

from amc.config.composing import configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.schema import SearchConfig
from amc.errors import ConfigError
from amc.measurement import memory
from amc.measurement.memory import Demand, check_memory
from amc.run import pipeline
from amc.run.pipeline import run_search
from amc.store.conditions import Conditions, note_conditions, read_conditions
from amc.store.digests import differing
from amc.store.durable_files import write_file
from amc.store.results import read_result, told
from amc.tracking.process import TrackerProcess
from benchmarks.faults.machine import PICTURE, TINY
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, Strategy

HERE = Conditions("2.13.0", "cpu", "AVX2", 1, "d1")
STAGES = ("stages=2", "finetune.epochs=0.5")


def search(folder: Path, *overrides: str) -> bool:
    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        asked = [
            *TINY,
            "model=custom",
            "data=custom",
            "policy=random",
            f"cache_dir={folder.parent / 'cache'}",
            *overrides,
        ]
        cfg = configured(compose("search", asked), SearchConfig)
    return run_search(cfg, "random", folder)


def cut_short(run: Path, trials: int) -> None:
    """Leave of a run what a kill behind so many trials would."""
    for path in run.iterdir():
        if path.name not in ("asked.json", "conditions.json", "trials.jsonl", "timings.jsonl"):
            path.unlink()
    lines = (run / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (run / "trials.jsonl").write_bytes(b"".join(lines[:trials]))


@pytest.fixture(autouse=True)
def _pictures_that_nobody_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda _figure, file, **_: file.write(PICTURE))


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Strategy]:
    """What engines evaluate, from now on."""
    found: list[Strategy] = []
    evaluate = TorchEngine.score_again

    def score_again(engine: TorchEngine, strategy: Strategy) -> Evaluation:
        found.append(strategy)
        return evaluate(engine, strategy)

    monkeypatch.setattr(TorchEngine, "score_again", score_again)
    return found


def test_a_staged_run_goes_on_from_its_first_stage_when_fine_tuned_otherwise(
    tmp_path: Path, evaluated: list[Strategy]
) -> None:
    run, fresh = tmp_path / "run", tmp_path / "fresh"
    search(run, *STAGES)
    first = (run / "stage1/trials.jsonl").read_bytes()
    evaluated.clear()
    search(run, *STAGES, "finetune.epochs=1")
    episodes = len(evaluated)
    search(fresh, *STAGES, "finetune.epochs=1")
    assert (run / "stage1/trials.jsonl").read_bytes() == first
    assert episodes <= 6  # five of the last stage, and uniform ratios
    for name in ("trials.jsonl", "stage1/network.safetensors", "pruned.safetensors"):
        assert (run / name).read_bytes() == (fresh / name).read_bytes()
    assert differing(run) == {}


def test_a_run_that_goes_on_with_another_torch_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    search(run)
    trials = (run / "trials.jsonl").read_bytes()
    (only,) = read_result(run).conditions
    assert (only.torch, only.device, only.threads, only.since) == (torch.__version__, "cpu", 1, 0)
    cut_short(run, 2)
    here = vars(pipeline)["conditions"]
    monkeypatch.setattr(pipeline, "conditions", lambda *about: replace(here(*about), torch="2.99"))
    search(run)
    assert (run / "trials.jsonl").read_bytes() == trials
    assert read_result(run).conditions == (only, replace(only, torch="2.99", since=2))


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    search(run)
    cut_short(run, 2)
    here = vars(pipeline)["conditions"]
    monkeypatch.setattr(pipeline, "conditions", lambda *about: replace(here(*about), data="other"))
    with pytest.raises(ConfigError, match=r"other data: .*data\.folder"):
        search(run)
    search(run, "overwrite=true")
    assert [each.data for each in read_conditions(run)] == ["other"]


def test_damaged_conditions_are_replaced(tmp_path: Path) -> None:
    note_conditions(tmp_path, HERE, 0)
    write_file(tmp_path / "conditions.json", (tmp_path / "conditions.json").read_text().replace("AVX2", "AVX3"))
    note_conditions(tmp_path, HERE, 3)
    assert read_conditions(tmp_path) == (replace(HERE, since=3),)


def test_a_tracker_asked_for_later_hears_of_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(TrackerProcess.__init__, "__defaults__", (120.0,))
    run = tmp_path / "run"
    (run / ".hydra").mkdir(parents=True)
    (run / ".hydra/config.yaml").write_text("seed: 0\n")
    search(run, *STAGES)
    assert told(run) == []
    search(run, *STAGES, "tracker=tensorboard")
    (events,) = run.rglob("events.out.tfevents.*")
    heard = EventAccumulator(str(events)).Reload()
    assert [scalar.step for scalar in heard.Scalars("search/reward")] == list(range(10))
    assert heard.Scalars("result/pruned/test_top1")[0].value == pytest.approx(read_result(run).pruned.test_top1)
    assert len(told(run)) == 1
    before = events.read_bytes()
    search(run, *STAGES, "tracker=tensorboard")
    assert [path.read_bytes() for path in run.rglob("events.out.tfevents.*")] == [before]
    assert differing(run) == {}


def test_what_a_gpu_holds_is_held_against_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte, gpu = 1 << 30, torch.device("cuda")
    for name, value in (("mem_get_info", (3 * gigabyte, 9 * gigabyte)), ("memory_reserved", 2 * gigabyte)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: gigabyte)
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * gigabyte)
    images = Demand("data.search=9", 4 * gigabyte, "images", on_device=True)
    check_memory([images, Demand("policy.replay_size=7", gigabyte, "replay")], gpu)
    with pytest.raises(ConfigError, match=r"^data\.search=9: 5 GB .*4 GB are there on cuda: lower data\.search"):
        check_memory([images, Demand("reconstruct=true", gigabyte, "Gram matrices", on_device=True)], gpu)
    with pytest.raises(ConfigError, match=r"^policy\.replay_size=7: 3 GB .*2 GB are there: lower"):
        check_memory([images, Demand("policy.replay_size=7", 3 * gigabyte, "replay")], gpu)
    with pytest.raises(ConfigError, match=r"^data\.search=9: 4 GB .*2 GB are there: lower"):
        check_memory([images], torch.device("cpu"))


def test_what_was_asked_is_known_from_the_result(tmp_path: Path) -> None:
    run = tmp_path / "run"
    search(run)
    asked, conditions = ((run / name).read_bytes() for name in ("asked.json", "conditions.json"))
    for name in ("asked.json", "conditions.json", "made.json"):
        (run / name).unlink()
    search(run)
    assert (run / "conditions.json").read_bytes() == conditions
    assert (run / "made.json").exists()
    assert json.loads((run / "asked.json").read_bytes()) == json.loads(asked)
    assert differing(run) == {}
