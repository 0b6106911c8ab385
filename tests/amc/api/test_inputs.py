"""Networks, batches and outputs as people have them."""

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import amc
from envs.engine.network.calls import main_output

IMAGES = torch.randn(48, 3, 6, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(48) % 4


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(256, 4)).eval()


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor


class Named(nn.Module):
    """Takes an argument by name and returns what Hugging Face's networks do."""

    def __init__(self, returned: Callable[[Tensor], Any] = lambda logits: Answer(logits, logits + 1)) -> None:
        super().__init__()
        self.body, self.returned = plain(), returned

    def forward(self, pixel_values: Tensor) -> object:
        return self.returned(self.body(pixel_values))


def prune(model: object, example: object, batches: object, **more: object) -> amc.PruneResult:
    options: dict[str, object] = {
        "policy": "uniform",
        "episodes": 1,
        "progress": False,
        "validation": batches,
        "target": 0.6,
    }
    return amc.prune(model, example, calibration=batches, **options | more)


ALONE = {
    "tensors": [IMAGES[:24], IMAGES[24:]],
    "tuples of one": [(IMAGES,)],
    "pairs with nothing": [(IMAGES, None)],
    "mappings": [{"images": IMAGES}],
    "one tensor": IMAGES,
    "a loader": DataLoader(TensorDataset(IMAGES), 16),
    "a data set": TensorDataset(IMAGES),
}
LABELLED = {
    "pairs": [(IMAGES, LABELS)],
    "lists": [[IMAGES, LABELS]],
    "mappings": [{"images": IMAGES, "labels": LABELS}],
    "a batch": (IMAGES, LABELS),
    "a data set": TensorDataset(IMAGES, LABELS),
    "a mapping of another class": [UserDict(images=IMAGES, label=LABELS)],
}


@pytest.fixture(scope="module")
def reference() -> dict[str, float]:
    model = plain()
    return {
        "accuracy": float((model(IMAGES).argmax(1) == LABELS).float().mean()),
        "agreement": 1.0,
    }


@pytest.mark.parametrize("batches", ALONE.values(), ids=ALONE.keys())
def test_batches_without_labels_are_scored_by_agreement(batches: object, reference: dict[str, float]) -> None:
    result = prune(plain(), IMAGES[:1], batches, score="agreement")
    assert result.request.metric == "agreement"
    assert result.dense.evaluation.metric == reference["agreement"]
    assert result.dense.evaluation.n_samples == 48


@pytest.mark.parametrize("batches", LABELLED.values(), ids=LABELLED.keys())
def test_labelled_batches_are_scored_by_accuracy(batches: object, reference: dict[str, float]) -> None:
    result = prune(plain(), IMAGES[:1], batches)
    assert result.request.metric == "accuracy"
    assert result.dense.evaluation.metric == pytest.approx(reference["accuracy"])


def test_agreement_is_how_often_both_networks_take_the_same_class() -> None:
    model = plain()
    # Labels that are always wrong: they do not count.
    result = prune(model, IMAGES[:1], [(IMAGES, (model(IMAGES).argmax(1) + 1) % 4)], score="agreement")
    same = (result.model(IMAGES).argmax(1) == model(IMAGES).argmax(1)).float().mean()
    assert result.found.evaluation.metric == pytest.approx(float(same))


def test_what_cannot_be_scored_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="validation has no class numbers: score='agreement' takes those"):
        prune(plain(), IMAGES[:1], IMAGES)
    with pytest.raises(ValueError, match="score='f1': must be a function of a network, or 'agreement'"):
        prune(plain(), IMAGES[:1], IMAGES, score="f1")
    with pytest.raises(ValueError, match="batch 1 has no targets, others have"):
        prune(plain(), IMAGES[:1], [(IMAGES, LABELS), IMAGES])


OUTPUTS: dict[str, tuple[Callable[[Tensor], Any], Any]] = {
    "a dataclass": (lambda logits: Answer(logits, logits + 1), None),
    "a dict": (lambda logits: {"hidden": logits + 1, "logits": logits}, None),
    "a dict of one": (lambda logits: {"scores": logits}, None),
    "a tuple": (lambda logits: (logits, logits.sum()), None),
    "what is picked": (lambda logits: {"a": logits.sum(), "b": logits}, lambda outputs: outputs["b"]),
}


@pytest.mark.parametrize(("returned", "output"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_outputs_are_found_or_picked(returned: object, output: object, reference: dict[str, float]) -> None:
    batches = [{"pixel_values": IMAGES, "labels": LABELS}]
    example = {"pixel_values": IMAGES[:1]}
    result = prune(Named(returned), example, batches, output=output, criterion="taylor")
    assert result.dense.evaluation.metric == pytest.approx(reference["accuracy"])
    tuned = result.finetune(batches, epochs=1, progress=False)
    assert tuned.found.evaluation.n_samples == 48


def test_an_output_that_is_not_plain_is_left_alone() -> None:
    several = {"a": IMAGES, "b": IMAGES}
    assert main_output(several) is several


@pytest.mark.parametrize(
    "wrap", [lambda model: torch.compile(model, backend="eager"), nn.DataParallel], ids=["compiled", "DataParallel"]
)
def test_wrapped_networks_are_unwrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    result = prune(wrap(plain()), IMAGES[:1], (IMAGES, LABELS))
    assert type(result.model) is nn.Sequential
    assert set(result.model.state_dict()) == set(plain().state_dict())


REFUSED = {
    "scripted": (lambda: torch.jit.trace(plain(), IMAGES[:1]), "scripted or traced.*give the torch.nn.Module"),
    "exported": (lambda: torch.export.export(plain(), (IMAGES[:1],)), "an exported program.*give the torch.nn.Module"),
    "quantised": (
        lambda: torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}),
        "model.5 is quantised: prune the network of floats",
    ),
    "a state dict": (lambda: plain().state_dict(), "a state dict: build the network, call its load_state_dict"),
    "a path": (lambda: "net.pt", "a path .net.pt.: give the network"),
    "a class": (lambda: Named, "the class Named: give a trained network of it"),
    "compiled inside": (
        lambda: nn.Sequential(cast(nn.Module, torch.compile(plain(), backend="eager"))),
        "model.0 is compiled: give the network as it was",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_cut_is_named_in_one_line(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        prune(make(), IMAGES[:1], (IMAGES, LABELS))
    assert "\n" not in str(refused.value)
