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
    "arrays": [(IMAGES.numpy(), LABELS.numpy())],
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


class Table(torch.utils.data.Dataset[dict[str, object]]):
    """What a data set of Hugging Face's ``datasets`` offers: columns, and a format of one's own or of torch."""

    column_names = ("image", "label", "pixel_values")

    def __init__(self, form: str | None) -> None:
        self.format = {"type": form}

    def with_format(self, form: str) -> "Table":
        return Table(form)

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, row: int) -> dict[str, object]:
        assert self.format["type"] is not None, "no tensors without a format"
        pixels = IMAGES[row] if self.format["type"] == "torch" else IMAGES[row] * 2
        return {"image": row, "label": LABELS[row], "pixel_values": pixels}


@pytest.mark.parametrize(("form", "scale"), [(None, 1), ("custom", 2)], ids=["as it is", "with a transform of its own"])
def test_a_table_gives_the_columns_that_the_example_input_has(form: str | None, scale: int) -> None:
    result = prune(Named(), {"pixel_values": IMAGES[:1]}, Table(form))
    accuracy = float((plain()(scale * IMAGES).argmax(1) == LABELS).float().mean())
    assert result.dense.evaluation.metric == pytest.approx(accuracy)
    assert result.request.metric == "accuracy"


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return cast(Tensor, self.body(first + second))


@pytest.mark.parametrize(
    ("batch", "metric"),
    [
        ((IMAGES, IMAGES), "agreement"),
        ([IMAGES, IMAGES, LABELS], "accuracy"),
        (((IMAGES, IMAGES), LABELS), "accuracy"),
        ({"first": IMAGES, "second": IMAGES, "labels": LABELS}, "accuracy"),
    ],
    ids=["two", "two and labels", "a pair", "by name"],
)
def test_several_arguments_are_taken_as_the_example_input_has_them(batch: object, metric: str) -> None:
    example: Any = (IMAGES[:1], IMAGES[:1])
    if isinstance(batch, dict):
        example = {"first": IMAGES[:1], "second": IMAGES[:1]}
    score = None if metric == "accuracy" else "agreement"
    result = prune(Sum(), example, [batch], score=score)
    assert result.request.metric == metric
    if score is None:
        accuracy = float((plain()(2 * IMAGES).argmax(1) == LABELS).float().mean())
        assert result.dense.evaluation.metric == pytest.approx(accuracy)


@pytest.mark.parametrize("example", [IMAGES[:1], (IMAGES[:1],), [IMAGES[:1]]], ids=["a tensor", "a tuple", "a list"])
def test_an_example_of_one_argument_is_that_argument(example: object) -> None:
    assert prune(plain(), example, [(IMAGES, LABELS)]).input_shape == (1, 3, 6, 6)


class Collated:
    """A batch as a loader's own class makes it: the network takes it as it is."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels, self.source = images, labels, "a camera"

    def to(self, device: torch.device) -> "Collated":
        return Collated(self.images.to(device), self.labels.to(device))


class TakesCollated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, batch: Collated) -> Tensor:
        assert batch.source == "a camera"
        return cast(Tensor, self.body(batch.images))


def test_a_batch_may_be_an_object(reference: dict[str, float]) -> None:
    batches = [Collated(IMAGES[:30], LABELS[:30]), Collated(IMAGES[30:], LABELS[30:])]
    result = prune(TakesCollated(), Collated(IMAGES[:1], LABELS[:1]), batches)
    assert result.dense.evaluation.metric == pytest.approx(reference["accuracy"])
    assert result.dense.evaluation.n_samples == 48
    assert result.found.cost.flops < 0.6 * result.dense.cost.flops
    assert batches[0].images is not batches[1].images
    assert len(batches[0].images) == 30


class Detector(nn.Module):
    """Returns as many boxes as score well, none for most images, and none for what is marked with NaN."""

    def __init__(self, threshold: float = 0.05) -> None:
        super().__init__()
        self.threshold = threshold
        torch.manual_seed(0)
        convs = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU()]
        self.body, self.head = nn.Sequential(*convs), nn.Conv2d(12, 5, 1)

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        found = []
        for each in self.head(self.body(images)).flatten(2):
            chosen = each[4] > self.threshold
            found.append({"boxes": each[:4, chosen].T, "scores": each[4, chosen]})
        return found


@pytest.mark.parametrize("threshold", [0.05, 10.0], ids=["some boxes", "no boxes"])
def test_a_detector_with_any_number_of_boxes_is_pruned(threshold: float) -> None:
    model = Detector(threshold).eval()
    boxes = [len(each["boxes"]) for each in model(IMAGES)]
    assert len(set(boxes)) > 1 if threshold < 1 else set(boxes) == {0}
    result = prune(model, IMAGES[:1], [IMAGES], validation=None, score=lambda candidate: -len(candidate(IMAGES)))
    assert result.model.get_submodule("head").out_channels == 5
    assert result.found.cost.flops < 0.6 * result.dense.cost.flops


class Ghost(nn.Module):
    """Half of the channels computed, half made of those, and what is too many cut off."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = (outputs + 1) // 2
        self.outputs, self.primary = outputs, nn.Conv2d(inputs, half, 1)
        self.cheap = nn.Conv2d(half, half, 3, padding=1, groups=half)

    def forward(self, images: Tensor) -> Tensor:
        made = self.primary(images).relu()
        return torch.cat([made, self.cheap(made)], 1)[:, : self.outputs]


@pytest.mark.parametrize("outputs", [15, 16])
def test_a_ghost_module_of_ones_own_is_pruned_or_kept_whole(outputs: int) -> None:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Ghost(16, outputs), nn.Conv2d(outputs, 16, 3), nn.ReLU()]
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(256, 4)).eval()
    result = prune(model, IMAGES[:1], [(IMAGES, LABELS)], target=0.7)
    assert result.model(IMAGES).shape == (48, 4)
    whole = {layer.name: layer.whole for layer in result.network}
    primary = result.model.get_submodule("2.primary")
    assert isinstance(primary, nn.Conv2d)
    assert (primary.out_channels == (outputs + 1) // 2) == bool(whole["2.primary"])
    assert bool(whole["2.primary"]) == (outputs == 15)


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
    with pytest.raises(ValueError, match=r"looks at gradients: calibration has to be pairs \(inputs, targets\)"):
        prune(plain(), IMAGES[:1], IMAGES, score="agreement", criterion="taylor")
    with pytest.raises(ValueError, match="inputs hold a list: give its tensors stacked"):
        prune(Detector(), ([IMAGES[0]],), [([IMAGES[0]],)], validation=None, score=lambda _: 0.0)
    with pytest.raises(ValueError, match="target=half: the fraction of flops to keep must be in"):
        prune(plain(), IMAGES[:1], [(IMAGES, LABELS)], target="half")
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
    "a checkpoint": (
        lambda: {"epoch": 3, "model": plain().state_dict()},
        "a checkpoint: build the network, call its load_state_dict.* with what is under 'model'",
    ),
    "a path": (lambda: "net.pt", "a path .net.pt.: give the network"),
    "a class": (lambda: Named, "the class Named: give a trained network of it"),
    "an exported module": (
        lambda: torch.export.export(plain(), (IMAGES[:1],)).module(),
        "model is an exported program.*give the torch.nn.Module",
    ),
    "in half precision": (lambda: plain().bfloat16(), "model.0.weight is bfloat16: give model.float()"),
    "in double precision": (lambda: plain().double(), "model.0.weight is float64: give model.float()"),
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


class Parts(nn.Module):
    """Returns two tensors by names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = self.body(images)
        return {"coarse": found, "fine": 2 * found}


class Boxes(Parts):
    """Returns as many rows an image as it finds, which may be none."""

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]
        return [row[row > 1e6][None] for row in self.body(images)]


@pytest.mark.parametrize(
    ("make", "more", "said"),
    [
        (Parts, {}, "returns a dict of coarse, fine for .*: give output="),
        (
            Parts,
            {"output": lambda outputs: outputs["finest"]},
            "output fails on a dict of coarse, fine .KeyError: 'finest'",
        ),
        (Boxes, {}, r"returns a tensor of shape \(1, 0\) for .* give a score function instead"),
        (
            plain,
            {"calibration": [IMAGES[:, :1]]},
            "calibration: the network cannot be called with a tensor of shape .1, 1, ",
        ),
        (plain, {"validation": (IMAGES[:, :1], LABELS)}, "validation: the network cannot be called with a tensor of"),
    ],
)
def test_what_does_not_fit_the_network_is_said_in_one_line(
    make: Callable[[], nn.Module], more: dict[str, Any], said: str
) -> None:
    given = {"calibration": [IMAGES], "validation": (IMAGES, LABELS), "policy": "uniform", "progress": False} | more
    with pytest.raises(ValueError, match=said) as refused:
        amc.prune(make().eval(), IMAGES[:1], **given)
    assert "\n" not in str(refused.value)
