"""The splits of the data that a configuration names: of the registry, or one's own."""

from collections.abc import Mapping
from pathlib import Path

from amc.config.schema import DataConfig
from amc.errors import ConfigError, UserError
from amc.zoo.data.dataset import Normalization, Source, Splits, make_splits, normalization_of
from amc.zoo.data.own_splits import as_splits
from amc.zoo.data.registry import DATASETS
from amc.zoo.targets import call_target


def load_splits(cfg: DataConfig, cache: Path, seed: int, batch_sizes: Mapping[str, int]) -> Splits:
    """Read the data and cut it.

    Args:
        cfg: which data, and how it is cut.
        cache: where downloads are kept.
        seed: fixes which images go into which split.
        batch_sizes: by key; the train split has to hold one batch.

    Raises:
        ConfigError: there is no such data, or it is too small for the splits.
        RefusedInput: one's own data is not what it should be.
    """
    if cfg._target_ is None:
        source = Source(cfg.folder, cache, cfg.image_size)
        splits = make_splits(DATASETS[cfg.name](source), cfg.calibration, cfg.search, seed, _given(cfg))
    else:
        splits = _own_splits(cfg, cfg._target_, seed)
    for key, size in batch_sizes.items():
        if size > len(splits.train.labels):
            raise ConfigError(f"{key}={size}: there are {len(splits.train.labels)} images")
    return splits


def _given(cfg: DataConfig) -> Normalization | None:
    return None if cfg.mean is None or cfg.std is None else normalization_of(cfg.mean, cfg.std)


def _own_splits(cfg: DataConfig, target: str, seed: int) -> Splits:
    offered = {
        "folder": cfg.folder,
        "image_size": cfg.image_size,
        "calibration": cfg.calibration,
        "search": cfg.search,
        "seed": seed,
    }
    found = call_target("data", target, cfg.args, offered)
    try:
        return as_splits(found, cfg.calibration, cfg.search, seed, _given(cfg))
    except UserError as error:
        # What one's own is called may be any word.
        which = f"data={cfg.name}" if cfg._target_ is None else f"data._target_={cfg._target_}"
        raise type(error)(f"{which}: {error}") from error
