"""Close calls: accuracy in bfloat16 is that of float32 once the images that rounding may turn are asked about again."""

import pytest
import torch
from torch import Tensor, nn

from envs.engine.scoring.answers import Answers
from envs.engine.scoring.close_calls import AT_LEAST, CLOSEST, LEFT, settle
from envs.engine.scoring.top1 import Top1Scorer

COUNT = 5000


def answers_of(signed: Tensor) -> Answers:
    """Answers of a network to which the right class leads by so much, or trails."""
    return Answers(signed > 0, -signed.double(), signed.abs(), torch.full((len(signed),), torch.nan).double())


class Exact:
    """Answers to images by number, which are counted."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.asked = answers, 0

    def __call__(self, images: Tensor) -> Answers:
        self.asked += len(images)
        return Answers(*(each[images] for each in self.answers))


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_few_answers_are_left_that_rounding_changed(noise: float) -> None:
    wrong = changed = 0
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        true = torch.randn(COUNT, generator=generator)
        rough = answers_of(true + noise * torch.randn(COUNT, generator=generator))
        exact = Exact(answers_of(true))
        wrong += int((settle(rough, exact).correct != exact.answers.correct).sum())
        changed += int((rough.correct != exact.answers.correct).sum())
        # Three and a half standard deviations hold all that can change: the others are not asked about.
        assert exact.asked <= max(CLOSEST * COUNT, int((rough.margin < 3.5 * noise).sum()))
    # Ten times LEFT are expected; what margins change by is known from fifty of them, so within a sixth.
    assert wrong <= 2 * 10 * LEFT * COUNT
    assert wrong < changed / 3


def test_where_nothing_changes_the_closest_alone_are_looked_at() -> None:
    rough = answers_of(torch.linspace(-1, 1, COUNT))
    exact = Exact(rough)
    found = settle(rough, exact)
    assert exact.asked == CLOSEST * COUNT
    assert all(torch.equal(a, b) for a, b in zip(found[:3], rough[:3], strict=True))


def test_a_small_split_is_answered_in_float32() -> None:
    true = torch.linspace(-1, 1, AT_LEAST)
    exact = Exact(answers_of(true))
    found = settle(answers_of(-true), exact)
    assert torch.equal(found.correct, exact.answers.correct)
    assert torch.equal(found.loss, exact.answers.loss)


def test_the_scorers_accuracy_is_that_of_float32() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(64, 64), nn.Tanh())), nn.Linear(64, 10))
    images = torch.randn(2000, 64)
    with torch.no_grad():
        labels = network.double()(images.double() + 0.05 * torch.randn(2000, 64)).argmax(1)
    scorer = Top1Scorer(images, labels)
    exact = scorer(network.float().eval()).metric
    with torch.autocast("cpu", torch.bfloat16):
        rough, found = scorer.answers(network), scorer(network)
    assert int((rough.correct != scorer.answers(network).correct).sum()) > 5
    assert round(len(images) * abs(found.metric - exact)) <= 3
