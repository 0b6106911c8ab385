import io

import pytest
from rich.console import Console

from amc.report.markdown_text import markdown_table
from amc.report.tables import NETWORKS, count, figure_rows, size, terminal_table
from amc.store.results import Result


def test_rows_hold_the_figures_and_their_relation_to_dense(sample_result: Result) -> None:
    rows = {row.label: [str(cell) for cell in row.cells] for row in figure_rows(sample_result)}
    assert rows == {
        "top-1 on test": ["97.38%", "95.00% (-2.38 pts)", "97.00% (-0.38 pts)"],
        "before fine-tuning": ["-", "90.00% (-7.38 pts)", "96.00% (-1.38 pts)"],
        "FLOPs": ["100M", "49.5M (49.5%)", "49.7M (49.7%)"],
        "parameters": ["4M", "2.1M (52.5%)", "1.5M (37.5%)"],
        "memory": ["16 MB", "8.4 MB (52.5%)", "6 MB (37.5%)"],
        "latency": ["20 ms", "12.5 ms (1.60x)", "10 ms (2.00x)"],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1k"), (46_412_800, "46.4M"), (999_600, "1000k"), (3.2e9, "3.2G"), (5e12, "5000G")],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    assert count(value) == text


@pytest.mark.parametrize(("value", "text"), [(512, "512 B"), (883_880, "884 kB"), (12_900_000, "12.9 MB")])
def test_sizes_are_in_bytes(value: float, text: str) -> None:
    assert size(value) == text


def test_the_terminal_table_fits_80_columns(sample_result: Result) -> None:
    printed = io.StringIO()
    Console(width=80, file=printed).print(terminal_table(sample_result))
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for row in figure_rows(sample_result):
        line = next(line for line in lines if row.label in line)
        assert all(cell.figure in line and cell.relative in line for cell in row.cells)


def test_markdown_has_a_column_a_network(sample_result: Result) -> None:
    rows = [(row.label, *row.cells) for row in figure_rows(sample_result)]
    head, rule, *body = markdown_table(["", *NETWORKS], rows).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["", *NETWORKS]
    assert {line.count("|") for line in (head, rule, *body)} == {len(NETWORKS) + 2}
