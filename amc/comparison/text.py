"""A comparison for the terminal and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from amc.comparison.cells import Table
from amc.comparison.names import markdown
from amc.comparison.rivals import paired_table, verdict
from amc.comparison.study import LeftOut, Problem, Study
from amc.comparison.summary import correlation, facts, policy_table
from amc.tables import Cell

AGAINST_TITLE = "Against amc, seed by seed"
CORRELATION = "Rank correlation (Spearman) of the candidates' search metric before and after fine-tuning"
LEFT_OUT = "Not compared"
CAPTIONS = {
    "curves": "Best so far on the search split over evaluations: mean over seeds; the band goes from the lowest to the "
    "highest seed. Dotted: the policy used fewer evaluations.",
    "front": "Every trial within the target before fine-tuning, each policy's Pareto front as a line, and the networks "
    "found, fine-tuned, as stars. Trials far below are left out.",
    "strategies": "What each layer keeps: uniform ratios, and of each policy the seed whose network is best on the search "
    "split.",
}


def print_study(study: Study, console: Console) -> None:
    """Print the tables of every problem, and the runs left out."""
    for problem in study.problems:
        console.print(Text(f"\n{problem.title}", style="bold"))
        asked = ", ".join(f"{name} {fact}" for name, fact in facts(problem)[:4])
        console.print(Text(asked, style="dim"))
        table = policy_table(problem)
        console.print(terminal_table(table))
        against = paired_table(problem)
        if against is not None:
            console.print(Text(AGAINST_TITLE, style="bold"))
            console.print(terminal_table(against))
        for note in (*table.notes, *(against.notes if against is not None else ())):
            console.print(Text(note, style="dim"))
        console.print(Text(f"{CORRELATION}: {correlation(problem)}."))
        console.print(Text(verdict(problem), style="bold"))
    if study.left_out:
        console.print(Text(f"\n{LEFT_OUT}", style="bold"))
        for left in study.left_out:
            console.print(Text.assemble(f"{left.name}  ", (left.reason, "dim")))


def terminal_table(table: Table) -> RichTable:
    """Return a table for rich to print, intervals under the means."""
    printed = RichTable(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(table.columns):
        printed.add_column(Text(column), justify="left" if number == 0 else "right", overflow="fold")
    for row in table.rows:
        printed.add_row(*(_two_lines(cell) for cell in row))
    return printed


def markdown_page(study: Study, pictures: Sequence[Mapping[str, str]]) -> str:
    """Return the comparison as Markdown.

    Args:
        study: what is compared.
        pictures: for every problem, the file names of its pictures.
    """
    parts = [f"# Search policies compared: {markdown(study.name)}"]
    for problem, files in zip(study.problems, pictures, strict=True):
        parts += _section(problem, files)
    if study.left_out:
        parts += [f"## {LEFT_OUT}", "\n".join(_left_out_lines(study.left_out))]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Return a table as Markdown, intervals behind the means."""
    lines = [_line(table.columns), "|---|" + "---:|" * (len(table.columns) - 1)]
    return "\n".join([*lines, *(_line(map(str, row)) for row in table.rows)])


def _section(problem: Problem, pictures: Mapping[str, str]) -> list[str]:
    table, against = policy_table(problem), paired_table(problem)
    parts = [f"## {markdown(problem.title)}", f"**{markdown(verdict(problem))}**"]
    parts += ["\n".join(f"- {name}: {markdown(fact)}" for name, fact in facts(problem))]
    parts += [markdown_table(table), *map(markdown, table.notes)]
    if against is not None:
        parts += [f"### {AGAINST_TITLE}", markdown_table(against), *map(markdown, against.notes)]
    parts += [f"{CORRELATION}: {markdown(correlation(problem))}."]
    return parts + [f"![{CAPTIONS[name]}]({file})\n\n{CAPTIONS[name]}" for name, file in pictures.items()]


def _left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    return [f"- {markdown(left.name)}: {markdown(left.reason)}" for left in left_out]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(markdown, cells)) + " |"


def _two_lines(cell: Cell) -> Text:
    return Text.assemble(cell.figure, (f"\n{cell.relative}" if cell.relative else "", "dim"))
