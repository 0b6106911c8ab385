"""What a command line says in short: one's own network or data by its ``_target_`` alone, several limits as a list."""

import re
from collections.abc import Sequence

from amc.errors import ConfigError

OWN = {"model._target_": "model=custom", "data._target_": "data=custom", "policy._target_": "policy=custom"}
LIST, SEVERAL = re.compile(r"\[(.*)\]"), "resource=[flops,latency] target=[0.5,0.6]"
CUSTOM_POLICY, POLICY_KEYS = "policy=custom", "policy."


def with_own_choices(arguments: Sequence[str]) -> list[str]:
    """Return a command line on which ``model._target_=...`` alone chooses ``model=custom``; so for data and policy.

    ``resource=[flops,latency] target=[0.5,0.6]`` becomes a target and a further limit.

    Otherwise it would be laid over the default network, data or policy, with what is not its own. The arguments of
    one's own policy, ``policy.batch=20``, are keys that no file lists.

    Raises:
        ConfigError: there is not one target for each resource.
    """
    arguments = with_limits(arguments)
    keys = {argument.lstrip("+").partition("=")[0] for argument in arguments if "=" in argument}
    chosen = [choice for key, choice in OWN.items() if key in keys and choice.partition("=")[0] not in keys]
    whole = [*arguments, *chosen]
    if CUSTOM_POLICY not in whole:
        return whole
    return [f"++{argument}" if argument.startswith(POLICY_KEYS) else argument for argument in whole]


def with_limits(arguments: Sequence[str]) -> list[str]:
    """Return a command line whose list of resources is one resource with its target, and limits on the others.

    Raises:
        ConfigError: there is not one target for each resource.
    """
    lists = {key: LIST.fullmatch(value) for key, _, value in (each.partition("=") for each in arguments)}
    resources, targets = lists.get("resource"), lists.get("target")
    if resources is None and targets is None:
        return list(arguments)
    names, shares = (each[1].replace(" ", "").split(",") if each else [] for each in (resources, targets))
    if len(names) != len(shares) or len(set(names)) != len(names) or not all([*names, *shares]):
        asked = " ".join(each for each in arguments if each.partition("=")[0] in ("resource", "target"))
        raise ConfigError(f"{asked}: must be a target for each of some resources: {SEVERAL}")
    others = [each for each in arguments if each.partition("=")[0] not in ("resource", "target")]
    limits = [f"+limits.{name}={share}" for name, share in zip(names[1:], shares[1:], strict=True)]
    return [*others, f"resource={names[0]}", f"target={shares[0]}", *limits]


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
