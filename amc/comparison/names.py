"""Names that come from folders and files, made harmless for pictures. HTML is escaped by jinja2."""

from amc.names import LONGEST, printable


def drawn(name: str, longest: int = LONGEST) -> str:
    """Return a name for matplotlib: no formula, no hidden label, and only letters that its font has."""
    letters = name.encode("latin-1", "replace").decode("latin-1")
    short = printable(letters, longest).replace("$", r"\$")
    return f" {short}" if short.startswith("_") else short
