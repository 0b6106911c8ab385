import pytest
import torch
from torch import Tensor, nn

from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Top1Scorer

IMAGES = 4000


class Answering(nn.Module):
    """Answers right where ``correct`` says so, as surely as told; its images are their own numbers."""

    def __init__(self, correct: Tensor, sure: Tensor | None = None) -> None:
        super().__init__()
        self.correct = correct
        self.sure = torch.ones(len(correct)) if sure is None else sure
        self.seen = 0

    def forward(self, numbers: Tensor) -> Tensor:
        self.seen += len(numbers)
        images = numbers.long().flatten()
        right = self.sure[images] * (self.correct[images].float() - 0.5)
        return torch.stack([right, -right], 1)


def scorer(count: int = IMAGES) -> Top1Scorer:
    return Top1Scorer(torch.arange(count).float().unsqueeze(1), torch.zeros(count, dtype=torch.int64), batch_size=1000)


def started(best: Tensor, confidence: float = 0.99) -> RacingScorer:
    """Return a race that was led by ``best`` from its first candidate on, pruned from a network much like it."""
    dense = changed(best, 40, 40, torch.Generator().manual_seed(9))
    race = RacingScorer(scorer(), Answering(dense), confidence)
    race(Answering(best))
    return race


def answers(accuracy: float, generator: torch.Generator, count: int = IMAGES) -> Tensor:
    correct = torch.zeros(count, dtype=torch.bool)
    correct[: round(accuracy * count)] = True
    return correct[torch.randperm(count, generator=generator)]


def changed(correct: Tensor, lost: int, won: int, generator: torch.Generator) -> Tensor:
    """Other answers to ``lost`` images that were right and ``won`` that were wrong."""
    other = correct.clone()
    for value, count in ((True, lost), (False, won)):
        dims = (correct == value).nonzero().flatten()
        other[dims[torch.randperm(len(dims), generator=generator)[:count]]] = not value
    return other


def test_the_first_and_the_best_are_scored_in_full() -> None:
    generator = torch.Generator().manual_seed(0)
    race = RacingScorer(scorer(), Answering(answers(0.95, generator)))
    for accuracy in (0.5, 0.6, 0.9):
        evaluation = race(Answering(answers(accuracy, generator)))
        assert evaluation.n_samples == IMAGES
        assert evaluation.metric == pytest.approx(accuracy)


def test_a_full_score_is_that_of_the_scorer() -> None:
    model = Answering(answers(0.7, torch.Generator().manual_seed(0)))
    assert RacingScorer(scorer(), model)(model) == pytest.approx(scorer()(model), nan_ok=True)


def test_the_farther_behind_the_sooner_dropped() -> None:
    generator = torch.Generator().manual_seed(0)
    best = answers(0.9, generator)
    race = started(best)
    used = []
    for accuracy, correct in (
        (0.3, answers(0.3, generator)),
        (0.84, changed(best, 300, 60, generator)),
        (0.88, changed(best, 100, 20, generator)),
    ):
        model = Answering(correct)
        evaluation = race(model)
        assert model.seen == evaluation.n_samples  # what is not counted was not run
        assert evaluation.metric == pytest.approx(accuracy, abs=0.05)
        used.append(evaluation.n_samples)
    assert used == sorted(set(used))
    assert used[0] == pytest.approx(250, abs=2)


@pytest.mark.parametrize("gain", [20, *(pytest.param(gain, marks=pytest.mark.slow) for gain in (1, 80))])
def test_a_better_candidate_is_hardly_ever_dropped(gain: int) -> None:
    """By its confidence, where the estimate is never exact enough to be the reason."""
    generator = torch.Generator().manual_seed(gain)
    dropped = 0
    for _ in range(400):
        best = answers(0.85, generator)
        race = started(best, confidence=0.95)
        evaluation = race(Answering(changed(best, 500, 500 + gain, generator)))
        dropped += evaluation.n_samples < 0.8 * IMAGES
    # Binomial(400, 0.05) exceeds 33 with probability 0.002.
    assert dropped <= 33


def test_a_candidate_just_behind_is_estimated_and_one_ahead_is_scored_in_full() -> None:
    generator = torch.Generator().manual_seed(0)
    best = answers(0.9, generator)
    behind = started(best)(Answering(changed(best, 14, 4, generator)))
    assert behind.n_samples < IMAGES
    # The split itself measures an accuracy of 0.9 with a standard error of 0.0047.
    assert behind.metric == pytest.approx(0.9 - 10 / IMAGES, abs=0.0047)
    ahead = started(best)(Answering(changed(best, 4, 24, generator)))
    assert (ahead.n_samples, ahead.metric) == (IMAGES, 0.9 + 20 / IMAGES)


def test_images_that_the_dense_network_is_not_sure_of_tell_more() -> None:
    """Where all disagreements are among them, candidates are dropped sooner than by images taken at random."""
    images = [0, 0]
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        sure = torch.rand(IMAGES, generator=generator)
        dense = answers(0.9, generator)
        best, candidate = dense.clone(), dense.clone()
        unsure = sure.argsort()[:400]
        best[unsure[:40]] ^= True
        candidate[unsure[20:60]] ^= True
        best, candidate = (best, candidate) if best.sum() >= candidate.sum() else (candidate, best)
        for case, margin in enumerate((sure, torch.ones(IMAGES))):
            race = RacingScorer(scorer(), Answering(dense, margin))
            race(Answering(best))
            images[case] += race(Answering(candidate)).n_samples
    assert images[0] < 0.7 * images[1]


def test_estimates_are_right_on_average() -> None:
    """Over many orders of the images the mean of the estimates is the accuracy on the whole split."""
    errors = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        best = answers(0.85, generator)
        candidate = changed(best, 200, 80, generator)
        dense = Answering(changed(best, 60, 60, generator), torch.rand(IMAGES, generator=generator))
        race = RacingScorer(scorer(), dense)
        race(Answering(best))
        evaluation = race(Answering(candidate))
        assert evaluation.n_samples < IMAGES
        errors.append(evaluation.metric - float(candidate.double().mean()))
    # Stopping early favours low estimates: the bias must stay small beside the distance of 0.03 that is measured.
    assert abs(sum(errors) / len(errors)) < 0.005


def test_a_repeated_race_repeats_its_scores() -> None:
    generator = torch.Generator().manual_seed(3)
    models = [Answering(answers(accuracy, generator)) for accuracy in (0.7, 0.6, 0.72, 0.71, 0.3)]
    first, second = (RacingScorer(scorer(), models[0]) for _ in range(2))
    assert [first(model) for model in models] == [second(model) for model in models]


@pytest.mark.parametrize(("confidence", "first"), [(0.5, 250), (1.0, 250), (0.99, 0)])
def test_senseless_races_are_refused(confidence: float, first: int) -> None:
    model = Answering(answers(0.7, torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="confidence"):
        RacingScorer(scorer(), model, confidence, first)


@pytest.mark.parametrize("count", [1, 2, 7, 249, 251])
def test_small_splits_race_too(count: int) -> None:
    models = [Answering(answers(accuracy, torch.Generator().manual_seed(0), count)) for accuracy in (1.0, 0.0, 0.5)]
    race = RacingScorer(scorer(count), models[0])
    for model in models:
        assert race(model).metric == pytest.approx(scorer(count)(model).metric, abs=0.1)
