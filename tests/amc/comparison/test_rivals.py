from collections.abc import Callable
from pathlib import Path

import pytest

from amc.comparison.rivals import compare_pair, paired_table, verdict
from amc.comparison.study import Problem, read_study

AddRun = Callable[..., Path]
METRICS = [0.5, 0.8]


def only_problem(folder: Path) -> Problem:
    (problem,) = read_study(folder).problems
    return problem


def test_policies_are_paired_by_seed(problem: Problem) -> None:
    amc, random = problem.policies
    comparison = compare_pair(random, amc)
    assert comparison is not None
    # search: 0.9 against 0.80, 0.81, 0.82; test: 0.91, 0.92, 0.93 against 0.9
    assert comparison.search.difference.mean == pytest.approx(0.09)
    assert comparison.test.difference.mean == pytest.approx(0.02)
    assert (comparison.search.n, comparison.search.p, comparison.test.p) == (3, 0.25, 0.25)


def test_only_shared_seeds_are_paired(add_run: AddRun, tmp_path: Path) -> None:
    for policy, seeds, test in (("amc", (0, 1, 2), 0.9), ("random", (2, 1, 5), 0.8)):
        for seed in seeds:
            add_run(policy, seed, METRICS, test + seed / 100)
    amc, random = only_problem(tmp_path).policies
    comparison = compare_pair(random, amc)
    assert comparison is not None
    assert comparison.test.n == 2
    assert comparison.test.difference.mean == pytest.approx(-0.1)


def test_the_table_says_n_and_what_it_can_show(problem: Problem) -> None:
    table = paired_table(problem)
    assert table is not None
    (row,) = table.rows
    assert [cell.figure for cell in row] == ["random", "3", "+9.00 pts", "0.25", "+2.00 pts", "0.25"]
    assert "With 3 seeds the smallest p there can be is 0.25." in table.notes


def test_without_the_method_or_a_rival_there_is_no_table(add_run: AddRun, tmp_path: Path) -> None:
    add_run("random", 0, METRICS, 0.9)
    assert paired_table(only_problem(tmp_path)) is None
    add_run("uniform", 0, METRICS, 0.9)
    assert paired_table(only_problem(tmp_path)) is None


def test_policies_without_a_shared_seed_stand_in_the_table(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, METRICS, 0.9)
    add_run("random", 1, METRICS, 0.8)
    problem = only_problem(tmp_path)
    table = paired_table(problem)
    assert table is not None
    assert [cell.figure for cell in table.rows[0]] == ["random", "0", "-", "-", "-", "-"]
    assert "shares no seed with random" in verdict(problem)


@pytest.mark.parametrize(
    ("leads", "said"),
    [
        ([0.02], "so few seeds cannot tell"),
        ([0.02] * 3, "so few seeds cannot tell"),
        ([0.02, 0.02, 0.02, 0.02, 0.02, 0.01], "more than chance explains at the 5% level (p = 0.031)"),
        ([0.02, -0.01, 0.03, -0.01, 0.01, -0.01], "may be chance"),
    ],
)
def test_the_answer_says_who_leads_and_whether_that_may_be_chance(
    leads: list[float], said: str, add_run: AddRun, tmp_path: Path
) -> None:
    for seed, lead in enumerate(leads):
        add_run("amc", seed, METRICS, 0.9 + lead)
        add_run("random", seed, METRICS, 0.9)
        add_run("uniform", seed, METRICS, 0.5)
    answer = verdict(only_problem(tmp_path))
    mean = sum(leads) / len(leads)
    assert answer.startswith(f"amc has the best test accuracy, {0.9 + mean:.2%}, mean of {len(leads)} seed")
    assert f"{100 * mean:+.2f} points to random, the next" in answer
    assert said in answer


def test_a_policy_alone_is_best_of_nothing(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, METRICS, 0.9)
    assert verdict(only_problem(tmp_path)) == "Only amc was run, with 90.00% on test: nothing to compare it with."


@pytest.mark.parametrize(("best", "said"), [(0.94, True), (0.96, False)])
def test_uniform_ratios_that_are_as_good_are_not_passed_over(
    best: float, said: bool, add_run: AddRun, tmp_path: Path
) -> None:
    """As the runs measured them beside their own network; the sample's have 95% on test."""
    add_run("amc", 0, METRICS, best)
    add_run("random", 0, METRICS, 0.9)
    assert ("Uniform ratios, without any search, have 95.00%." in verdict(only_problem(tmp_path))) == said
