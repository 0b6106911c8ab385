"""The checks of a configuration that need more than its values: files, and packages that are installed."""

import importlib.util
import re
from pathlib import Path

from amc.config.checkpoint_paths import checkpoint_file
from amc.config.schema import SearchConfig, TrainConfig
from amc.environment import public
from amc.errors import ConfigError, StorageError
from amc.names import folder_name, folder_path
from amc.tracking.make import make_tracker
from envs.engine.errors import first_line
from envs.engine.plugins import find, is_own

ONNX_PACKAGES = ("onnx", "onnxscript")
PASSWORD = re.compile(r"://[^/@]*:[^/@]+@")
"""In an address."""


def validate(cfg: TrainConfig) -> None:
    """Check that what a configuration names is there.

    Raises:
        StorageError: there can be no cache where it is asked for.
        ConfigError: a checkpoint is missing or has no use, a package is not installed, or the tracker is refused.
    """
    folder_path("name", cfg.name)
    folder_name("model.name", cfg.model.name)
    folder_name("data.name", cfg.data.name)
    if cfg.cache_dir is not None:
        _make_cache(cfg.cache_dir)
    checkpoint = cfg.model.checkpoint
    if checkpoint is not None:
        checkpoint_file(checkpoint)
        if not isinstance(cfg, SearchConfig):
            raise ConfigError(f"model.checkpoint={checkpoint}: is trained already; python -m amc.search prunes it")
    if isinstance(cfg, SearchConfig):
        _validate_search(cfg)


def _make_cache(cache_dir: str) -> None:
    try:
        Path(cache_dir).expanduser().mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageError(f"cache_dir={cache_dir}: cannot be made ({first_line(error)})") from error


def _validate_own(cfg: SearchConfig) -> None:
    """See that what is one's own can be imported."""
    named = {"criterion": "criteria", "reward": "rewards", "resource": "resources", "granularity": "granularities"}
    for key, kind in {**named, "metric": "metrics"}.items():
        name = getattr(cfg, key)
        if name is None or not is_own(kind, name):
            continue
        try:
            if not callable(find(kind, name, {})):
                raise ValueError(f"{name} is no function")
        except ValueError as error:
            raise ConfigError(f"{key}={error}") from error


def _validate_study(cfg: SearchConfig) -> None:
    storage = cfg.study.storage
    if storage is None:
        return
    if "storage" not in cfg.policy:
        raise ConfigError("study.storage: goes with policy=optuna")
    if PASSWORD.search(str(public(storage))):
        raise ConfigError(
            "study.storage: holds a password, which would be written down; put the address into a variable of the "
            "environment and give '${oc.env:STUDY}', or the password into ~/.pgpass"
        )
    if storage.startswith("postgresql") and importlib.util.find_spec("psycopg") is None:
        raise ConfigError("study.storage=postgresql://...: pip install 'amc-search[postgresql]'")


def _validate_search(cfg: SearchConfig) -> None:
    _validate_own(cfg)
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if "onnx" in cfg.export and missing:
        raise ConfigError(f"export=[onnx] needs {' and '.join(missing)}: pip install onnx onnxscript")
    if cfg.workers.name == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError("workers=ray needs ray: pip install 'amc-search[ray]'")
    _validate_study(cfg)
    if cfg.tracker is not None:
        make_tracker(cfg.tracker)
