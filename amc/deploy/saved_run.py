"""The configuration of a run that was made before, and its dense network without weights."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from yaml import YAMLError

from amc.config.composing import SCHEMAS, configured, editable, register_schemas
from amc.config.schema import SearchConfig
from amc.errors import RefusedInput
from amc.run.plan import load_data
from amc.weights.loading import load, read_header
from amc.zoo.data.device_data import DeviceData
from amc.zoo.models.building import new_network

CONFIG = Path(".hydra") / "config.yaml"


def saved_config(folder: Path) -> SearchConfig:
    """Return the configuration that a run was made with; keys that came later are at their defaults.

    Raises:
        RefusedInput: the folder holds none, or none of this package.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RefusedInput(f"{path} does not exist: the folder of a run holds it")
    register_schemas()
    try:
        written = OmegaConf.load(path)
        if isinstance(written, DictConfig) and isinstance(written.get("scoring"), str):
            written.scoring = {"name": written.scoring}  # as it was before it was a group
        composed = OmegaConf.merge(editable(SCHEMAS["search"]), written)
    except (OmegaConfBaseException, YAMLError, OSError) as error:
        raise RefusedInput(f"{path}: no configuration of a search ({str(error).splitlines()[0]})") from error
    if not isinstance(composed, DictConfig):
        raise RefusedInput(f"{path}: no configuration of a search")
    return configured(composed, SearchConfig)


def saved_network(folder: Path, cfg: SearchConfig, data: DeviceData | None = None) -> nn.Module:
    """Return the pruned network of a run, on the CPU.

    Args:
        folder: of the run.
        cfg: its configuration.
        data: its data, if it was read already: what one's own network is built for.
    """
    if read_header(folder).model is not None:
        return load(folder)
    data = data or load_data(cfg)
    return load(folder, model=new_network(cfg.model, data.splits))
