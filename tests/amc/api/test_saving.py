"""What one Python call found, saved whole: compared and reported as runs of the command line are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from html_page import Page
from torch import nn

import amc
from amc.comparison.page import render
from amc.comparison.study import read_study
from amc.store.digests import differing
from amc.store.results import read_result

IMAGES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(40) % 4


@pytest.fixture(scope="module")
def results() -> list[amc.PruneResult]:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4)]
    options: dict[str, Any] = {"calibration": IMAGES, "validation": (IMAGES, LABELS), "progress": False, "episodes": 4}
    model = nn.Sequential(*layers)
    return [amc.prune(model, IMAGES[:1], policy=policy, **options) for policy in ("random", "sensitivity")]


def test_a_saved_result_is_a_finished_run(results: list[amc.PruneResult], tmp_path: Path) -> None:
    folder = results[0].save(tmp_path / "run")
    assert differing(folder) == {}
    read = read_result(folder)
    assert read.pruned.flops == results[0].found.cost.flops
    assert read.pruned.search_top1 == results[0].found.evaluation.metric
    assert read.network == results[0].network
    assert "Every layer of the network" in (folder / "report.html").read_text()


def test_saved_results_are_compared(results: list[amc.PruneResult], tmp_path: Path) -> None:
    for result in results:
        result.save(tmp_path / f"Sequential-given/{result.request.policy}/seed0")
    study = read_study(tmp_path)
    assert [policy.name for policy in study.problems[0].policies] == ["random", "sensitivity"]
    assert study.left_out == ()
    text = Page(render(study)).text
    assert "Runs of amc.prune have no test split" in text
    assert "Every layer of the network" in text


def test_trials_are_a_data_frame(results: list[amc.PruneResult]) -> None:
    pytest.importorskip("pandas")
    result = results[0]
    frame = result.trials_dataframe()
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(frame["reward"]) == [trial.reward for trial in result.trials]
    keeps = [name for name in frame.columns if name.startswith("keep.")]
    assert [name.removeprefix("keep.") for name in keeps] == list(result.strategy)
    assert tuple(frame.loc[result.best.index, keeps]) == result.best.strategy


def test_a_notebook_shows_tables_and_the_picture(results: list[amc.PruneResult]) -> None:
    shown = results[0]._repr_mimebundle_()
    assert "searched, or kept whole" in shown["text/plain"]
    assert "data:image/png;base64," in shown["text/html"]
    assert results[0].plot()._repr_png_().startswith(b"\x89PNG")


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 4))

    def forward(self, *, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.body(images)}


def test_networks_that_are_called_by_name_are_saved_too(tmp_path: Path) -> None:
    batches, example = [{"images": IMAGES, "labels": LABELS}], {"images": IMAGES[:1]}
    options: dict[str, Any] = {"policy": "uniform", "episodes": 1, "progress": False}
    model = Named().eval()
    result = amc.prune(model, example, calibration=batches, validation=batches, **options)
    assert read_result(result.save(tmp_path)).pruned.latency_ms > 0
    again = amc.load(tmp_path, model=model)
    assert torch.equal(again(images=IMAGES)["logits"], result.model(images=IMAGES)["logits"])


def test_several_targets_are_met_and_said(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 4))
    result = amc.prune(
        model,
        IMAGES[:1],
        calibration=IMAGES,
        validation=(IMAGES, LABELS),
        resource=("flops", "params"),
        target=(0.7, 0.4),
        policy="random",
        episodes=3,
        progress=False,
    )
    assert result.found.cost.flops <= 0.7 * result.dense.cost.flops
    assert result.found.cost.params <= 0.4 * result.dense.cost.params
    folder = result.save(tmp_path / "run")
    settings = read_result(folder).settings
    assert (settings["resource"], settings["target"], settings["limits.params"]) == ("flops", 0.7, 0.4)
    said = "0.7 of the dense network's flops and 0.4 of the dense network's params"
    assert said in Page((folder / "report.html").read_text()).text
