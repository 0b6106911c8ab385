from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from amc.comparison.study import Problem, read_study
from amc.comparison.summary import best_run, correlation, facts, policy_table
from amc.store.results import FineTuned, Result

AddRun = Callable[..., Path]


def only_problem(folder: Path) -> Problem:
    (problem,) = read_study(folder).problems
    return problem


def test_policies_are_sorted_by_test_accuracy_after_dense(problem: Problem) -> None:
    table = policy_table(problem)
    # uniform of sample_result has 95% on test
    assert [row[0].figure for row in table.rows] == ["dense", "uniform", "random", "amc"]


def test_every_figure_is_the_mean_over_seeds(problem: Problem) -> None:
    table = policy_table(problem)
    rows = {row[0].figure: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    random = rows["random"]
    assert random["seeds"].figure == "3"
    assert random["search"] == ("90.00%", "")
    assert random["test before"] == ("96.00%", "")
    assert random["test"].figure == "92.00%"
    low, high = map(float, random["test"].relative.split("\N{EN DASH}"))
    assert 91 <= low < 92 < high <= 93
    assert random["FLOPs kept"] == ("49.7%", "")
    assert random["latency"] == ("10 ms", "")
    assert random["speed-up"] == ("2.00x", "")
    # The best, 0.9, is the second evaluation; each takes 2 seconds.
    assert random["evaluations to 99%"] == ("2", "")
    assert random["seconds to 99%"] == ("4 s", "")
    assert rows["amc"]["evaluations to 99%"] == ("never", "0 of 3")
    assert "is 89.10%" in table.notes[0]


def test_who_arrives_in_part_is_told_from_who_arrives(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5, 0.9], 0.9)
    add_run("amc", 1, [0.5, 0.6], 0.9)
    table = policy_table(only_problem(tmp_path))
    assert table.rows[-1][-2] == ("2", "1 of 2")


def test_dense_and_uniform_are_reference_rows(problem: Problem) -> None:
    dense, uniform = policy_table(problem).rows[:2]
    assert [cell.figure for cell in dense] == ["dense", "-", "-", "-", "-", "97.38%", "100%", "20 ms", "-", "-", "-"]
    figures = [cell.figure for cell in uniform]
    assert figures == ["uniform", "3", "-", "-", "90.00%", "95.00%", "49.5%", "12.5 ms", "1.60x", "-", "-"]


def test_a_run_of_uniform_takes_the_place_of_its_reference(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5], 0.9)
    add_run("uniform", 0, [0.5], 0.94)
    rows = policy_table(only_problem(tmp_path)).rows
    assert [(row[0].figure, row[5].figure) for row in rows] == [
        ("dense", "97.38%"),
        ("uniform", "94.00%"),
        ("amc", "90.00%"),
    ]


def test_different_dense_networks_are_noticed(add_run: AddRun, sample_result: Result, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5], 0.9)
    assert len(policy_table(only_problem(tmp_path)).notes) == 1
    add_run("random", 0, [0.5], 0.9, dense=replace(sample_result.dense, test_top1=0.8))
    assert "may not have pruned the same one" in policy_table(only_problem(tmp_path)).notes[1]


def test_runs_that_ended_early_are_noticed(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.5, 0.6, 0.7], 0.9)
    add_run("amc", 1, [0.5], 0.9)
    add_run("uniform", 0, [0.5], 0.9)
    _, early = policy_table(only_problem(tmp_path)).notes
    assert early == "Runs of amc played 1 to 3 evaluations: some ended early."


@pytest.mark.parametrize(
    ("finetuned", "said"),
    [
        ([(0.5, 0.6), (0.6, 0.7), (0.7, 0.8)], "too few candidates to tell (n = 3)"),
        ([(0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9)], "1.00 (n = 4)"),
        ([(0.5, 0.9), (0.6, 0.8), (0.7, 0.7), (0.8, 0.6)], "-1.00 (n = 4)"),
        ([(0.5, 0.5), (0.6, 0.6)], "the 2 candidates were not fine-tuned"),
        ([(0.5, 0.9)] * 4, "none, the 4 candidates are all equal before or after"),
        ([], "too few candidates to tell (n = 0)"),
    ],
)
def test_the_rank_correlation_says_n(
    finetuned: list[tuple[float, float]], said: str, add_run: AddRun, tmp_path: Path
) -> None:
    rows = tuple(FineTuned(index, *pair) for index, pair in enumerate(finetuned))
    add_run("amc", 0, [0.5], 0.9, finetuned=rows[:2])
    add_run("random", 0, [0.5], 0.9, finetuned=rows[2:])
    assert correlation(only_problem(tmp_path)) == said


def test_the_best_run_is_chosen_without_the_test_split(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.8], 0.5)
    add_run("amc", 1, [0.7], 0.9)
    assert best_run(only_problem(tmp_path).policies[0]).result.seed == 0


def test_what_was_asked_is_said_as_far_as_it_is_known(add_run: AddRun, tmp_path: Path) -> None:
    add_run("amc", 0, [0.8], 0.5)
    known = dict(facts(only_problem(tmp_path)))
    assert known["constraint"] == "rescale"
    assert known["budget"] == "5 evaluations"
    add_run("amc", 0, [0.8], 0.5, model="older", settings={})
    older = next(one for one in read_study(tmp_path).problems if one.title.startswith("older"))
    assert "not recorded" in dict(facts(older))["constraint, budget"]


def test_interrupted_runs_are_marked_and_their_evaluations_shown(problem: Problem) -> None:
    first, *others = problem.policies
    stopped = replace(first.runs[0], result=replace(first.runs[0].result, stopped=True))
    cut = replace(problem, policies=(replace(first, runs=(stopped, *first.runs[1:])), *others))
    table = policy_table(cut)
    column = table.columns.index("evaluations")
    (row,) = (row for row in table.rows if row[0].figure == first.name)
    assert row[column].figure == str(len(stopped.trials))
    assert row[column].relative == "1 interrupted"
    assert any(note.startswith("Interrupted") and stopped.name in note for note in table.notes)
    assert "1 of " in dict(facts(cut))["budget"]
    assert not any("nterrupted" in note for note in policy_table(problem).notes)
