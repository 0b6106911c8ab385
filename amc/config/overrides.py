"""A command line that brings its own network or data: ``model._target_=my_package.build_net`` is all it has to say."""

import re
from collections.abc import Sequence

from amc.config.conf_folder import CONF
from amc.errors import ConfigError

OWN = {"model._target_": "model=custom", "data._target_": "data=custom"}


def with_own_choices(arguments: Sequence[str]) -> list[str]:
    """Return a command line on which ``model._target_=...`` alone chooses ``model=custom``, and the same for data.

    Otherwise it would be laid over the default network or data, with a name and a recipe that are not its own.
    """
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments if "=" in argument}
    chosen = [choice for key, choice in OWN.items() if key in keys and choice.partition("=")[0] not in keys]
    return [*arguments, *chosen]


_NO_NAME = re.compile(r"null|true|false|[+-]?(\d[\d_]*\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?", re.IGNORECASE)
"""What Hydra reads as a number, a truth or nothing: no choice is called so, and Hydra fails on it."""


def check_choices(arguments: Sequence[str]) -> None:
    """Refuse a command line on which the choice of a group cannot be a name: ``data=0``, ``tracker=true``.

    Raises:
        ConfigError: there is one.
    """
    for argument in arguments:
        group, equals, value = argument.lstrip("+").partition("=")
        if not equals or not (CONF / group).is_dir():
            continue
        if any(_NO_NAME.fullmatch(part.strip()) for part in value.split(",")):
            names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            raise ConfigError(f"{group}={value}: must be one of {', '.join(names)}")


def last_part(path: str | None) -> str:
    """Return what one's own network or data is called unless it is given a name: as the function that makes it.

    Raises:
        ConfigError: there is no such function.
    """
    if not path:
        raise ConfigError("model=custom needs model._target_, and data=custom data._target_: my_package.my_function")
    return path.rpartition(".")[2]
