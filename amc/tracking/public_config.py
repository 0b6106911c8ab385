"""The configuration of a run as others may see it: what it takes from the environment stays out."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from amc.environment import as_written

CONFIG = Path(".hydra/config.yaml")


def public_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that Hydra left in a run's folder, interpolations resolved.

    ``${oc.env:NAME}``, where tokens and passwords come from, remains as it is written, wherever it is referred to.
    So does what only the run itself can resolve.

    Raises:
        OSError: the file cannot be read.
    """
    config = OmegaConf.load(folder / CONFIG)
    assert isinstance(config, DictConfig)  # noqa: S101  Hydra wrote it
    return as_written(config)
