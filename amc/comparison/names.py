"""Names that come from folders and files, made harmless for each place they are shown in. HTML is escaped by jinja2."""

LONGEST = 80


def printable(name: object, longest: int = LONGEST) -> str:
    """Return a name on one line, at most ``longest`` characters, without what a terminal would act on."""
    text = str(name)
    short = text if len(text) <= longest else f"{text[: longest // 2]}…{text[len(text) - (longest - 1) // 2 :]}"
    return "".join(character if character.isprintable() else "?" for character in short)


def drawn(name: str, longest: int = LONGEST) -> str:
    """Return a name for matplotlib: no formula, no hidden label, and only letters that its font has."""
    letters = name.encode("latin-1", "replace").decode("latin-1")
    short = printable(letters, longest).replace("$", r"\$")
    return f" {short}" if short.startswith("_") else short
