"""The checks of a configuration that its types cannot express."""

import importlib.util
import math
from dataclasses import fields, is_dataclass

from amc.config.checkpoint_file import checkpoint_file
from amc.config.schema import Export, Granularity, RecipeConfig, Reward, Scoring, SearchConfig, TrainConfig
from amc.errors import ConfigError, ModelError
from amc.names import folder_name, folder_path
from amc.tracking.make import make_tracker
from envs.engine.choices import check_combination

ONNX_PACKAGES = ("onnx", "onnxscript")


def validate(cfg: TrainConfig) -> None:
    """Check ranges, and that nothing was added to the schema.

    Raises:
        ConfigError: a value is out of range, or a key is unknown.
        ModelError: no network can meet the target.
    """
    _check_keys(cfg, "")
    folder_path("name", cfg.name)
    folder_name("model.name", cfg.model.name)
    folder_name("data.name", cfg.data.name)
    _check("seed", cfg.seed, 0 <= cfg.seed < 2**32, "from 0 to 4294967295")
    _check("dense_seed", cfg.dense_seed, 0 <= cfg.dense_seed < 2**32, "from 0 to 4294967295")
    _check("threads", cfg.threads, cfg.threads is None or cfg.threads >= 1, "1 or more, or null")
    _check("model.width", cfg.model.width, 0 < cfg.model.width <= 16, "above 0, at most 16")
    _check("data.calibration", cfg.data.calibration, cfg.data.calibration >= 1, "1 or more")
    _check("data.search", cfg.data.search, cfg.data.search >= 1, "1 or more")
    size = cfg.data.image_size
    _check("data.image_size", size, size is None or 1 <= size <= 1024, "from 1 to 1024, or null")
    _validate_recipe(cfg.train)
    _validate_own(cfg)
    if isinstance(cfg, SearchConfig):
        _validate_search(cfg)


def _validate_recipe(train: RecipeConfig) -> None:
    _check("train.epochs", train.epochs, train.epochs >= 0, "0 or more")
    _check("train.lr", train.lr, 0 < train.lr < 100, "above 0, below 100")
    _check("train.batch_size", train.batch_size, train.batch_size >= 2, "2 or more")
    _check("train.weight_decay", train.weight_decay, 0 <= train.weight_decay < 1, "from 0, below 1")
    _check("train.shift", train.shift, 0 <= train.shift <= 64, "from 0 to 64")


def _validate_own(cfg: TrainConfig) -> None:
    for group, node in (("model", cfg.model), ("data", cfg.data)):
        if node.args is not None and node._target_ is None:
            raise ConfigError(f"{group}.args={node.args}: goes with {group}._target_=my_package.my_function")
    if cfg.model.pretrained and cfg.model._target_ is None:
        raise ConfigError(f"model.pretrained=true: there are no weights of model={cfg.model.name}; model=timm has some")
    if cfg.model.checkpoint is None:
        return
    checkpoint_file(cfg.model.checkpoint)
    if not isinstance(cfg, SearchConfig):
        raise ConfigError(
            f"model.checkpoint={cfg.model.checkpoint}: is trained already; python -m amc.search prunes it"
        )
    _check("model.pretrained", True, not cfg.model.pretrained, "false: model.checkpoint has all weights")


def _validate_search(cfg: SearchConfig) -> None:
    if not 0 < cfg.target <= 1:
        raise ModelError(
            f"target={cfg.target}: must be above 0 and at most 1, the fraction of {cfg.resource.name} to keep"
        )
    _check("stages", cfg.stages, 1 <= cfg.stages <= 16, "from 1 to 16")
    _check("episodes", cfg.episodes, cfg.episodes >= 1, "1 or more")
    _check("min_keep", cfg.min_keep, 0 < cfg.min_keep <= 0.99, "above 0, at most 0.99")
    if cfg.scoring is Scoring.racing and cfg.reward is not Reward.accuracy:
        raise ConfigError(f"scoring=racing needs reward=accuracy: reward={cfg.reward.name} is not what it races for")
    _check("round_to", cfg.round_to, cfg.round_to is None or cfg.round_to >= 1, "1 or more, or null")
    channels = cfg.granularity is Granularity.channel
    _check("round_to", cfg.round_to, channels or cfg.round_to is None, "null: it goes with granularity=channel")
    _check("m", cfg.m, cfg.m >= 2, "2 or more")
    _check("vector_size", cfg.vector_size, cfg.vector_size >= 1, "1 or more")
    try:
        check_combination(cfg.granularity.name, cfg.criterion.name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _check("adaptive_bn", cfg.adaptive_bn, cfg.adaptive_bn >= 0, "0 or more")
    _check("finetune.epochs", cfg.finetune.epochs, 0 <= cfg.finetune.epochs < math.inf, "0 or more")
    _check("finetune.top_k", cfg.finetune.top_k, cfg.finetune.top_k >= 1, "1 or more")
    _check("finetune.lr_factor", cfg.finetune.lr_factor, 0 < cfg.finetune.lr_factor <= 1, "above 0, at most 1")
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if Export.onnx in cfg.export and missing:
        raise ConfigError(f"export=[onnx] needs {' and '.join(missing)}: pip install 'amc-search[onnx]'")
    if cfg.tracker is not None:
        make_tracker(cfg.tracker)


def _check(key: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{key}={value}: must be {allowed}")


def _check_keys(node: object, path: str) -> None:
    """Refuse keys that the schema lacks: Hydra lets ``+key=value`` add them, and nothing would read them."""
    if not is_dataclass(node):
        return
    known = {field.name for field in fields(node)}
    for key, value in vars(node).items():
        if key not in known:
            raise ConfigError(f"unknown key {path}{key}; there are {', '.join(sorted(known))}")
        _check_keys(value, f"{path}{key}.")
