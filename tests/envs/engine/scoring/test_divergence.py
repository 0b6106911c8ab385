"""The divergence from a network's outputs, against its definition and against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import LARGEST_LOSS, Top1Scorer


class Says(nn.Module):
    """Gives every image the same class probabilities, times a number for each image if it is told to."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.logs = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, images: Tensor) -> Tensor:
        return self.logs.expand(len(images), -1) + images[:, :1]


def scorer(count: int = 25) -> Top1Scorer:
    images = torch.arange(float(count)).unsqueeze(1)
    return Top1Scorer(images, torch.zeros(count, dtype=torch.int64), batch_size=10)


def test_it_is_the_mean_kl_divergence_from_the_dense_network() -> None:
    dense, candidate = Says(0.5, 0.25, 0.25), Says(0.25, 0.5, 0.25)
    # sum of p log(p / q), nats: 0.5 log 2 + 0.25 log 0.5. What is added to all logits of an image changes nothing.
    expected = 0.5 * math.log(2) - 0.25 * math.log(2)
    evaluation = scorer().compared_with(dense)(candidate)
    assert evaluation.divergence == pytest.approx(expected, rel=1e-5)


def test_its_direction_is_from_the_dense_network_to_the_candidate() -> None:
    dense, candidate = Says(0.8, 0.1, 0.1), Says(0.4, 0.5, 0.1)
    forth = scorer().compared_with(dense)(candidate).divergence
    back = scorer().compared_with(candidate)(dense).divergence
    assert forth == pytest.approx(0.8 * math.log(2) + 0.1 * math.log(0.2), rel=1e-5)
    assert back == pytest.approx(0.4 * math.log(0.5) + 0.5 * math.log(5), rel=1e-5)


def test_the_dense_network_does_not_diverge_from_itself_whatever_the_labels_are() -> None:
    torch.manual_seed(0)
    network = nn.Linear(6, 4).eval()
    images = torch.randn(95, 6)
    for labels in (torch.zeros(95, dtype=torch.int64), torch.randint(4, (95,))):
        scorer = Top1Scorer(images, labels, batch_size=10).compared_with(network)
        assert scorer(network).divergence == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_every_image_is_compared_with_its_own_output(threads: int) -> None:
    torch.manual_seed(0)
    dense, candidate = nn.Linear(6, 4).eval(), nn.Linear(6, 4).eval()
    images, labels = torch.randn(95, 6), torch.randint(4, (95,))
    chosen = torch.tensor([90, 3, 17])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        answers = Top1Scorer(images, labels, batch_size=10).compared_with(dense).answers(candidate)
        some = Top1Scorer(images, labels, batch_size=2).compared_with(dense).answers(candidate, chosen)
    finally:
        torch.set_num_threads(before)
    with torch.no_grad():
        p, q = dense(images).double().softmax(1), candidate(images).double().softmax(1)
    expected = (p * (p / q).log()).sum(1)
    torch.testing.assert_close(answers.divergence, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(some.divergence, expected[chosen], rtol=1e-4, atol=1e-6)


def test_it_is_compared_with_outputs_in_float32_whatever_candidates_run_in() -> None:
    torch.manual_seed(0)
    network, images = nn.Linear(64, 4).eval(), torch.randn(40, 64)
    plain = Top1Scorer(images, torch.zeros(40, dtype=torch.int64))
    with torch.autocast("cpu", torch.bfloat16):
        reduced = plain.compared_with(network)
    assert reduced(network).divergence == pytest.approx(0, abs=1e-6)


def test_without_a_network_to_compare_with_it_is_unknown() -> None:
    assert math.isnan(scorer()(Says(0.5, 0.5)).divergence)
    assert scorer().answers(Says(0.5, 0.5)).divergence.isnan().all()


def test_a_race_does_not_measure_it() -> None:
    dense = Says(0.5, 0.5)
    assert math.isnan(RacingScorer(scorer(), dense)(dense).divergence)


def test_outputs_that_are_no_class_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a tensor of shape \(6, 1, 1\)"):
        scorer().compared_with(nn.Unflatten(1, (1, 1)))


def test_a_network_that_rules_the_right_class_out_is_as_wrong_as_any_and_has_numbers_all_the_same() -> None:
    images, labels = torch.zeros(25, 1), torch.zeros(25, dtype=torch.int64)
    for metric in (None, lambda scores, labels: float((scores.argmax(1) == labels).float().mean())):
        scorer = Top1Scorer(images, labels, metric=metric).compared_with(Says(0.5, 0.5))
        evaluation = scorer(Says(0.0, 1.0))
        assert (evaluation.metric, evaluation.loss, evaluation.divergence) == (0.0, LARGEST_LOSS, LARGEST_LOSS)
