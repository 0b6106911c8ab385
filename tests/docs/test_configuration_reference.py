"""The reference of configuration keys: every key that a command line takes, with a meaning, and no other."""

from dataclasses import dataclass

import pytest
from configuration_reference import every_key, page
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from amc.config.composing import register_schemas
from amc.config.conf_folder import CONF
from amc.config.keys import SET_BY_CHOICE, UndocumentedKey, keys_of, shown
from envs.engine.fields import Interval, OneOf, setting

ROW = "| `{name}`"


@dataclass(frozen=True)
class Base:
    """Settings.

    Attributes:
        speed: metres a second.
        kind: what moves.
    """

    speed: float = setting(2.0, Interval(0, 9, low_open=True))
    kind: str = setting("car", OneOf(("car", "bird")))


@dataclass(frozen=True)
class Derived(Base):
    """Settings of another kind.

    Attributes:
        speed: kilometres an hour,
            on a road.
        wings: how many; null for none.
    """

    wings: int | None = None


def composed(*overrides: str) -> DictConfig:
    """The configuration as Hydra composes it from its files."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("search", list(overrides))


def names(node: DictConfig, prefix: str = "") -> set[str]:
    """The dotted names of a configuration's values, but for the targets of policies and trackers."""
    found: set[str] = set()
    for key in map(str, node):
        value = None if OmegaConf.is_missing(node, key) else OmegaConf.to_container(node, resolve=False)
        nested = isinstance(value, dict) and isinstance(value[key], dict) and value[key]
        found |= names(node[key], f"{prefix}{key}.") if nested else {f"{prefix}{key}"}
    return found - {"policy._target_", "tracker._target_"}


def test_a_key_has_the_meaning_nearest_to_its_class_its_values_and_its_default() -> None:
    speed, kind, wings = keys_of(Derived, "it.")
    assert (speed.name, speed.meaning) == ("it.speed", "kilometres an hour, on a road.")
    assert (speed.values, speed.default) == ("number; above 0, at most 9", "`2`")
    assert (kind.meaning, kind.values, kind.default) == ("what moves.", "`car`, `bird`", "`car`")
    assert (wings.values, wings.default) == ("whole number or `null`", "`null`")


def test_a_key_without_a_meaning_ends_the_build() -> None:
    @dataclass(frozen=True)
    class Silent(Base):
        """Settings.

        Attributes:
            other: something else.
        """

        depth: int = 3

    with pytest.raises(UndocumentedKey, match="depth has no meaning: give depth a line under Attributes"):
        list(keys_of(Silent))


@pytest.mark.parametrize("policy", sorted(path.stem for path in (CONF / "policy").glob("*.yaml")))
def test_every_key_of_the_composed_configuration_is_documented(policy: str) -> None:
    documented = {key.name for key in every_key()}
    assert names(composed(f"policy={policy}", "tracker=wandb")) <= documented
    assert all(ROW.format(name=name) in page() for name in ("model.width", "policy.sampler", "tracker.mode"))


def test_no_key_is_documented_that_no_choice_has() -> None:
    policies = [path.stem for path in (CONF / "policy").glob("*.yaml")]
    there = {"policy"}.union(*(names(composed(f"policy={name}")) for name in policies))
    there |= names(composed("tracker=wandb")) | names(composed("tracker=tensorboard"))
    assert {key.name for key in every_key()} - {"tracker"} <= there


def test_defaults_are_those_that_hydra_composes() -> None:
    cfg = composed()
    for key in every_key():
        if key.default == SET_BY_CHOICE or "${" in key.default or key.name.startswith(("policy", "tracker")):
            continue
        value = OmegaConf.select(cfg, key.name)
        # What the default choices of model and data set stands in their own table.
        set_by_data = key.name in ("threads", "train.shift", "train.flip", "train.batch_size", "train.weight_decay")
        if key.name.startswith(("model.", "data.")) or set_by_data:
            continue
        assert key.default == shown(value), key.name
