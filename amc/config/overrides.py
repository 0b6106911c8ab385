"""A command line that brings its own network or data: ``model._target_=my_package.build_net`` is all it has to say."""

from collections.abc import Sequence

from amc.errors import ConfigError

OWN = {"model._target_": "model=custom", "data._target_": "data=custom"}


def with_own_choices(arguments: Sequence[str]) -> list[str]:
    """Return a command line on which ``model._target_=...`` alone chooses ``model=custom``, and the same for data.

    Otherwise it would be laid over the default network or data, with a name and a recipe that are not its own.
    """
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments if "=" in argument}
    chosen = [choice for key, choice in OWN.items() if key in keys and choice.partition("=")[0] not in keys]
    return [*arguments, *chosen]


def last_part(path: str | None) -> str:
    """Return what one's own network or data is called unless it is given a name: as the function that makes it.

    Raises:
        ConfigError: there is no such function.
    """
    if not path:
        raise ConfigError("model=custom needs model._target_, and data=custom data._target_: my_package.my_function")
    return path.rpartition(".")[2]
