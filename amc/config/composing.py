"""From Hydra's configuration to the frozen dataclasses of the schema, every value checked."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amc.config.conf_folder import CONF
from amc.config.hydra_messages import one_line_of
from amc.config.overrides import last_part, policy_name, with_own_choices
from amc.config.schema import SearchConfig, TrainConfig
from amc.environment import as_written, marked
from amc.errors import ConfigError
from amc.names import folder_name, folder_path
from envs.workers.job_size import job_cores, job_memory_gb

Config = TypeVar("Config", bound=TrainConfig)
Written = dict[str, Any]
SCHEMAS: dict[str, type[TrainConfig]] = {"search": SearchConfig, "train": TrainConfig}


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that conf/search.yaml and conf/train.yaml list."""
    for resolver in (last_part, policy_name, folder_name, folder_path, job_cores, job_memory_gb):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=editable(schema))


def composed_search(arguments: Sequence[str]) -> SearchConfig:
    """Return what ``amc.search`` would be asked by arguments of its command line, in a program of one's own.

    Raises:
        ConfigError: an argument cannot be read, a key is unknown, or a value is wrong.
    """
    register_schemas()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("search", with_own_choices(arguments))
        return configured(composed, SearchConfig)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line_of(error)) from error


def editable(schema: type) -> DictConfig:
    """Return a node that knows the types of a frozen dataclass, and that YAML and the command line may write to.

    OmegaConf takes nodes of frozen dataclasses for read-only; what is made of them in the end is frozen.
    """
    node: DictConfig = OmegaConf.structured(schema)
    OmegaConf.set_readonly(node, None)  # None lets a node inherit the flag
    for name, kind in get_type_hints(schema).items():
        if isinstance(kind, type) and is_dataclass(kind):
            node[name] = editable(kind)
    return node


def configured(composed: DictConfig, schema: type[Config]) -> Config:
    """Return what Hydra composed as an object of its schema.

    Raises:
        ConfigError: a value is missing or out of range, or a key is unknown.
    """
    if missing := OmegaConf.missing_keys(composed):
        raise ConfigError(f"a value is needed for {', '.join(sorted(missing))}")
    made: Config = _made(composed, as_written(composed), schema, "")
    return made


def _made(node: DictConfig, written: Written, schema: type, path: str) -> Any:  # noqa: ANN401  an object of the schema
    known = {field.name for field in fields(schema)}
    for key in node:
        # Hydra lets ``+key=value`` add keys, and nothing would read them.
        if key not in known:
            raise ConfigError(f"unknown key {path}{key!s}; there are {', '.join(sorted(known))}")
    try:
        return schema(**dict(_values(node, written, schema, path)))
    except ValueError as error:
        raise ConfigError(f"{path}{error}") from error


def _values(node: DictConfig, written: Written, schema: type, path: str) -> Iterator[tuple[str, object]]:
    for name, kind in get_type_hints(schema).items():
        value, as_asked = node[name], written.get(name)
        if isinstance(value, DictConfig) and isinstance(kind, type) and is_dataclass(kind):
            inner = as_asked if isinstance(as_asked, dict) else {}
            yield name, _made(value, inner, kind, f"{path}{name}.")
        elif isinstance(value, ListConfig):
            yield name, marked((tuple if kind == tuple[str, ...] else list)(value), as_asked)
        elif isinstance(value, DictConfig):
            yield name, marked(OmegaConf.to_container(value, resolve=True), as_asked)
        else:
            # Numbers of the schema are no secrets, and what they are tells runs apart.
            yield name, marked(value, as_asked) if isinstance(value, str) else value
