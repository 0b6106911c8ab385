"""The configuration of a run that was made before, and its dense network without weights.

The folder may be a stranger's. Its configuration may name functions, which whoever runs it calls: here they are called
for runs of one's own only, which the user has to say.
"""

from collections.abc import Collection
from io import StringIO
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from yaml import YAMLError

from amc.config.composing import SCHEMAS, configured, editable, register_schemas
from amc.config.schema import SearchConfig
from amc.errors import RefusedInput
from amc.names import printable
from amc.run.plan import load_data
from amc.store.durable_files import read_file
from amc.weights.loading import load, read_header
from amc.zoo.data.device_data import DeviceData
from amc.zoo.models.building import new_network

CONFIG = Path(".hydra") / "config.yaml"
MAX_BYTES, MAX_DEPTH = 1 << 20, 50


def saved_config(folder: Path, built: Collection[str] = ("model", "data"), *, own_code: bool = False) -> SearchConfig:
    """Return the configuration that a run was made with; keys that came later are at their defaults.

    Args:
        folder: of the run.
        built: the groups, of ``model`` and ``data``, that are going to be built of it.
        own_code: whether functions that they name may be called: the run is the user's own.

    Raises:
        RefusedInput: the folder holds none, or none of this package, or one that names functions.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise RefusedInput(f"{path} does not exist: the folder of a run holds it")
    register_schemas()
    try:
        written = OmegaConf.load(StringIO(_plain_yaml(path)))
        if isinstance(written, DictConfig) and isinstance(written.get("scoring"), str):
            written.scoring = {"name": written.scoring}  # as it was before it was a group
        composed = OmegaConf.merge(editable(SCHEMAS["search"]), written)
    except (OmegaConfBaseException, YAMLError, OSError, RecursionError) as error:
        raise RefusedInput(f"{path}: no configuration of a search ({str(error).splitlines()[0]})") from error
    if not isinstance(composed, DictConfig):
        raise RefusedInput(f"{path}: no configuration of a search")
    cfg = configured(composed, SearchConfig)
    for group in built:
        target = getattr(cfg, group)._target_
        if target is not None and not own_code:
            raise RefusedInput(
                f"{path} names code, {group}._target_={printable(target)}: with --own-code it is called; say so of "
                "runs of your own only"
            )
    return cfg


def _plain_yaml(path: Path) -> str:
    """Return the text of a file that Hydra wrote.

    Raises:
        RefusedInput: it is none, too large or too deep for one, or holds aliases.
    """
    text = read_file(path).decode(errors="replace")
    depth, plain = 0, len(text) <= MAX_BYTES
    for event in yaml.parse(text, yaml.SafeLoader) if plain else ():
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        # Hydra writes no aliases; a few lines of them stand for gigabytes, as brackets in brackets do for hours.
        plain = plain and depth <= MAX_DEPTH and not isinstance(event, yaml.AliasEvent)
        if not plain:
            break
    if not plain:
        raise RefusedInput(f"{path}: no configuration of a search (it is none that Hydra wrote)")
    return text


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
