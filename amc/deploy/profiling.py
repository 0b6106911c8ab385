"""Tables of latencies by themselves: measured here, or packed into one file for another machine."""

import json
import tempfile
import zipapp
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from torch import Tensor

from amc.config.composing import SCHEMAS, configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.overrides import with_own_choices
from amc.config.schema import SearchConfig
from amc.config.validation import validate
from amc.errors import ConfigError, ModelError
from amc.measurement import on_device, onnx_graph, turns
from amc.run.plan import load_data, part
from amc.runtimes.profile import Profile, in_words
from amc.runtimes.runtime import chosen_runtime
from amc.runtimes.table import block_of
from amc.store.cache import cache_folder
from amc.store.durable_files import write_file
from amc.zoo.models.building import new_network
from envs.engine.choices import SMALLER
from envs.engine.errors import GraphError
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

STARTER = """\
import pkgutil
import sys
from pathlib import Path

from amc.measurement.on_device import measured

if len(sys.argv) != 2:
    raise SystemExit(f"usage: python {Path(sys.argv[0]).name} table.json")
request = pkgutil.get_data("amc", "request.json").decode()
Path(sys.argv[1]).write_text(measured(request, sys.argv[0]))
print(f"written: {sys.argv[1]}; on the machine that searches: latency.table={sys.argv[1]}")
"""


def measure_here(keys: Sequence[str], path: Path) -> str:
    """Measure a table on this machine, write it, and return what it is of, in a line.

    Args:
        keys: of ``amc.search``: network, data, ``device_profile``, ``latency.batch``, ``latency.threads``.
        path: of the table.

    Raises:
        ConfigError: a key is wrong, or the runtime is not installed.
        ModelError: the network cannot be measured, or the machine is too noisy.
    """
    cfg = _composed(keys)
    engine, example = _untrained(cfg)
    profile = _profile(cfg)
    known = profile.known(engine, example, print)
    write_file(path, known.content)
    return f"written: {path}; {in_words(known)}; blocks of {block_of(known.table)} channels"


def ask_elsewhere(keys: Sequence[str], path: Path) -> None:
    """Write one file that measures a table on another machine, which needs Python, NumPy and onnxruntime.

    Args:
        keys: of ``amc.search``: network, data, ``latency.batch``, ``latency.threads``.
        path: of the file.

    Raises:
        ConfigError: a key is wrong.
        ModelError: the network cannot be measured.
    """
    cfg = _composed(keys)
    engine, example = _untrained(cfg)
    profile = replace(_profile(cfg), runtime=chosen_runtime("onnxruntime-cpu", "--ask with device_profile"))
    request = profile.request(engine, example)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        room = folder / "amc" / "measurement"
        room.mkdir(parents=True)
        for package in (folder / "amc", room):
            (package / "__init__.py").touch()
        for module in (on_device, onnx_graph, turns):
            source = Path(str(module.__file__))
            (room / source.name).write_bytes(source.read_bytes())
        (folder / "amc" / "request.json").write_text(json.dumps(request))
        (folder / "__main__.py").write_text(STARTER)
        packed = folder.parent / f"{folder.name}.pyz"
        try:
            zipapp.create_archive(folder, packed, interpreter="/usr/bin/env python3", compressed=True)
            write_file(path, packed.read_bytes())
        finally:
            packed.unlink(missing_ok=True)


def _composed(keys: Sequence[str]) -> SearchConfig:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("search", overrides=with_own_choices(list(keys)))
    cfg = configured(composed, SCHEMAS["search"])
    if not isinstance(cfg, SearchConfig) or cfg.granularity not in SMALLER:
        raise ConfigError(f"granularity: must be of {', '.join(SMALLER)}: masks leave every layer its time")
    if cfg.latency.table is not None:
        raise ConfigError("latency.table: is what this command writes; --table says where")
    validate(cfg)
    return cfg


def _untrained(cfg: SearchConfig) -> tuple[TorchEngine, Tensor]:
    """Return an engine of the network without training, whose weights no time depends on, and an example input."""
    data = load_data(cfg)
    network = new_network(cfg.model, data.splits).eval()
    example = data.splits.example()
    settings = replace(part(cfg, EngineSettings), criterion="l1", reconstruct=False, repair=None, adaptive_bn=0)
    try:
        return TorchEngine(network, example, example, lambda _: Evaluation(0.0, 0.0, 1), settings), example
    except GraphError as error:
        raise ModelError(f"model={cfg.model.name}: {error}") from error


def _profile(cfg: SearchConfig) -> Profile:
    folder = cache_folder(cfg.cache_dir) / "latency"
    runtime = chosen_runtime(cfg.device_profile)
    return Profile(runtime, cfg.latency.batch, cfg.latency.threads, None, folder)
