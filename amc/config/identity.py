"""What a run was asked, as flat names and plain values: two runs with the same settings pose the same problem."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum

from amc.config.checkpoint_paths import checkpoint_digest
from amc.config.schema import SearchConfig
from amc.config.setting import Setting
from amc.environment import public

# Where a run lives and where it is computed; its seed stands in ``result.json`` by itself.
NOT_ASKED = {
    "name",
    "seed",
    "policy.seed",
    "device",
    "threads",
    "cache_dir",
    "data.folder",
    "export",
    "runtimes",
    "latency.rounds",
    "tracker",
    "overwrite",
}
TIMED_BY = ("device_profile", "latency")
POLICY = "policy."
AT_ONCE = "policy.at_once"
SHARED = ("policy.storage", "policy.study")


# What runs did that were made before there were these keys.
DONE_BEFORE: dict[str, Setting] = {
    "train.warm_up": 0.1,
    "train.momentum": 0.9,
    "finetune.distill": 0.0,
    "finetune.temperature": 2.0,
    "finetune.batch_size": None,
    "repair": "independent",
    "metric": None,
    "layer_kinds": "",
    "max_drop": None,
    "data.mean": None,
    "data.std": None,
}
DONE_BEFORE_BY: dict[str, dict[str, Setting]] = {
    "amc.agent.policy.AMC": {
        "policy.planning": False,
        "policy.observation": "informed",
        "policy.bonus": 3.0,
        "policy.local_search": 0.0,
    },
}
"""The same of keys that only one policy has."""


def with_later_keys(asked: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return what a run of any version was asked, with the keys that came later as its version acted."""
    return {**DONE_BEFORE, **DONE_BEFORE_BY.get(str(asked.get(f"{POLICY}_target_")), {}), **asked}


def run_settings(cfg: SearchConfig) -> dict[str, Setting]:
    """Return every key of a configuration that can change what the search finds, policy included.

    Names are as on the command line (``finetune.epochs``); a list is joined by commas. The content of a checkpoint
    stands beside its path. What comes from the environment stands as it was written, see ``amc.environment``.

    Raises:
        ConfigError: there is no such checkpoint.
    """
    asked = {**public(asdict(cfg)), "tracker": None}
    if cfg.stages == 1:
        del asked["stages"]  # as in runs of before there were stages: they are the same
    # As in runs of before there was a coreset.
    asked["scoring"] = cfg.scoring.name
    if cfg.scoring.name == "coreset":
        asked["scoring.error"] = cfg.scoring.error
    if not cfg.needs_table:
        # Latency is then measured behind the search.
        for name in TIMED_BY:
            del asked[name]
    # Where trials are computed, but for how many are asked for before the first is known.
    del asked["workers"], asked["study"]
    settings = {name: value for name, value in _flat(asked, "") if name not in NOT_ASKED}
    if AT_ONCE in settings:
        settings[AT_ONCE] = settings[AT_ONCE] or cfg.workers.ahead
        if settings[AT_ONCE] == 1:
            del settings[AT_ONCE]  # as in runs of before policies asked for several strategies
    for name in SHARED:
        if settings.get(name) is None:
            settings.pop(name, None)  # as in runs of before studies could be shared
    if cfg.model.checkpoint is not None:
        settings["model.checkpoint_sha256"] = checkpoint_digest(cfg.model.checkpoint)
    return settings


def _flat(values: Mapping[str, object], prefix: str) -> list[tuple[str, Setting]]:
    pairs: list[tuple[str, Setting]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{name}.")
        else:
            pairs.append((name, _plain(value)))
    return pairs


def _plain(value: object) -> Setting:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, (list, tuple)):
        return ",".join(str(_plain(item)) for item in value)
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
