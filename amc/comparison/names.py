"""Names that come from folders and files, made harmless for Markdown and pictures. HTML is escaped by jinja2."""

import re

from amc.names import LONGEST, printable

_MARKDOWN = re.compile(r"([\\`*\[\]<>|#~$])")


def markdown(name: str) -> str:
    """Return a text in which nothing means anything to Markdown."""
    return _MARKDOWN.sub(r"\\\1", name)


def drawn(name: str, longest: int = LONGEST) -> str:
    """Return a name for matplotlib: no formula, no hidden label, and only letters that its font has."""
    letters = name.encode("latin-1", "replace").decode("latin-1")
    short = printable(letters, longest).replace("$", r"\$")
    return f" {short}" if short.startswith("_") else short
