"""Names that users, folders and files give, made harmless: on a terminal, and as folders."""

from amc.errors import ConfigError

LONGEST = 80
LONGEST_FOLDER = 100
"""Bytes of a folder's name; file systems take 255, of two such names together and what files are called behind it."""
LONGEST_LINE = 2000


def printable(name: object, longest: int = LONGEST) -> str:
    """Return a name on one line, at most ``longest`` characters, without what a terminal would act on."""
    text = str(name)
    short = text if len(text) <= longest else f"{text[: longest // 2]}…{text[len(text) - (longest - 1) // 2 :]}"
    return "".join(character if character.isprintable() else "?" for character in short)


def printable_line(message: object) -> str:
    """Return a message for a terminal or a log: on one line, without what a terminal would act on."""
    return printable(" ".join(str(message).splitlines()), LONGEST_LINE)


def folder_name(key: str, name: object) -> str:
    """Return the value of a key as the name of one folder.

    Raises:
        ConfigError: it is none, would lead elsewhere, or holds what a terminal would act on.
    """
    text = str(name)
    if "/" in text or "\\" in text:
        raise ConfigError(f"{key}={printable(text)}: must be one name without slashes")
    return _checked(key, text)


def folder_path(key: str, name: object) -> str:
    """Return the value of a key as a path that leads down from where it is put, such as ``study/0.5``.

    Raises:
        ConfigError: it leads elsewhere, or holds what a terminal would act on.
    """
    text = str(name)
    for part in text.split("/"):
        _checked(key, part, whole=text)
    return text


def _checked(key: str, part: str, whole: str | None = None) -> str:
    shown = printable(part if whole is None else whole)
    if part in ("", ".", ".."):
        raise ConfigError(f"{key}={shown}: must be names, without . or .. or an empty one: runs stay below outputs/")
    if not part.isprintable():
        raise ConfigError(f"{key}={shown}: must be letters, digits and signs that can be printed")
    if len(part.encode()) > LONGEST_FOLDER:
        raise ConfigError(
            f"{key}={shown}: must be at most {LONGEST_FOLDER} letters long, fewer where they are not a to z"
        )
    return part
