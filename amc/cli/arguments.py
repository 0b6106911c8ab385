"""A command line that Hydra would refuse in many lines, or fail on, is refused in one."""

import re
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from amc.config.conf_folder import CONF
from amc.errors import ConfigError
from envs.engine.plugins import nearest

_NO_NAME = re.compile(r"null|true|false|[+-]?(\d[\d_]*\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?", re.IGNORECASE)
"""What Hydra reads as a number, a truth or nothing: no choice is called so, and Hydra fails on it."""


QUIET, VERBOSE, HELP = ("-q", "--quiet"), ("-v", "--verbose"), ("-h", "--help")


def check_choices(arguments: Sequence[str]) -> None:
    """Refuse a command line on which the choice of a group cannot be a name: ``data=0``, ``tracker=true``.

    Raises:
        ConfigError: there is one.
    """
    for argument in arguments:
        group, equals, value = argument.lstrip("+").partition("=")
        if equals and not group:
            raise ConfigError(f"cannot read {argument!r}: no key is before the equals sign")
        if not equals or group.startswith("hydra/") or not (CONF / group).is_dir():
            continue
        if any(_NO_NAME.fullmatch(part.strip()) for part in value.split(",")):
            names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            raise ConfigError(f"{group}={value}: must be one of {', '.join(names)}{nearest(value, tuple(names))}")


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse options that there are not, and choices that cannot be names.

    Raises:
        ConfigError: there is one.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    parser.parse_args(list(arguments))
    check_choices(arguments)


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; --help says what can be asked")


def options_last(arguments: Sequence[str]) -> list[str]:
    """Return a command line with all options behind all overrides, in their order: Hydra reads no others.

    So ``model=vgg16 -m seed=0,1`` is read, and what is added here to ``model._target_=my.net -m``.
    """
    options = get_args_parser()._option_string_actions
    rest, last = list(arguments), []
    overrides = []
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        last.append(argument)
        action = options.get(argument)
        if action is None or not rest:
            continue
        if action.nargs is None or (action.nargs == "?" and rest[0] in (action.choices or ())):
            last.append(rest.pop(0))
    return [*overrides, *last]


def with_own_flags(arguments: Sequence[str]) -> list[str]:
    """Return a command line with ``-q`` and ``-v`` as Hydra understands them.

    Raises:
        ConfigError: both are given.
    """
    quiet, loud = (any(argument in flags for argument in arguments) for flags in (QUIET, VERBOSE))
    if quiet and loud:
        raise ConfigError("-q and -v: give one of them")
    rest = [argument for argument in arguments if argument not in (*QUIET, *VERBOSE)]
    if quiet:
        rest.append("hydra.job_logging.root.level=WARNING")
    return [*rest, "hydra.verbose=[amc,envs,baselines]"] if loud else rest
