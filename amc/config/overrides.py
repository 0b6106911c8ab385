"""A command line that brings its own network or data: ``model._target_=my_package.build_net`` is all it has to say."""

from collections.abc import Sequence

from amc.errors import ConfigError

OWN = {"model._target_": "model=custom", "data._target_": "data=custom", "policy._target_": "policy=custom"}
CUSTOM_POLICY, POLICY_KEYS = "policy=custom", "policy."


def with_own_choices(arguments: Sequence[str]) -> list[str]:
    """Return a command line on which ``model._target_=...`` alone chooses ``model=custom``; so for data and policy.

    Otherwise it would be laid over the default network, data or policy, with what is not its own. The arguments of
    one's own policy, ``policy.batch=20``, are keys that no file lists.
    """
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments if "=" in argument}
    chosen = [choice for key, choice in OWN.items() if key in keys and choice.partition("=")[0] not in keys]
    whole = [*arguments, *chosen]
    if CUSTOM_POLICY not in whole:
        return whole
    return [f"++{argument}" if argument.startswith(POLICY_KEYS) else argument for argument in whole]


def last_part(path: str | None) -> str:
    """Return what one's own network, data or policy is called unless it is given a name: as the function that makes it.

    Raises:
        ConfigError: there is no such function.
    """
    if not path:
        raise ConfigError(
            "model=custom needs model._target_, data=custom data._target_, and policy=custom policy._target_: "
            "my_package.my_function"
        )
    return path.rpartition(".")[2]


def policy_name(choice: str, target: str | None) -> str:
    """Return what a policy is called in folders and tables: as its file, and one's own as its class.

    Raises:
        ConfigError: it is one's own, and there is no class.
    """
    return last_part(target) if choice == "custom" else choice
