"""A comparison for the terminal and as Markdown."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from amc.comparison.cells import Table
from amc.comparison.layers import LAYERS_TITLE, layers_table
from amc.comparison.rivals import paired_table, verdict
from amc.comparison.study import LeftOut, Problem, Study
from amc.comparison.summary import correlation, facts, policy_table
from amc.comparison.wording import AGAINST_TITLE, CAPTIONS, CORRELATION, LEFT_OUT, LEGEND, LEGEND_TITLE, one_line
from amc.report.markdown_text import markdown, markdown_table
from amc.report.tables import Cell

# What rich puts between two columns, and around them all.
GAP, EDGES = 3, 2


def print_study(study: Study, console: Console) -> None:
    """Print the tables of every problem, and the runs left out."""
    for problem in study.problems:
        _print_problem(problem, console)
    console.print(Text(f"\n{LEGEND_TITLE}", style="bold"))
    for term, sentence in LEGEND.items():
        console.print(Text(f"{term}: {one_line(sentence)}", style="dim"))
    if study.left_out:
        console.print(Text(f"\n{LEFT_OUT}", style="bold"))
        for left in study.left_out:
            console.print(Text.assemble(f"{left.name}  ", (left.reason, "dim")))


def _print_problem(problem: Problem, console: Console) -> None:
    console.print(Text(f"\n{problem.title}", style="bold"))
    console.print(Text("; ".join(f"{name} {fact}" for name, fact in facts(problem)), style="dim"))
    table, against = policy_table(problem), paired_table(problem)
    console.print(*terminal_tables(table, console.width), *map(_note, table.notes), sep="\n")
    if against is not None:
        console.print(Text(f"\n{AGAINST_TITLE}", style="bold"))
        console.print(*terminal_tables(against, console.width), *map(_note, against.notes), sep="\n")
    console.print(Text(f"\n{CORRELATION}: {correlation(problem)}."))
    console.print(Text(verdict(problem), style="bold"))


def terminal_tables(table: Table, width: int) -> list[RichTable]:
    """Return a table for rich to print, intervals under the means; as several below each other where it is too wide."""
    widths = [
        max(map(_width, (Cell(column), *cells))) for column, *cells in zip(table.columns, *table.rows, strict=True)
    ]
    parts: list[list[int]] = [[]]
    for column in range(1, len(table.columns)):
        if parts[-1] and EDGES + widths[0] + sum(widths[one] + GAP for one in (*parts[-1], column)) > width:
            parts.append([])
        parts[-1].append(column)
    return [_terminal_table(table, [0, *part]) for part in parts]


def _terminal_table(table: Table, shown: Sequence[int]) -> RichTable:
    printed = RichTable(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    for column in shown:
        printed.add_column(Text(table.columns[column]), justify="right" if column else "left", overflow="fold")
    for row in table.rows:
        printed.add_row(*(_two_lines(row[column]) for column in shown))
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
    parts += [f"## {LEGEND_TITLE}", "\n".join(f"- {term}: {one_line(text)}" for term, text in LEGEND.items())]
    if study.left_out:
        parts += [f"## {LEFT_OUT}", "\n".join(_left_out_lines(study.left_out))]
    return "\n\n".join(parts) + "\n"


def _section(problem: Problem, pictures: Mapping[str, str]) -> list[str]:
    table, against, layers = policy_table(problem), paired_table(problem), layers_table(problem)
    parts = [f"## {markdown(problem.title)}", f"**{markdown(verdict(problem))}**"]
    parts += ["\n".join(f"- {name}: {markdown(fact)}" for name, fact in facts(problem))]
    parts += [markdown_table(table.columns, table.rows), *map(markdown, table.notes)]
    if against is not None:
        parts += [f"### {AGAINST_TITLE}", markdown_table(against.columns, against.rows), *map(markdown, against.notes)]
    if layers is not None:
        parts += [f"### {LAYERS_TITLE}", markdown_table(layers.columns, layers.rows), *map(markdown, layers.notes)]
    parts += [f"{CORRELATION}: {markdown(correlation(problem))}."]
    captions = {name: one_line(CAPTIONS[name]) for name in pictures}
    return parts + [f"![{captions[name]}]({file})\n\n{captions[name]}" for name, file in pictures.items()]


def _left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    return [f"- {markdown(left.name)}: {markdown(left.reason)}" for left in left_out]


def _note(sentence: str) -> Text:
    return Text(sentence, style="dim")


def _width(cell: Cell) -> int:
    return max(len(cell.figure), len(cell.relative))


def _two_lines(cell: Cell) -> Text:
    return Text.assemble(cell.figure, (f"\n{cell.relative}" if cell.relative else "", "dim"))
