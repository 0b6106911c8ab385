"""The configuration of a run as others may see it: what it takes from the environment stays out."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

ENVIRONMENT = "oc.env"
CONFIG = Path(".hydra/config.yaml")


def public_config(folder: Path) -> dict[str, Any]:
    """Return the configuration that Hydra left in a run's folder, interpolations resolved.

    ``${oc.env:NAME}``, where tokens and passwords come from, remains as it is written, wherever it is referred to.
    So does what only the run itself can resolve.

    Raises:
        OSError: the file cannot be read.
    """
    config = OmegaConf.load(folder / CONFIG)
    OmegaConf.register_new_resolver(ENVIRONMENT, _as_written, replace=True)
    try:
        public: dict[str, Any] = _plain(config)
    finally:
        OmegaConf.register_new_resolver(ENVIRONMENT, oc.env, replace=True)
    return public


def _as_written(name: str, *_default: object) -> str:
    return f"${{{ENVIRONMENT}:{name}}}"


def _plain(node: Any) -> Any:  # noqa: ANN401  any value of a configuration
    if isinstance(node, DictConfig):
        return {str(key): _entry(node, key) for key in node}
    if isinstance(node, ListConfig):
        return [_entry(node, index) for index in range(len(node))]
    return node


def _entry(node: DictConfig | ListConfig, key: Any) -> Any:  # noqa: ANN401  a key and a value of any kind
    try:
        return _plain(node[key])
    except OmegaConfBaseException:
        written: Any = OmegaConf.to_container(node, resolve=False)
        return written[key]
