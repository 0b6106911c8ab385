"""Text and tables as Markdown."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*\[\]<>|#~$])")


def markdown(text: str) -> str:
    """Return a text in which nothing means anything to Markdown."""
    return _SPECIAL.sub(r"\\\1", text)


def markdown_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return cells under their columns as Markdown; the first column names the row, the others are figures."""
    rule = "|---|" + "---:|" * (len(columns) - 1)
    return "\n".join([_line(columns), rule, *map(_line, rows)])


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(markdown(str(cell)) for cell in cells) + " |"
