"""From the configuration to what a run works with: data, the plan of its search, the policy."""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import nn

from amc.config.policies import policy_names
from amc.config.schema import SearchConfig, TrainConfig
from amc.environment import unmarked
from amc.errors import ConfigError
from amc.measurement.device import prepare_torch
from amc.measurement.memory import Demand, gram_bytes
from amc.run.stage import SearchPlan
from amc.runtimes.profile import LatencySource, Profile, checked_path
from amc.runtimes.runtime import chosen_runtime
from amc.store.cache import cache_folder
from amc.store.conditions import Conditions
from amc.store.digests import LENGTH
from amc.store.run_folders import LATENCY_TABLE, holds_run
from amc.zoo.data.building import load_splits
from amc.zoo.data.device_data import DeviceData
from envs.engine.errors import first_line
from envs.engine.plugins import find, import_fault
from envs.engine.settings import EngineSettings
from envs.problem_settings import ProblemSettings
from envs.search import SearchPolicy, unmet_need
from envs.workers.settings import WorkersSettings

FLOAT_COPIES = 2
"""Of images as networks see them: as they come, and in the layout of the device."""
TRANSITION_BYTES = 4 * (2 * 11 + 3)
"""Two observations of the environment, an action, a reward, and whether it was the last."""
Settings = TypeVar("Settings", EngineSettings, ProblemSettings)


def load_data(cfg: TrainConfig) -> DeviceData:
    """Set torch up, read the data and cut it.

    Raises:
        UserError: there is no such device or data, or the data is not what it should be.
    """
    device = prepare_torch(cfg)
    batches = {"train.batch_size": cfg.train.batch_size}
    if isinstance(cfg, SearchConfig) and cfg.finetune.batch_size is not None:
        batches["finetune.batch_size"] = cfg.finetune.batch_size
    splits = load_splits(cfg.data, cache_folder(cfg.cache_dir), cfg.dense_seed, batches)
    metric = getattr(cfg, "metric", None)
    return DeviceData(splits, device, None if metric is None else find("metrics", metric, {}))


def latency_source(cfg: SearchConfig, data: DeviceData, folder: Path) -> LatencySource | None:
    """Return where latencies are from; ``None`` where the search does not go by them.

    Raises:
        ConfigError: the runtime is not installed, or there is no such table.
    """
    if not cfg.needs_table:
        return None
    asked = cfg.latency
    profile = Profile(
        chosen_runtime(cfg.device_profile, device=data.device.type),
        asked.batch,
        asked.threads,
        checked_path(asked.table),
        cache_folder(cfg.cache_dir) / "latency",
    )
    kept = folder / LATENCY_TABLE
    return LatencySource(profile, kept if kept.exists() and holds_run(folder) and not cfg.overwrite else None)


def make_plan(cfg: SearchConfig, data: DeviceData, latency: LatencySource | None = None) -> SearchPlan:
    """Return what all stages of a run share."""
    return SearchPlan(
        model=cfg.model.name,
        stages=cfg.stages,
        engine=part(cfg, EngineSettings),
        problem=part(cfg, ProblemSettings),
        scoring=cfg.scoring,
        data=data,
        score=data.scorer(data.splits.search),
        recipe=cfg.train,
        latency=latency,
        workers=cfg.workers,
    )


def demands(cfg: SearchConfig, data: DeviceData, network: nn.Module) -> list[Demand]:
    """Return what a search will hold in memory, by the keys that it depends on."""
    replay = cfg.policy.get("replay_size", 0)
    found = [Demand(f"policy.replay_size={replay}", replay * TRANSITION_BYTES, "the agent's replay memory")]
    for key, split in (("calibration", data.splits.calibration), ("search", data.splits.search)):
        size = FLOAT_COPIES * 4 * split.images.numel()
        found.append(Demand(f"data.{key}={len(split.labels)}", size, f"the images of {key}", on_device=True))
    if cfg.reconstruct and cfg.granularity != "block":
        size = gram_bytes(network)
        found.append(Demand("reconstruct=true", size, "the Gram matrices of its layers", on_device=True))
    return found


def conditions(data: DeviceData, workers: WorkersSettings) -> Conditions:
    """Return where strategies are evaluated, and on which data."""
    device = str(data.device)
    if data.device.type == "cuda":
        device = f"{data.device.type} ({torch.cuda.get_device_name(data.device)})"
    digest = hashlib.sha256()
    for name in ("train", "calibration", "search", "test"):
        for tensor in getattr(data.splits, name):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
    return Conditions(
        torch=torch.__version__,
        device=device,
        processor=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads() if workers.name == "none" else workers.threads,
        data=digest.hexdigest()[:LENGTH],
    )


def part(cfg: SearchConfig, kind: type[Settings]) -> Settings:
    """Return the settings of one kind that a configuration, which inherits from it, holds."""
    values: dict[str, Any] = {field.name: getattr(cfg, field.name) for field in fields(kind)}
    return kind(**values)


def make_policy(cfg: SearchConfig) -> SearchPolicy:
    """Build the search policy by its ``_target_``.

    Raises:
        ConfigError: there is no such policy or setting of it, a value is out of range, or it cannot play the problem.
    """
    if not isinstance(cfg.policy, Mapping) or "_target_" not in cfg.policy:
        raise ConfigError(f"policy={cfg.policy}: must be one of {', '.join(policy_names())}")
    target = cfg.policy["_target_"]
    known = _settings_of(target)
    asked = dict(unmarked(cfg.policy))
    if "seed" in known:
        asked.setdefault("seed", cfg.seed)
    try:
        policy: SearchPolicy = instantiate(asked)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise ConfigError(f"policy.{cause}") from error
        added = sorted(set(cfg.policy) - {"_target_"} - known)
        wrong = f"policy.{added[0]}={cfg.policy[added[0]]}" if added and isinstance(cause, TypeError) else ""
        raise ConfigError(f"{wrong or f'policy._target_={target}'}: {first_line(cause or error)}") from error
    if not callable(getattr(policy, "search", None)):
        raise ConfigError(f"policy._target_={target}: has no method search(env)")
    if unmet := unmet_need(policy, asdict(cfg) | {"scoring": cfg.scoring.name}):
        raise ConfigError(unmet)
    return policy


def _settings_of(target: object) -> frozenset[str]:
    """Return the names of a policy's settings; none where they cannot be known.

    Raises:
        ConfigError: there is no such policy.
    """
    try:
        kind = get_object(str(target))
    except Exception as error:  # importing runs the user's code
        raise ConfigError(f"policy._target_={target} {import_fault(str(target), error)}") from error
    try:
        return frozenset(inspect.signature(kind).parameters)
    except (TypeError, ValueError):  # what is written in C may tell nothing
        return frozenset()
