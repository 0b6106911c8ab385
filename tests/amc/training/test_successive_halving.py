from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from amc.training.successive_halving import MOST, Rung, choose_rungs, cost_of, halve, plan_rungs

CONTESTS = {
    "available": st.integers(1, 200),
    "whole": st.integers(1, 6),
    "steps": st.integers(0, 5000),
    "scoring": st.integers(0, 50),
}


def test_sixteen_take_as_long_as_three() -> None:
    rungs = plan_rungs(16, 1600)
    assert rungs == (Rung(16, 100), Rung(8, 200), Rung(4, 400), Rung(2, 800), Rung(1, 1600))
    assert cost_of(rungs, 0) == 3 * 1600
    assert cost_of(rungs, 10) == 3 * 1600 + 10 * (16 + 8 + 4 + 2 + 1)


@given(st.integers(1, 100), st.integers(0, 5000))
def test_every_rung_halves_those_who_are_left_and_doubles_their_steps(contestants: int, steps: int) -> None:
    rungs = plan_rungs(contestants, steps)
    assert rungs[0].contestants == contestants
    assert rungs[-1] == Rung(1, steps)
    for before, after in pairwise(rungs):
        assert after.contestants < before.contestants <= 2 * after.contestants
        assert after.steps // 2 == before.steps


@given(**CONTESTS)
def test_a_contest_never_takes_longer_than_whole_trainings(
    available: int, whole: int, steps: int, scoring: int
) -> None:
    rungs = choose_rungs(available, whole, steps, scoring, shortest=10)
    assert cost_of(rungs, scoring) <= whole * (steps + scoring)
    assert rungs[-1].steps == steps
    assert min(available, whole) <= rungs[0].contestants <= min(available, max(MOST, whole))
    assert len(rungs) == 1 or rungs[0].steps >= 10
    if len(rungs) > 1 and rungs[0].contestants < min(available, MOST):
        more = plan_rungs(rungs[0].contestants + 1, steps)
        assert more[0].steps < 10 or cost_of(more, scoring) > whole * (steps + scoring)


@given(**CONTESTS, shuffled=st.randoms())
def test_work_is_what_was_planned_and_the_best_is_found_where_ranks_do_not_change(
    available: int, whole: int, steps: int, scoring: int, shuffled: object
) -> None:
    quality = list(range(available))
    shuffled.shuffle(quality)
    rungs = choose_rungs(available, whole, steps, scoring, shortest=10)
    played: Counter[int] = Counter()

    def play(number: int, running: Sequence[int]) -> list[tuple[float, ...]]:
        played.update(running)
        assert len(running) == rungs[number].contestants
        return [(float(quality[contestant]),) for contestant in running]

    ended = halve(range(available), rungs, play)
    taking_part = quality[: rungs[0].contestants]
    assert [quality[contestant] for contestant in ended] == sorted(taking_part, reverse=True)[: rungs[-1].contestants]
    assert sum(played.values()) == sum(rung.contestants for rung in rungs)
    assert played[ended[0]] == len(rungs)


def test_a_late_starter_wins_if_it_is_in_the_better_half_by_then() -> None:
    """Four curves; the one that is best in the end is second at first."""
    curves = {"early": (9, 10, 11), "late": (8, 12, 20), "slow": (1, 9, 30), "low": (0, 0, 0)}
    rungs = plan_rungs(4, 40)
    assert halve(list(curves), rungs, lambda number, running: [(curves[name][number],) for name in running]) == ["late"]


def test_ties_go_to_the_more_promising() -> None:
    assert halve("abcd", plan_rungs(4, 40), lambda _, running: [(0.0,) for _ in running]) == ["a"]
