import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from amc.training.successive_halving import MOST, Rung, choose_rungs, cost_of, halve, plan_rungs

CONTESTS = {
    "available": st.integers(1, 200),
    "whole": st.integers(1, 6),
    "steps": st.integers(0, 5000),
    "scoring": st.integers(0, 50),
}


def test_sixteen_and_a_whole_training_take_as_long_as_three() -> None:
    rungs = plan_rungs(16, 1600)
    assert rungs == (Rung(16, 100), Rung(8, 100), Rung(4, 200))
    assert cost_of(rungs, 0) == 2 * 1600
    assert cost_of(rungs, 10) == 2 * 1600 + 10 * (16 + 8 + 4)


@given(st.integers(1, 100), st.integers(0, 5000))
def test_every_rung_halves_those_who_are_left_and_doubles_what_they_have_behind_them(
    contestants: int, steps: int
) -> None:
    rungs = plan_rungs(contestants, steps)
    assert rungs[0].contestants == contestants
    assert rungs[-1].contestants == min(contestants, 4)
    behind = list(accumulate(rung.steps for rung in rungs))
    assert behind[-1] == steps // 4
    for before, after in pairwise(rungs):
        assert after.contestants < before.contestants <= 2 * after.contestants
    for fewer, more in pairwise(behind):
        assert more // 2 == fewer


@given(**CONTESTS)
def test_a_contest_and_its_winner_never_take_longer_than_whole_trainings(
    available: int, whole: int, steps: int, scoring: int
) -> None:
    rungs = choose_rungs(available, whole, steps, scoring, shortest=10)
    if not rungs:
        more = plan_rungs(whole + 1, steps)
        assert available <= whole or more[0].steps < 10 or cost_of(more, scoring) > (whole - 1) * (steps + scoring)
        return
    assert cost_of(rungs, scoring) + steps + scoring <= whole * (steps + scoring)
    assert whole < rungs[0].contestants <= min(available, MOST)
    assert all(rung.steps >= 10 for rung in rungs)
    if rungs[0].contestants < min(available, MOST):
        more = plan_rungs(rungs[0].contestants + 1, steps)
        assert more[0].steps < 10 or cost_of(more, scoring) > (whole - 1) * (steps + scoring)


@given(st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False))
def test_the_best_who_take_part_are_found_where_ranks_do_not_change(
    available: int, contestants: int, shuffled: random.Random
) -> None:
    quality = list(range(available))
    shuffled.shuffle(quality)
    rungs = plan_rungs(min(contestants, available), 1000)
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
    """Eight curves; the one that is best in the end is fourth at first."""
    curves = {
        "a": (9, 10),
        "b": (8, 9),
        "c": (7, 8),
        "late": (6, 20),
        "e": (5, 30),
        "f": (4, 4),
        "g": (3, 3),
        "h": (2, 2),
    }
    rungs = plan_rungs(8, 80)
    assert len(rungs) == 2
    ended = halve(list(curves), rungs, lambda number, running: [(curves[name][number],) for name in running])
    assert ended == ["late", "a", "b", "c"]


def test_ties_go_to_the_more_promising() -> None:
    assert halve("abcdefgh", plan_rungs(8, 80), lambda _, running: [(0.0,) for _ in running]) == list("abcd")
