import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch import nn
from torch.nn.functional import cross_entropy

from amc.config.recipe import Recipe
from amc.training.distillation import Distillation, divergence
from amc.training.sgd import fit
from amc.zoo.data.dataset import RawData, Split, Splits, make_splits

SHAPES = st.sampled_from([((5, 3), 1), ((5, 3), -1), ((2, 4, 3, 2), 1), ((2, 7, 4), -1), ((6,), 0)])


def logits(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(SHAPES, st.floats(0.5, 20), st.integers(0, 1000))
def test_the_divergence_is_that_of_scipy(shape: tuple[tuple[int, ...], int], temperature: float, seed: int) -> None:
    size, dim = shape
    learnt, taught = logits(size, seed), logits(size, seed + 1)
    p, q = (softmax(values.double().numpy() / temperature, axis=dim) for values in (taught, learnt))
    expected = np.mean(rel_entr(p, q).sum(dim)) * temperature**2
    assert divergence(learnt, taught, temperature, dim).item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert divergence(taught, taught, temperature, dim).item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_is_the_difference_of_softened_probabilities() -> None:
    """By hand: the derivative of T² KL by a logit is T (q - p), over the number of samples."""
    learnt, taught, temperature = logits((4, 5), 0).requires_grad_(), logits((4, 5), 1), 3.0
    divergence(learnt, taught, temperature).backward()
    p, q = ((values.detach() / temperature).softmax(1) for values in (taught, learnt))
    assert learnt.grad is not None
    torch.testing.assert_close(learnt.grad, temperature * (q - p) / 4)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_loss_is_the_weighted_mean_of_labels_and_teacher(weight: float) -> None:
    teacher, student = nn.Linear(3, 4), nn.Linear(3, 4)
    inputs, labels = torch.randn(6, 3), torch.arange(6) % 4
    outputs = student(inputs)
    loss = Distillation(teacher, weight, 2.0)(inputs, outputs, cross_entropy(outputs, labels))
    expected = (1 - weight) * cross_entropy(outputs, labels) + weight * divergence(outputs, teacher(inputs), 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert teacher.weight.grad is None
    assert student.weight.grad is not None


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (nn.Linear(3, 1), r"returns \(6, 1\)"),
        (nn.LSTM(3, 4), "returns a tuple"),
        (nn.Flatten(0), r"returns \(18,\)"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(teacher: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Distillation(teacher)(torch.randn(6, 3), torch.randn(6, 4))


def noise_splits() -> Splits:
    """Images of noise whose labels say nothing."""
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 256, (200, 1, 4, 4), generator=generator).to(torch.uint8),
        torch.randint(0, 3, (200,), generator=generator),
    )
    return make_splits(RawData(split, split, 3), calibration=5, search=100, seed=0)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


@pytest.mark.parametrize("bf16", [False, True])
def test_what_the_teacher_does_is_learnt_where_labels_say_nothing(bf16: bool) -> None:
    splits, teacher = noise_splits(), network(0)
    before = [parameter.clone() for parameter in teacher.parameters()]
    inputs = splits.normalize(splits.search.images)
    agreement = {}
    for weight in (0.0, 1.0):
        student = network(1)
        recipe = Recipe(epochs=30, lr=0.1, batch_size=25, shift=0, flip=False, bf16=bf16)
        fit(student, splits, recipe, 0, "cpu", distillation=Distillation(teacher, weight))
        agreement[weight] = (student(inputs).argmax(1) == teacher(inputs).argmax(1)).double().mean().item()
    assert agreement[1.0] > 0.85
    assert agreement[1.0] > agreement[0.0] + 0.2
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))


def test_a_step_is_the_one_made_by_hand() -> None:
    splits, teacher, student, by_hand = noise_splits(), network(0), network(1), network(1)
    recipe = Recipe(epochs=1, lr=0.2, batch_size=100, weight_decay=0.01, shift=0, flip=False, bf16=False, momentum=0)
    fit(student, splits, recipe, 7, "cpu", distillation=Distillation(teacher, 0.25, 4.0))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(7))
    images, labels = splits.normalize(splits.train.images[order]), splits.train.labels[order]
    p = (teacher(images) / 4).softmax(1)
    outputs = by_hand(images)
    teaching = -(p * (outputs / 4).log_softmax(1)).sum(1).mean() * 16  # the teacher's entropy has no gradient
    loss = 0.75 * cross_entropy(outputs, labels) + 0.25 * teaching + 0.005 * (by_hand[1].weight ** 2).sum()
    loss.backward()
    for mine, its in zip(by_hand.parameters(), student.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(its, mine - 0.2 * mine.grad)
