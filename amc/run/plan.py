"""From the configuration to what a run works with: data, the plan of its search, the policy."""

from dataclasses import asdict, fields
from typing import Any, TypeVar

from hydra.utils import instantiate

from amc.config.schema import SearchConfig, TrainConfig
from amc.device import prepare_torch
from amc.errors import ConfigError
from amc.run.stage import SearchPlan
from amc.store.cache_folder import cache_folder
from amc.zoo.data.building import load_splits
from amc.zoo.data.device_data import DeviceData
from envs.engine.settings import EngineSettings
from envs.problem_settings import ProblemSettings
from envs.search import SearchPolicy, unmet_need

Settings = TypeVar("Settings", EngineSettings, ProblemSettings)


def load_data(cfg: TrainConfig) -> DeviceData:
    """Set torch up, read the data and cut it.

    Raises:
        UserError: there is no such device or data, or the data is not what it should be.
    """
    device = prepare_torch(cfg)
    splits = load_splits(cfg.data, cache_folder(cfg.cache_dir), cfg.dense_seed, cfg.train.batch_size)
    return DeviceData(splits, device)


def make_plan(cfg: SearchConfig, data: DeviceData) -> SearchPlan:
    """Return what all stages of a run share."""
    return SearchPlan(
        model=cfg.model.name,
        stages=cfg.stages,
        engine=part(cfg, EngineSettings),
        problem=part(cfg, ProblemSettings),
        scoring=cfg.scoring,
        data=data,
        score=data.scorer(data.splits.search),
    )


def part(cfg: SearchConfig, kind: type[Settings]) -> Settings:
    """Return the settings of one kind that a configuration, which inherits from it, holds."""
    values: dict[str, Any] = {field.name: getattr(cfg, field.name) for field in fields(kind)}
    return kind(**values)


def make_policy(cfg: SearchConfig) -> SearchPolicy:
    """Build the search policy by its ``_target_``.

    Raises:
        ConfigError: it cannot play the problem.
    """
    policy: SearchPolicy = instantiate(cfg.policy)
    if unmet := unmet_need(policy, asdict(cfg)):
        raise ConfigError(unmet)
    return policy
