"""From the configuration to the parts of a run: the only module that knows every floor."""

from enum import Enum
from pathlib import Path

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from amc.config.schema import DataConfig, ModelConfig, Scoring, SearchConfig, TrainConfig
from amc.errors import ConfigError, ModelError, UserError
from amc.run.network_check import fault
from amc.run.targets import call_target
from amc.seeding import seed_everything
from amc.zoo.data.dataset import Source, Split, Splits, make_splits
from amc.zoo.data.own_splits import as_splits
from amc.zoo.data.registry import DATASETS
from amc.zoo.models.registry import MODELS
from envs.constraint import TargetError
from envs.engine.errors import GraphError
from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import PruningEnv
from envs.search import SearchPolicy, unmet_need


def prepare_torch(cfg: TrainConfig) -> torch.device:
    """Set the number of threads, seed every generator, and return the device.

    Raises:
        ConfigError: there is no such device.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed)
    name = cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.zeros(1, device=name).device
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"device={cfg.device} cannot be used here; take cpu or auto") from error


def cache_folder(cfg: TrainConfig) -> Path:
    """Return where trained networks and downloads are kept."""
    return Path(cfg.cache_dir).expanduser() if cfg.cache_dir else Path.home() / ".cache" / "amc-search"


def load_splits(cfg: TrainConfig) -> Splits:
    """Read the data and cut it.

    Raises:
        ConfigError: there is no such data, or it is too small for the splits.
        RefusedInput: one's own data is not what it should be.
    """
    source = Source(cfg.data.folder, cache_folder(cfg), cfg.data.image_size)
    if cfg.data._target_ is not None:
        splits = _own_splits(cfg.data, cfg.dense_seed)
    else:
        splits = make_splits(DATASETS[cfg.data.name](source), cfg.data.calibration, cfg.data.search, cfg.dense_seed)
    if cfg.train.batch_size > len(splits.train.labels):
        raise ConfigError(f"train.batch_size={cfg.train.batch_size}: there are {len(splits.train.labels)} images")
    return splits


def _own_splits(data: DataConfig, seed: int) -> Splits:
    assert data._target_ is not None  # noqa: S101  the caller asked
    offered = {
        "folder": data.folder,
        "image_size": data.image_size,
        "calibration": data.calibration,
        "search": data.search,
        "seed": seed,
    }
    found = call_target("data", data._target_, data.args, offered)
    try:
        return as_splits(found, data.calibration, data.search, seed)
    except UserError as error:
        raise type(error)(f"data={data.name}: {error}") from error


def new_network(cfg: ModelConfig, splits: Splits) -> nn.Module:
    """Build an untrained network for the data, of the zoo or one's own, and see that it takes the data's images.

    Raises:
        ConfigError: there is no such network.
        ModelError: it does not give a number for each class.
    """
    network = _own_network(cfg, splits) if cfg._target_ is not None else _zoo_network(cfg, splits)
    problem = fault(network, splits.example(), splits.num_classes)
    if problem:
        raise ModelError(f"model={cfg.name} {problem}")
    return network


def _zoo_network(cfg: ModelConfig, splits: Splits) -> nn.Module:
    if cfg.name not in MODELS:
        raise ConfigError(f"model.name={cfg.name}: the zoo has {', '.join(MODELS)}; one's own is model._target_=...")
    return MODELS[cfg.name](splits.num_classes, splits.in_channels, width=cfg.width)


def _own_network(cfg: ModelConfig, splits: Splits) -> nn.Module:
    assert cfg._target_ is not None  # noqa: S101  the caller asked
    offered = {
        "num_classes": splits.num_classes,
        "in_channels": splits.in_channels,
        "width": cfg.width,
    }
    needed = {"pretrained": True} if cfg.pretrained else {}
    network = call_target("model", cfg._target_, cfg.args, offered, needed)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model._target_={cfg._target_} returns a {type(network).__name__}, not a torch.nn.Module")
    return network


def network_inputs(images: Tensor, splits: Splits, device: torch.device) -> Tensor:
    """Return byte images as the network's input on the device."""
    return splits.normalize(images).to(device)


def make_score(split: Split, splits: Splits, device: torch.device) -> Top1Scorer:
    """Return what measures a network's accuracy on a split."""
    return Top1Scorer(network_inputs(split.images, splits, device), split.labels.to(device))


def make_engine(
    cfg: SearchConfig, model: nn.Module, splits: Splits, score: Top1Scorer, device: torch.device
) -> TorchEngine:
    """Trace the trained network and calibrate its repair.

    Args:
        cfg: the configuration.
        model: the trained network.
        splits: the data.
        score: scores a network on the search split.
        device: where candidates run.

    Raises:
        ModelError: the network cannot be traced or has nothing to prune.
    """
    settings = EngineSettings(
        granularity=cfg.granularity.name,
        criterion=cfg.criterion.name,
        round_to=cfg.round_to,
        ignore=tuple(cfg.ignore),
        reconstruct=cfg.reconstruct,
        adaptive_bn=cfg.adaptive_bn,
        seed=cfg.seed,
        precision=cfg.precision.name,
        vector_size=cfg.vector_size,
        m=cfg.m,
        curvature=cfg.curvature.name,
    )
    trial_score = RacingScorer(score, model) if cfg.scoring is Scoring.racing else score
    calibration = network_inputs(splits.calibration.images, splits, device)
    try:
        labels = splits.calibration.labels.to(device)
        return TorchEngine(model, calibration[:1], calibration, trial_score, settings, labels)
    except GraphError as error:
        raise ModelError(f"model={cfg.model.name}: {error}") from error


def make_env(cfg: SearchConfig, engine: TorchEngine, target: float, units: tuple[int, ...] | None = None) -> PruningEnv:
    """Pose the search problem.

    Args:
        cfg: the configuration.
        engine: what prunes.
        target: fraction of the resource of the engine's network that may be kept.
        units: for every layer the units that ``min_keep`` is a fraction of; by default those it has.

    Raises:
        ModelError: the target cannot be met.
    """
    try:
        return PruningEnv(
            engine,
            reward=cfg.reward.name,
            resource=cfg.resource.name,
            target=target,
            min_keep=cfg.min_keep,
            units=units,
            constraint=cfg.constraint.name,
        )
    except TargetError as error:
        raise ModelError(str(error)) from error


def make_policy(cfg: SearchConfig) -> SearchPolicy:
    """Build the search policy by its ``_target_``.

    Raises:
        ConfigError: it cannot play the problem.
    """
    policy: SearchPolicy = instantiate(cfg.policy)
    settings = {key: value.name if isinstance(value, Enum) else value for key, value in vars(cfg).items()}
    if unmet := unmet_need(policy, settings):
        raise ConfigError(unmet)
    return policy
