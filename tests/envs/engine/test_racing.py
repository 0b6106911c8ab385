import pytest
import torch
from torch import Tensor, nn

from envs.engine.racing import RacingScorer, upper_difference
from envs.engine.scoring import Top1Scorer

IMAGES = 4000


class Answering(nn.Module):
    """Answers right where ``correct`` says so; its images are their own numbers."""

    def __init__(self, correct: Tensor) -> None:
        super().__init__()
        self.correct = correct
        self.seen = 0

    def forward(self, numbers: Tensor) -> Tensor:
        self.seen += len(numbers)
        right = self.correct[numbers.long().flatten()].float()
        return torch.stack([right, 1 - right], 1)


def scorer(count: int = IMAGES) -> Top1Scorer:
    return Top1Scorer(torch.arange(count).float().unsqueeze(1), torch.zeros(count, dtype=torch.int64), batch_size=1000)


def answers(accuracy: float, generator: torch.Generator, count: int = IMAGES) -> Tensor:
    correct = torch.zeros(count, dtype=torch.bool)
    correct[: round(accuracy * count)] = True
    return correct[torch.randperm(count, generator=generator)]


def changed(correct: Tensor, lost: int, won: int, generator: torch.Generator) -> Tensor:
    """Other answers to ``lost`` images that were right and ``won`` that were wrong."""
    other = correct.clone()
    for value, count in ((True, lost), (False, won)):
        places = (correct == value).nonzero().flatten()
        other[places[torch.randperm(len(places), generator=generator)[:count]]] = not value
    return other


def test_the_first_and_the_best_are_scored_in_full() -> None:
    generator = torch.Generator().manual_seed(0)
    race = RacingScorer(scorer())
    for accuracy in (0.5, 0.6, 0.9):
        evaluation = race(Answering(answers(accuracy, generator)))
        assert evaluation.n_samples == IMAGES
        assert evaluation.metric == pytest.approx(accuracy)


def test_a_full_score_is_that_of_the_scorer() -> None:
    model = Answering(answers(0.7, torch.Generator().manual_seed(0)))
    assert RacingScorer(scorer())(model) == pytest.approx(scorer()(model))


def test_the_farther_behind_the_sooner_dropped() -> None:
    generator = torch.Generator().manual_seed(0)
    race = RacingScorer(scorer())
    best = answers(0.9, generator)
    race(Answering(best))
    used = []
    for accuracy, correct in (
        (0.3, answers(0.3, generator)),
        (0.82, answers(0.82, generator)),
        (0.87, answers(0.87, generator)),
        (0.899, changed(best, 6, 2, generator)),
    ):
        model = Answering(correct)
        evaluation = race(model)
        assert model.seen == evaluation.n_samples  # what is not counted was not run
        assert evaluation.metric == pytest.approx(accuracy, abs=0.1)
        assert evaluation.metric < 0.9
        used.append(evaluation.n_samples)
    assert used == sorted(used)
    assert (used[0], used[-1]) == (250, IMAGES)


@pytest.mark.parametrize("gain", [1, 20, 80])
def test_a_better_candidate_is_hardly_ever_dropped(gain: int) -> None:
    generator = torch.Generator().manual_seed(gain)
    dropped = 0
    for _ in range(400):
        best = answers(0.85, generator)
        race = RacingScorer(scorer(), confidence=0.95)
        race(Answering(best))
        better = changed(best, 200, 200 + gain, generator)
        dropped += race(Answering(better)).n_samples < IMAGES
    # Binomial(400, 0.05) exceeds 33 with probability 0.002.
    assert dropped <= 33


def test_all_images_leave_no_doubt() -> None:
    best = answers(0.9, torch.Generator().manual_seed(0))
    worse = changed(best, 30, 10, torch.Generator().manual_seed(1))
    assert upper_difference(worse, best, z=3.0) == pytest.approx(-20 / IMAGES)


def test_a_repeated_race_repeats_its_scores() -> None:
    generator = torch.Generator().manual_seed(3)
    models = [Answering(answers(accuracy, generator)) for accuracy in (0.7, 0.6, 0.72, 0.71, 0.3)]
    first, second = RacingScorer(scorer()), RacingScorer(scorer())
    assert [first(model) for model in models] == [second(model) for model in models]


@pytest.mark.parametrize(("confidence", "first"), [(0.5, 250), (1.0, 250), (0.99, 0)])
def test_senseless_races_are_refused(confidence: float, first: int) -> None:
    with pytest.raises(ValueError, match="confidence"):
        RacingScorer(scorer(), confidence, first)
