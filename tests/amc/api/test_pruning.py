import io
import json
import random
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import amc
from amc.store.results import read_trials
from baselines.optuna_search import OptunaSearch
from envs.constraint import TargetError
from envs.engine.errors import GraphError
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import GRANULARITIES
from envs.engine.surgery.masking import masks
from envs.search import RecordTrials, run_episode


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 36, 4),
    ).eval()


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(20, 3, 6, 6, generator=generator), torch.arange(20) % 4) for _ in range(3)]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_several_resources_are_limited_at_once(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    asked = ("flops", "params", "memory_peak")
    shares = (0.6, 0.3, 0.7)
    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, validation=batches, policy="random", episodes=3,
        resource=asked, target=shares,
    )  # fmt: skip
    for trial in result.trials:
        for name, share in zip(asked, shares, strict=True):
            assert getattr(trial.cost, name) <= share * getattr(result.dense.cost, name)
    assert parameters(result.model) <= 0.3 * parameters(model)


def test_the_smallest_network_that_loses_no_more_than_max_drop(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    def weights(network: nn.Module) -> int:  # candidates have their batch norms folded
        return sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)

    def kept(network: nn.Module) -> float:
        return weights(network) / weights(model)

    result = amc.prune(model, batches[0][0][:1], calibration=batches, score=kept, max_drop=0.4, episodes=60)
    assert [trial.index for trial in result.trials] == list(range(60))
    assert kept(result.model) == result.found.evaluation.metric >= 0.6
    smaller = [trial for trial in result.trials if trial.cost.flops < result.best.cost.flops]
    assert smaller
    assert all(trial.evaluation.metric < 0.6 for trial in smaller)
    dense, found, uniform = (each.cost.flops for each in (result.dense, result.found, result.uniform))
    assert found <= result.request.target * dense < dense
    assert uniform <= result.request.target * dense
    assert json.loads((result.save(tmp_path) / "result.json").read_text())["settings"]["max_drop"] == 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 1.5}, "from 0 to 1"),
        ({"max_drop": 0.1, "target": 0.3}, "goes without a target"),
        ({"max_drop": 0.1, "target": (0.5, 0.5), "resource": ("flops", "params")}, "with one resource"),
        ({"max_drop": 0.0, "episodes": 6, "policy": "uniform"}, "no strategy loses so little"),
    ],
)
def test_what_max_drop_does_not_go_with(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        amc.prune(model, batches[0][0][:1], calibration=batches, score=parameters_less_dense(model), **options)


def parameters_less_dense(model: nn.Module) -> Any:  # noqa: ANN401  a metric
    return lambda network: float(parameters(network) - parameters(model))


@pytest.mark.parametrize(("resource", "target"), [(("flops", "params"), 0.5), ("flops", (0.5, 0.6)), ((), ())])
def test_every_resource_has_its_target(
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    resource: str | tuple[str, ...],
    target: float | tuple[float, ...],
) -> None:
    with pytest.raises(ValueError, match="must be a target for each of some resources"):
        amc.prune(model, batches[0][0][:1], calibration=batches, validation=batches, resource=resource, target=target)


@pytest.mark.slow
def test_latency_is_limited_and_rounded_by(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, validation=batches, policy="random", episodes=3,
        resource="latency", target=0.9, device_profile="onnxruntime-cpu", settings=EngineSettings(round_to="auto"),
    )  # fmt: skip
    dense = result.dense.cost.latency
    assert dense is not None
    assert all(trial.cost.latency is not None and trial.cost.latency <= 0.9 * dense for trial in result.trials)


def test_the_network_gets_smaller_and_the_one_given_is_untouched(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, validation=batches, policy="random", episodes=4, target=0.5
    )
    assert len(result.trials) == 4
    assert result.best in result.trials
    assert all(0 < keep <= 1 for keep in result.strategy.values())
    assert parameters(result.model) < parameters(model)
    assert result.model(batches[0][0]).shape == (20, 4)
    with torch.no_grad():
        for parameter in result.model.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_saved_network_comes_back(model: nn.Module, batches: list[tuple[Tensor, Tensor]], tmp_path: Path) -> None:
    images = batches[0][0]
    result = amc.prune(model, images[:1], calibration=batches, validation=batches, policy="uniform", target=0.4)
    folder = result.save(tmp_path / "saved")
    assert read_trials(folder) == result.trials
    assert torch.allclose(amc.load(folder, model=model)(images), result.model(images), atol=1e-6)


@pytest.mark.parametrize(("granularity", "criterion"), [("element", "obd"), ("n_m", "taylor"), ("channel", "obd")])
def test_finer_granularities_keep_the_shape_and_their_zeros(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]], granularity: str, criterion: str, tmp_path: Path
) -> None:
    images = batches[0][0]
    settings = EngineSettings(granularity=granularity, criterion=criterion)
    result = amc.prune(
        model, images[:1], calibration=batches, validation=batches, policy="uniform", target=0.5, settings=settings
    )
    loaded = amc.load(result.save(tmp_path / "saved"), model=model)
    assert torch.allclose(loaded(images), result.model(images), atol=1e-6)
    zeros = sum(int((weight == 0).sum()) for weight in loaded.parameters() if weight.ndim > 1)
    assert parameters(loaded) - zeros == result.best.cost.params < parameters(model)
    assert (parameters(loaded) == parameters(model)) == (granularity != "channel")


def test_one_may_bring_a_score_and_a_policy(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    class KeepLittle:
        def search(self, env: RecordTrials) -> None:
            run_episode(env, lambda _: 0.3)

    result = amc.prune(
        model, batches[0][0][:1], calibration=batches, score=lambda small: -parameters(small), policy=KeepLittle()
    )
    assert result.best.evaluation.metric < 0
    assert len(result.trials) == 1


def test_a_score_that_changes_its_network_changes_nothing_else(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> None:
    def honest(network: nn.Module) -> float:
        return float(network(batches[0][0]).square().mean())

    def destructive(network: nn.Module) -> float:
        metric = honest(network)
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
        network.train()
        return metric

    results = [
        amc.prune(model, batches[0][0][:1], calibration=batches, score=score, policy="random", episodes=3)
        for score in (honest, destructive)
    ]
    first, second = results
    assert [trial.evaluation.metric for trial in first.trials] == [trial.evaluation.metric for trial in second.trials]
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))
    tuned = second.finetune(batches, epochs=1, progress=False)
    assert not tuned.model.training
    assert any(bool(parameter.any()) for parameter in tuned.model.parameters())


def test_the_agent_plays_the_same_trials_for_the_same_seed(
    model: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> None:
    fine = EngineSettings(round_to=1)  # so many choices that no two seeds make the same
    runs = [
        amc.prune(
            model, batches[0][0][:1], calibration=batches, validation=batches, episodes=6, seed=seed, settings=fine
        )
        for seed in (1, 1, 2)
    ]
    first, again, other = ([trial.strategy for trial in result.trials] for result in runs)
    assert first == again
    assert first != other


def test_what_cannot_work_is_said(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    example = batches[0][0][:1]
    with pytest.raises(ValueError, match="validation batches or a score"):
        amc.prune(model, example, calibration=batches)
    with pytest.raises(ValueError, match="policy='best'"):
        amc.prune(model, example, calibration=batches, validation=batches, policy="best")
    with pytest.raises(ValueError, match="calibration holds no batch"):
        amc.prune(model, example, calibration=[], validation=batches)
    with pytest.raises(TargetError, match="target"):
        amc.prune(model, example, calibration=batches, validation=batches, target=0.01)
    with pytest.raises(GraphError, match="nothing to prune"):
        amc.prune(nn.Sequential(nn.Flatten(), nn.Linear(108, 4)), example, calibration=batches, validation=batches)


Batches = list[tuple[Tensor, Tensor]]


class TwoInputs(nn.Module):
    """An image branch and one of plain features, that meet at the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.features = nn.Sequential(nn.Linear(5, 16), nn.ReLU())
        self.head = nn.Linear(32, 4)

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        return self.head(torch.cat([self.image(image).mean((2, 3)), self.features(features)], 1))


@pytest.mark.parametrize("kind", ["tuple", "loader", "dict"])
def test_networks_of_several_inputs_go_all_the_way(kind: str, batches: Batches, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoInputs().eval()
    pairs = [(images, images.mean((2, 3)) @ torch.ones(3, 5), labels) for images, labels in batches]
    by_kind = {
        "tuple": [((images, features), labels) for images, features, labels in pairs],
        "loader": [[[images, features], labels] for images, features, labels in pairs],
        "dict": [({"features": features, "image": images}, labels) for images, features, labels in pairs],
    }
    data = by_kind[kind]
    result = amc.prune(
        model,
        data[0][0],
        calibration=data,
        validation=data,
        policy="random",
        episodes=3,
        criterion="taylor",
        min_keep=0.2,
    )
    assert parameters(result.model) < parameters(model)
    assert result.input_shape == ()
    tuned = result.finetune(data, epochs=1)
    loaded = amc.load(tuned.save(tmp_path / "saved"), model=model)
    images, features, _ = pairs[0]
    assert torch.allclose(loaded(images, features), tuned.model(images, features), atol=1e-6)


@pytest.mark.parametrize("granularity", ["channel", *GRANULARITIES])
def test_every_granularity_goes_by_its_name(model: nn.Module, batches: Batches, granularity: str) -> None:
    result = amc.prune(
        model,
        batches[0][0][:1],
        calibration=batches,
        validation=batches,
        policy="uniform",
        granularity=granularity,
        ignore=["6"],
    )
    assert result.request.granularity == granularity
    assert "6" not in result.strategy
    assert bool(masks(result.model)) == (granularity != "channel")


def mean_loss(network: nn.Module, batches: Batches) -> float:
    with torch.no_grad():
        return sum(float(cross_entropy(network(images), labels)) for images, labels in batches) / len(batches)


@pytest.mark.parametrize("granularity", ["channel", "element"])
def test_fine_tuning_lowers_the_loss_of_a_copy(model: nn.Module, batches: Batches, granularity: str) -> None:
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    loader = DataLoader(TensorDataset(images, labels), batch_size=20, shuffle=True)
    result = amc.prune(
        model, images[:1], calibration=loader, validation=batches, policy="uniform", granularity=granularity
    )
    before = {name: tensor.clone() for name, tensor in result.model.state_dict().items()}
    state = torch.get_rng_state()
    tuned = result.finetune(loader, epochs=4, lr=0.02)
    assert torch.equal(torch.get_rng_state(), state)
    assert mean_loss(tuned.model, batches) < mean_loss(result.model, batches)
    assert all(torch.equal(tensor, before[name]) for name, tensor in result.model.state_dict().items())
    assert tuned.found.evaluation.loss < result.found.evaluation.loss
    assert not tuned.model.training
    for name, mask in masks(result.model).items():
        assert int(tuned.model.get_submodule(name).weight[~mask].count_nonzero()) == 0
    again = result.finetune(loader, epochs=4, lr=0.02)
    assert all(torch.equal(a, b) for a, b in zip(tuned.model.parameters(), again.model.parameters(), strict=True))
    accuracy, before_it = (
        line.split("│")[2:5] for line in printed(tuned).splitlines() if "accura" in line or "before" in line
    )
    assert accuracy[1].strip() == "-" == before_it[0].strip()
    assert f"{tuned.found.evaluation.metric:.2%}" in accuracy[2]
    assert f"{result.uniform.evaluation.metric:.2%}" in before_it[1]
    assert f"{result.best.evaluation.metric:.2%}" in before_it[2]
    assert "before fine-tuning" not in printed(result)


def test_fine_tuning_says_what_is_wrong(model: nn.Module, batches: Batches) -> None:
    result = amc.prune(model, batches[0][0][:1], calibration=batches, validation=batches, policy="uniform")
    with pytest.raises(ValueError, match="batches holds no batch"):
        result.finetune([])
    with pytest.raises(ValueError, match="a list or a loader with a length"):
        result.finetune(batch for batch in batches)
    with pytest.raises(ValueError, match="epochs=0"):
        result.finetune(batches, epochs=0)
    with pytest.raises(ValueError, match="loss of batch 0 is nan"):
        result.finetune(batches, loss=lambda outputs, _: outputs.mean() * float("nan"))


def printed(result: amc.PruneResult) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(result.table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_result_shows_itself(model: nn.Module, batches: Batches, tmp_path: Path) -> None:
    named = type("Net<b>[red]", (nn.Sequential,), {})(*model.children()).eval()
    result = amc.prune(
        named,
        batches[0][0][:1],
        calibration=batches,
        validation=batches,
        policy="random",
        episodes=3,
        resource="params",
    )
    table = printed(result)
    assert "Net<b>[red]" in table
    assert f"{result.best.evaluation.metric:.2%}" in table
    dense = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in batches) / sum(
        len(labels) for _, labels in batches
    )
    assert f"{dense:.2%}" in table
    assert str(parameters(model)) in table or f"{parameters(model) / 1000:.3g}k" in table
    for picture in ("reward", "channels"):
        assert isinstance(result.plot(picture), Figure)
    with pytest.raises(ValueError, match="picture='loss': must be one of reward, channels"):
        result.plot("loss")
    assert {"text/plain", "text/html"} <= set(result._repr_mimebundle_())
    page = result.report(tmp_path / "deep" / "report.html").read_text("utf-8")
    HTMLParser().feed(page)
    assert "Net&lt;b&gt;" in page
    assert "<b>" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert all(layer.layer in page for layer in result.found.layers)


def test_the_callers_network_and_random_states_stay_as_they_were(model: nn.Module, batches: Batches) -> None:
    class Failing:
        def search(self, env: RecordTrials) -> None:
            run_episode(env, lambda _: 0.5)
            torch.rand(3), random.random(), np.random.random()  # noqa: NPY002, S311
            raise KeyError("in the middle")

    model.train()
    model[0].eval()
    handle = model[3].register_forward_hook(lambda *_: None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = [id(tensor) for tensor in (*model.parameters(), *model.buffers())]
    modes = [module.training for module in model.modules()]
    torch.manual_seed(7)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    example = batches[0][0][:1]
    amc.prune(model, example, calibration=batches, validation=batches, episodes=2)
    with pytest.raises(KeyError, match="in the middle"):
        amc.prune(model, example, calibration=batches, validation=batches, policy=Failing(), device="cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [id(tensor) for tensor in (*model.parameters(), *model.buffers())] == ids
    assert [module.training for module in model.modules()] == modes
    assert [len(module._forward_hooks) for module in model] == [0, 0, 0, 1, 0, 0, 0]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    handle.remove()


def test_the_bar_is_shown_when_asked_for(
    model: nn.Module, batches: Batches, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    monkeypatch.setattr("amc.progress.get_console", Console)
    example = batches[0][0][:1]
    for progress in (False, True):
        result = amc.prune(model, example, calibration=batches, validation=batches, policy="uniform", progress=progress)
        result.finetune(batches, epochs=1, progress=progress)
        out, err = capsys.readouterr()
        assert (("search" in out), ("fine-tune" in out)) == (progress, progress)
        assert bool(out) == progress
        assert err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": None, "score": None}, "either validation batches or a score"),
        ({"score": lambda _: 1.0}, "either validation batches or a score"),
        ({"validation": None, "score": lambda _: float("nan")}, r"score\(model\) returned nan"),
        ({"validation": None, "score": lambda _: 1e308}, r"score\(model\) returned 1e\+308"),
        ({"validation": None, "score": lambda _: None}, r"score\(model\) returned a NoneType: it must be a number"),
        ({"validation": None, "score": lambda _: torch.zeros(2)}, r"score\(model\) returned a Tensor"),
        ({"validation": [(torch.zeros(4, 3, 6, 6), torch.tensor([0, 1, 2, 4]))]}, "labels go up to 4.* 4 classes"),
        ({"validation": [(torch.zeros(4, 3, 6, 6), torch.tensor([0, 1, 2, -100]))]}, "labels go down to -100"),
        ({"validation": [(torch.full((4, 3, 6, 6), torch.nan), torch.arange(4))]}, "hold NaN"),
        ({"policy": "best"}, "policy='best': must be an object or one of amc, "),
        ({"policy": object()}, r"method search\(env\)"),
        ({"granularity": "row"}, "granularity='row': choose one of channel, "),
        ({"criterion": "size"}, "criterion='size': choose one of l1, "),
        ({"ignore": "6"}, r"ignore='6': must be a list .* \['6'\]"),
        ({"ignore": ["head"]}, "'head', which is no module"),
        ({"granularity": "element", "settings": EngineSettings()}, "granularity and settings are both given"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
        ({"resource": "watts"}, "resource='watts'"),
        ({"episodes": 0}, "episodes=0"),
        ({"calibration": []}, "calibration holds no batch"),
        ({"calibration": 3}, "calibration is of type int"),
        ({"calibration": ["a.png"]}, "calibration: batch 0 is a str"),
        ({"calibration": [{"x": torch.zeros(2), "y": torch.zeros(2)}]}, "calibration: batches hold a mapping of x, y"),
        ({"validation": [(torch.zeros(2, 3, 6, 6), 1, 2)]}, "validation: batch 0 is a tuple of 3"),
        ({"validation": [(torch.zeros(2, 3, 6, 6), [0, 1])]}, "validation: the targets of batch 0 are a list"),
        ({"validation": [(torch.zeros(2, 3, 6, 6), torch.zeros(3).long())]}, "validation: 2 inputs and 3 targets"),
        ({"validation": [(torch.zeros(2, 3, 6, 6), torch.zeros(2, 4))]}, "accuracy needs one class number"),
        ({"calibration": [(["text"], torch.zeros(1))]}, "calibration: inputs hold a str"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    model: nn.Module, batches: Batches, arguments: dict[str, object], message: str
) -> None:
    everything: dict[str, object] = {"calibration": batches, "validation": batches, "policy": "uniform"} | arguments
    with pytest.raises(ValueError, match=message) as raised:
        amc.prune(model, batches[0][0][:1], **everything)
    assert "\n" not in str(raised.value)


def test_a_network_without_class_scores_is_told_to_bring_a_score(batches: Batches) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    with pytest.raises(ValueError, match=r"returns a tensor of shape \(60, 4, 2, 2\).*give a score function"):
        amc.prune(model, batches[0][0][:1], calibration=batches, validation=batches, policy="uniform")


def kl_from(dense: nn.Module, small: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        p, q = dense(images).double().softmax(1), small(images).double().softmax(1)
    return float((p * (p / q).log()).sum(1).mean())


def searched_by(reward: str, model: nn.Module, batches: Batches, settings: EngineSettings) -> amc.PruneResult:
    given: dict[str, Any] = {"calibration": batches, "validation": batches, "policy": "random", "episodes": 4}
    return amc.prune(model, batches[0][0][:1], reward=reward, settings=settings, **given)


def test_the_finer_rewards_are_those_of_the_network_that_comes_out(model: nn.Module, batches: Batches) -> None:
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    settings = EngineSettings(precision="fp32")
    for reward in ("loss", "divergence"):
        result = searched_by(reward, model, batches, settings)
        assert result.best.reward == max(trial.reward for trial in result.trials if trial.feasible)
        with torch.no_grad():
            loss = float(cross_entropy(result.model(images), labels))
        expected = {"loss": loss, "divergence": kl_from(model, result.model, images)}[reward]
        assert -result.best.reward == pytest.approx(expected, rel=1e-3)
        assert result.dense.evaluation.divergence == pytest.approx(0, abs=1e-6)


def test_what_is_repaired_once_more_is_scored_once_more(model: nn.Module, batches: Batches) -> None:
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    settings = EngineSettings(precision="fp32", repair="finalists", round_to=1)
    result = searched_by("loss", model, batches, settings)
    with torch.no_grad():
        loss = float(cross_entropy(result.model(images), labels))
    assert result.found.evaluation.loss == pytest.approx(loss, rel=1e-5)
    assert result.found.evaluation.divergence < result.best.evaluation.divergence / 2


@pytest.mark.parametrize("kind", ["tensors", "tuples of one", "dicts"])
def test_a_search_by_divergence_needs_no_labels(model: nn.Module, batches: Batches, kind: str) -> None:
    images = [inputs for inputs, _ in batches]
    kinds: dict[str, list[Any]] = {
        "tensors": list(images),
        "tuples of one": [(batch,) for batch in images],
        "dicts": [{"input": batch} for batch in images],
    }
    searches = [
        amc.prune(
            model,
            batches[0][0][:1],
            calibration=batches,
            validation=validation,
            policy="random",
            episodes=3,
            reward="divergence",
            settings=EngineSettings(precision="fp32"),
        )
        for validation in (iter(kinds[kind]), batches)
    ]
    without, with_labels = searches
    assert [trial.reward for trial in without.trials] == [trial.reward for trial in with_labels.trials]
    assert (without.request.metric, with_labels.request.metric) == ("agreement", "accuracy")
    assert without.dense.evaluation.metric == 1
    every = torch.cat(images)
    agreeing = (without.model(every).argmax(1) == model(every).argmax(1)).float().mean()
    assert without.best.evaluation.metric == pytest.approx(float(agreeing))
    assert "agreement" in str(without)


def test_batches_without_labels_are_told_from_those_that_forgot_them(model: nn.Module, batches: Batches) -> None:
    images, example = batches[0][0], batches[0][0][:1]
    with pytest.raises(ValueError, match="validation has no class numbers: score='agreement'"):
        amc.prune(model, example, calibration=batches, validation=[images], policy="uniform")
    with pytest.raises(ValueError, match="validation: batch 0 has no targets, others have: give all or none"):
        amc.prune(model, example, calibration=batches, validation=[images, batches[0]], reward="divergence")
    with pytest.raises(ValueError, match="reward=divergence: scoring gave no divergence"):
        amc.prune(model, example, calibration=batches, score=lambda _: 1.0, reward="divergence", policy="uniform")


@pytest.mark.slow
def test_workers_score_what_one_process_scores(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    def pruned(workers: int) -> amc.PruneResult:
        return amc.prune(
            model, batches[0][0][:1], calibration=batches, validation=batches, policy=OptunaSearch(at_once=4),
            episodes=8, workers=workers,
        )  # fmt: skip

    alone, beside = pruned(0), pruned(2)
    assert [trial.strategy for trial in beside.trials] == [trial.strategy for trial in alone.trials]
    assert beside.uniform == alone.uniform


def test_fewer_workers_than_none_are_refused(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(ValueError, match="n=-1"):
        amc.prune(model, batches[0][0][:1], calibration=batches, validation=batches, episodes=1, workers=-1)
