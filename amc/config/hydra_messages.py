"""What Hydra and OmegaConf say, in one line."""

import re
import sys
from functools import cache

from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amc.config.conf_folder import CONF
from amc.config.keys import keys_of, nested
from envs.engine.plugins import nearest

# Where Hydra's messages stop being about the mistake: where it searched, how to get round the schema.
TAILS = ("Config search path", "To append to your config", "full_key:", "object_type=", "reference_type=", "\nSee ")


UNKNOWN_KEY = re.compile(r"Could not override '(?P<path>[^']+)'")
UNRESOLVED = re.compile(r"Error resolving interpolation '(?P<name>\$\{.*\})', possible interpolation keys")
UNKNOWN_CHOICE = re.compile(r"Could not find '(?P<group>[\w/]+)/(?P<name>[^/']+)'")

MISTYPED = re.compile(
    r"Error merging override (?P<given>.+?): .*"
    r"(?P<kind>to Float|to Integer|is not a valid bool|is not a ListConfig|is not Optional|to string: )"
)
KINDS = {
    "to Float": "be a number",
    "to Integer": "be a whole number",
    "is not a valid bool": "be true or false",
    "to string: ": "be one value",
    "is not a ListConfig": "be a list, with brackets: [a,b]",
    "is not Optional": "not be null",
}
"""What Hydra means by that."""


def in_our_words(error: BaseException) -> str:
    """Return what is wrong with a key or a choice, and which was meant; nothing where Hydra means something else."""
    message = str(error)
    if found := UNKNOWN_CHOICE.search(message):
        group, name = found["group"], found["name"]
        names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if not names or group.startswith("hydra/"):  # of Hydra, which knows what else is installed
            return ""
        return f"{group}={name}: must be one of {', '.join(names)}{nearest(name, tuple(names))}"
    if found := UNKNOWN_KEY.search(message):
        path = found["path"]
        return f"unknown key {path}{nearest(path, known_keys())}; --help lists all"
    return ""


@cache
def known_keys() -> tuple[str, ...]:
    """Return every key of a search, those of all policies and trackers among them."""
    from amc.config.schema import SearchConfig

    names = [key.name for key in keys_of(SearchConfig)]
    for name, owner in nested(SearchConfig).items():
        names += [key.name for key in keys_of(owner, f"{name}.")]
    for group in ("policy", "tracker"):
        for path in sorted((CONF / group).glob("*.yaml")):
            content = OmegaConf.load(path)
            node = OmegaConf.select(content, group) or content
            names += [f"{group}.{key!s}" for key in node if not str(key).startswith("_")]
    return tuple(dict.fromkeys(names))


def one_line_of(error: BaseException) -> str:
    """Return the message of an error of Hydra, and of its cause, without line breaks."""
    if said := in_our_words(error):
        return said
    messages = [str(error)]
    key = getattr(error, "full_key", None)
    if key and str(key) not in messages[0].partition(TAILS[2])[0]:
        messages.insert(0, str(key))
    if isinstance(error, OmegaConfBaseException) and str(key).startswith("hydra."):
        # A name in the run's folder: what was asked says more than where Hydra puts it.
        messages[0] = next((each for each in sys.argv[1:] if "${" in each), messages[0])
    if found := UNRESOLVED.search(messages[0]):
        given = next((each for each in sys.argv[1:] if found["name"] in each), found["name"])
        return f"{given}: names no choice of this group, and cannot be resolved"
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")
        if not value.isascii() and not set(value) & set("'\"\\[{"):
            return f"cannot read {error.override!r}: letters beyond a to z need quotes, \"{key}='{value}'\""
        messages.insert(0, f"cannot read {error.override!r}")
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        messages.append(str(error.__cause__))
    for tail in TAILS:
        messages = [message.partition(tail)[0] for message in messages]
    messages = [message.strip().replace("\n\n", "; ") for message in messages]
    line = ": ".join(" ".join(message.split()).rstrip(".") for message in messages if message)
    found = MISTYPED.match(line)
    return f"{found['given']}: must {KINDS[found['kind']]}" if found else line
