import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from amc.comparison.study import LeftOut, Problem, Study, read_study
from amc.comparison.summary import policy_table
from amc.comparison.text import markdown_page, print_study
from amc.report.markdown_text import markdown_table


def printed(study: Study, width: int) -> list[str]:
    output = io.StringIO()
    print_study(study, Console(width=width, file=output))
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_figure_is_printed_whole_at_any_width(problem: Problem, width: int) -> None:
    lines = printed(Study("study", (problem,), ()), width)
    assert max(map(len, lines)) <= width
    for row in policy_table(problem).rows:
        mine = " ".join(line for line in lines if line.strip().startswith(row[0].figure))
        assert all(cell.figure in mine for cell in row)
        assert all(any(cell.relative in line for line in lines) for cell in row)


def test_a_wide_terminal_has_one_row_a_policy(problem: Problem) -> None:
    heads = [line for line in printed(Study("study", (problem,), ()), 200) if "evaluations to 99%" in line]
    assert len(heads) == 1
    assert "test before" in heads[0]


def test_runs_left_out_are_named(problem: Problem) -> None:
    study = Study("study", (problem,), (LeftOut("a/b/seed1", "unfinished: 3 trials"),))
    assert any("a/b/seed1  unfinished: 3 trials" in line for line in printed(study, 100))


def test_markup_in_names_means_nothing(problem: Problem) -> None:
    study = Study("study", (Problem("[red]net[/red]", problem.settings, problem.policies),), (LeftOut("[b]x", "y"),))
    text = "\n".join(printed(study, 100))
    assert "[red]net[/red]" in text
    assert "[b]x" in text


def test_markdown_has_a_row_a_policy(problem: Problem) -> None:
    table = policy_table(problem)
    head, rule, *body = markdown_table(table.columns, table.rows).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == list(table.columns)
    assert {line.count("|") for line in (head, rule, *body)} == {len(table.columns) + 1}
    assert [line.split("|")[1].strip() for line in body] == [str(row[0]) for row in table.rows]


def test_markdown_names_pictures_and_runs_left_out(problem: Problem) -> None:
    page = markdown_page(Study("a|b", (problem,), (LeftOut("x", "damaged"),)), [{"curves": "compare-1-curves.png"}])
    assert page.startswith("# Search policies compared: a\\|b\n")
    assert "](compare-1-curves.png)" in page
    assert "- x: damaged" in page


def test_names_of_strangers_break_no_table(add_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = add_run("amc", 0, [0.5], 0.9)
    content = (folder / "result.json").read_text()
    (folder / "result.json").write_text(content.replace('"policy": "amc"', '"policy": "a|b\\n<i>\\u001b[31m"'))
    study = read_study(tmp_path)
    table = policy_table(study.problems[0])
    lines = markdown_table(table.columns, table.rows).splitlines()
    assert any(line.startswith(r"| a\|b?\<i\>?\[31m |") for line in lines)
    assert all("\x1b" not in line for line in printed(study, 100))
