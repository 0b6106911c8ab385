"""Search policies by name: a new one is one class and one file in ``conf/policy``.

That file is the only registry. The command line composes it; a Python call reads it here, without Hydra.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from amc.config.conf_folder import CONF
from envs.search import SearchPolicy

OWN = "custom"
"""The choice on the command line that is anybody's own policy."""


def policy_names() -> tuple[str, ...]:
    """Return the names of all policies, in alphabetical order; one's own has none here."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml") if path.stem != OWN))


def make_policy(name: str, seed: int) -> SearchPolicy:
    """Build a policy with the settings that its file holds.

    Args:
        name: one of ``policy_names()``.
        seed: of a policy that draws anything.

    Raises:
        ValueError: there is no such policy.
    """
    if name not in policy_names():
        raise ValueError(f"policy={name!r}: must be an object or one of {', '.join(policy_names())}")
    file = OmegaConf.load(_folder() / f"{name}.yaml")
    # A file that sets other keys besides holds the policy under its group's name.
    node = OmegaConf.select(file, "policy", default=file)
    settings: Any = OmegaConf.to_container(OmegaConf.create({"seed": seed, "policy": node}), resolve=True)
    module, _, kind = str(settings["policy"].pop("_target_")).rpartition(".")
    policy: SearchPolicy = getattr(import_module(module), kind)(**settings["policy"])
    return policy


def _folder() -> Path:
    return CONF / "policy"
