import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import amc
from amc.api.finetuning import Objective, fit_batches
from amc.training.distillation import divergence
from envs.engine.settings import EngineSettings

Pairs = list[tuple[Tensor, Tensor]]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 16, 4)
    ).eval()


@pytest.fixture
def batches(model: nn.Module) -> Pairs:
    """Images of noise, and what the dense network makes of them."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.randn(25, 3, 4, 4, generator=generator) for _ in range(4)]
    return [(batch, model(batch).argmax(1)) for batch in images]


def pruned(model: nn.Module, batches: Pairs, **changed: object) -> amc.PruneResult:
    # Not repaired so well that fine-tuning has nothing to make up for.
    given: dict[str, object] = {"calibration": batches, "validation": batches, "policy": "uniform", "target": 0.3}
    given["settings"] = EngineSettings(repair="independent")
    return amc.prune(model, batches[0][0][:1], progress=False, **(given | changed))


def distance(network: nn.Module, teacher: nn.Module, batches: Pairs) -> float:
    with torch.no_grad():
        return sum(divergence(network(images), teacher(images), 1.0).item() for images, _ in batches)


def weights(result: amc.PruneResult) -> list[Tensor]:
    return list(result.model.state_dict().values())


def test_the_dense_network_teaches_unless_it_is_told_not_to(model: nn.Module, batches: Pairs) -> None:
    result = pruned(model, batches)
    wrong = [(images, torch.zeros(25, dtype=torch.int64)) for images, _ in batches]
    near = {}
    for distill in (None, 0.0, 0.5, 1.0):
        tuned = result.finetune(wrong, epochs=6, distill=distill, progress=False)
        near[distill] = distance(tuned.model, model, batches)
    assert near[1.0] < near[0.5] < near[0.0]
    assert near[None] == near[0.5]
    assert near[1.0] < distance(result.model, model, batches)


@pytest.mark.parametrize(
    "form",
    [
        lambda images: images,
        lambda images: (images,),
        lambda images: [images],
        lambda images: (images, None),
        lambda images: {"input": images},
    ],
    ids=["tensor", "tuple", "list", "pair", "dict"],
)
def test_labels_are_not_needed(model: nn.Module, batches: Pairs, form: Callable[[Tensor], object]) -> None:
    result = pruned(model, batches)
    tuned = result.finetune([form(images) for images, _ in batches], epochs=3, progress=False)
    same = result.finetune(batches, epochs=3, distill=1.0, progress=False)
    assert all(torch.equal(*pair) for pair in zip(weights(tuned), weights(same), strict=True))
    assert distance(tuned.model, model, batches) < distance(result.model, model, batches)


def test_the_teacher_and_the_network_given_stay_as_they_are(model: nn.Module, batches: Pairs) -> None:
    before = copy.deepcopy(model.state_dict())
    result = pruned(model, batches)
    result.finetune(batches, epochs=1, progress=False).finetune(batches, epochs=1, progress=False)
    for network in (model, result.teacher):
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert not network.training


def test_one_step_is_the_gradient_step_by_hand(batches: Pairs) -> None:
    torch.manual_seed(2)
    teacher, student = nn.Linear(48, 4, bias=False), nn.Linear(48, 4, bias=False)
    by_hand = copy.deepcopy(student)
    images, labels = batches[0][0].flatten(1), batches[0][1]
    fit_batches(student, [(images, labels)], 1, 0.1, Objective(teacher, distill=0.3, temperature=3.0))
    softened = (teacher(images) / 3).softmax(1)
    outputs = by_hand(images)
    cross = -(softened.detach() * (outputs / 3).log_softmax(1)).sum(1).mean()
    (0.7 * cross_entropy(outputs, labels) + 0.3 * 9 * cross).backward()
    assert by_hand.weight.grad is not None
    # Nesterov's first step is 1.9 times the gradient; weights are decayed by 5e-4.
    step = 1.9 * (by_hand.weight.grad + 5e-4 * by_hand.weight)
    torch.testing.assert_close(student.weight, by_hand.weight - 0.1 * step)


class Map(nn.Module):
    """A class for every pixel."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def test_maps_of_classes_are_taught_along_their_classes(batches: Pairs) -> None:
    torch.manual_seed(0)
    network = Map().eval()
    maps = [(images, network(images).argmax(1)) for images, _ in batches]
    result = pruned(network, maps, validation=None, score=lambda _: 1.0)
    tuned = result.finetune(maps, epochs=5, distill=1, progress=False)
    assert distance(tuned.model, network, maps) < distance(result.model, network, maps)
    own = {"epochs": 1, "progress": False, "loss": lambda outputs, targets: cross_entropy(outputs, targets)}
    result.finetune(maps, **own)
    result.finetune(maps, distill=0.5, class_dim=1, **own)
    with pytest.raises(ValueError, match=r"which dimension of \(25, 3, 4, 4\) are the classes\? Give class_dim=1"):
        result.finetune(maps, distill=0.5, **own)
    with pytest.raises(ValueError, match="along dimension 4"):
        result.finetune(maps, class_dim=4, epochs=1, progress=False)


def test_a_loss_of_ones_own_stands_alone(batches: Pairs) -> None:
    """Numbers to regress are no logits: the dense network is left out unless it is asked for, and then refused."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1)).eval()
    numbers = [(images, network(images).detach()) for images, _ in batches]
    result = pruned(network, numbers, validation=None, score=lambda _: 1.0)
    tuned = result.finetune(numbers, loss=mse_loss, epochs=2, progress=False)
    plain = result.finetune(numbers, loss=mse_loss, epochs=2, distill=0, progress=False)
    assert all(torch.equal(*pair) for pair in zip(weights(tuned), weights(plain), strict=True))
    with pytest.raises(ValueError, match=r"two or more classes along dimension -1, the network returns \(25, 1\)"):
        result.finetune(numbers, loss=mse_loss, distill=0.5, epochs=1, progress=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distill": 1.5}, "distill=1.5: must be from 0"),
        ({"distill": float("nan")}, "distill=nan: must be from 0"),
        ({"temperature": 0}, "temperature=0: must be above 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    model: nn.Module, batches: Pairs, arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        pruned(model, batches).finetune(batches, progress=False, **arguments)
    assert "\n" not in str(raised.value)


def test_a_training_that_diverges_says_so(batches: Pairs) -> None:
    teacher, student = nn.Linear(48, 1), nn.Linear(48, 1)
    data = [(images.flatten(1), torch.zeros(25, 1)) for images, _ in batches]
    with pytest.raises(ValueError, match=r"the loss of batch . is .*: try a lower lr than 90"):
        fit_batches(student, data * 9, 1, 90.0, Objective(teacher, mse_loss))
    # Behind the last step there is no loss any more that would tell.
    with pytest.raises(ValueError, match="weights that are no numbers: try a lower lr than 90"):
        fit_batches(nn.Linear(48, 1), data[:1], 1, 90.0, Objective(teacher, lambda outputs, _: 1e37 * outputs.sum()))


def test_without_targets_and_teacher_there_is_nothing_to_learn(model: nn.Module, batches: Pairs) -> None:
    with pytest.raises(ValueError, match="there are no targets, and distill=0"):
        pruned(model, batches).finetune([images for images, _ in batches], distill=0, progress=False)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 11])
def test_any_number_of_batches_can_be_learnt_from(model: nn.Module, batches: Pairs, count: int) -> None:
    """Nine were one too many for the schedule once."""
    result = pruned(model, batches)
    tuned = result.finetune([batches[0]] * count, epochs=1, progress=False)
    assert all(tensor.isfinite().all() for tensor in weights(tuned))
    assert not torch.equal(weights(tuned)[0], weights(result)[0])
