"""What TensorBoard keeps, read back with TensorBoard's own reader."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amc.errors import ConfigError
from amc.tracking.process import TrackerProcess
from amc.tracking.tensorboard_tracker import TensorboardTracker
from amc.tracking.tracker import Ending, TrackedRun

SETTINGS = {"_target_": "amc.tracking.tensorboard_tracker.TensorboardTracker"}
FIGURES = [{"reward": -0.9 + index / 7, "resource_kept": 0.5} for index in range(5)]


def track(run: TrackedRun) -> EventAccumulator:
    """Tell TensorBoard of a whole run and read what it keeps."""
    picture = run.folder / "reward.png"
    Image.new("RGB", (4, 3), (200, 10, 10)).save(picture)
    ending = Ending({"dense/test_top1": 0.97}, [("conv", 0.5, 8, 16)], Path("model"), [picture])
    with TrackerProcess(SETTINGS, run, patience=120) as process:
        for index, figures in enumerate(FIGURES):
            process.report(index, figures)
        process.finish(ending)
    return EventAccumulator(str(run.folder / "tensorboard")).Reload()


def text(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(f"{tag}/text_summary")
    return b"".join(event.tensor_proto.string_val).decode()


def scalars(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_a_run_is_whole_on_disk(
    tracked_run: TrackedRun, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    events = track(tracked_run)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    for name in FIGURES[0]:
        # TensorBoard keeps single precision.
        expected = [(index, float(np.float32(figures[name]))) for index, figures in enumerate(FIGURES)]
        assert scalars(events, f"search/{name}") == expected
    assert scalars(events, "result/dense/test_top1") == [(0, float(np.float32(0.97)))]
    assert "seed: 3" in text(events, "config")
    assert "| conv | 0.5000 | 8 | 16 |" in text(events, "strategy")
    (image,) = events.Images("pictures/reward")
    assert Image.open(io.BytesIO(image.encoded_image_string)).getpixel((0, 0)) == (200, 10, 10)


@pytest.mark.slow
def test_a_second_run_in_the_folder_replaces_the_first(tracked_run: TrackedRun) -> None:
    track(tracked_run)
    assert len(scalars(track(tracked_run), "search/reward")) == len(FIGURES)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"amc-search\[tensorboard\]"):
        TensorboardTracker()
