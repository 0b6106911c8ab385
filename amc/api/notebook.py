"""What a terminal and a notebook show of a result: its tables, and in a notebook a picture below them."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.jupyter import JupyterMixin
from rich.table import Table

IMAGE = '<img alt="{}" style="max-width: 100%; width: 36rem" src="data:image/png;base64,{}">'


@dataclass(frozen=True)
class Tables(JupyterMixin):
    """Several tables, one below the other, for rich to print and a notebook to show."""

    tables: Sequence[Table]

    def __rich_console__(self, _: Console, __: ConsoleOptions) -> Iterator[Table]:
        """Yield them."""
        yield from self.tables


def image(png: bytes, what: str) -> str:
    """Return a picture as HTML that holds it."""
    return IMAGE.format(what, b64encode(png).decode("ascii"))
