"""A table of latencies for a network: from the file that was asked for, from the cache, or measured here and now."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from amc.errors import ConfigError, ModelError, RefusedInput
from amc.measurement.on_device import TABLE, TooNoisy, machine
from amc.runtimes.fitting import fit
from amc.runtimes.onnx_template import OnnxTemplate
from amc.runtimes.own_table import measure_table, version_of
from amc.runtimes.prepared import on_cpu
from amc.runtimes.request import compact_pruner, make_request
from amc.runtimes.table import LatencyTable, check_covers, machine_words, parse_table, read_table
from amc.store.durable_files import write_file
from envs.engine.latency import TableModel
from envs.engine.torch_engine import TorchEngine

log = logging.getLogger(__name__)
ONNX_RUNTIMES = ("onnxruntime-cpu", "openvino", "tensorrt")


class KnownTable(NamedTuple):
    """A table, what it predicts, and the file's content."""

    table: LatencyTable
    model: TableModel
    content: str


@dataclass(frozen=True)
class Profile:
    """How latency is measured and predicted.

    Attributes:
        runtime: a name of ``PROFILES``.
        batch: images a pass.
        threads: of the runtime on the CPU.
        table: a table to go by; ``None`` measures one.
        cache: folder of tables that were measured before.
    """

    runtime: str
    batch: int
    threads: int
    table: Path | None
    cache: Path

    def known(self, engine: TorchEngine, example: Tensor, tell: Callable[[str], None] = log.info) -> KnownTable:
        """Return the table of a network, measured if need be.

        Args:
            engine: of the dense network.
            example: an input, shape ``(1, ...)``.
            tell: is told how far a measurement is.

        Raises:
            RefusedInput: the table asked for is damaged, outdated, or another network's.
            ModelError: the network cannot be measured, or the machine is too noisy.
        """
        whole = compact_pruner(engine).timed_layers([layer.units for layer in engine.layers])
        if self.table is not None:
            table = read_table(self.table)
            check_covers(table, whole, str(self.table))
            self._check_asked(table)
            return KnownTable(table, fit(table), self.table.read_text())
        content = self._measured(engine, example, tell)
        table = parse_table(content, "the table just measured")
        return KnownTable(table, fit(table), content)

    def request(self, engine: TorchEngine, example: Tensor) -> dict[str, Any]:
        """Return what has to be measured for a network."""
        template = None
        if self.runtime in ONNX_RUNTIMES:
            template = OnnxTemplate(on_cpu(engine.pruner.for_inference(engine.model)), example.cpu())
        return make_request(engine, template, example, self.batch, self.threads)

    def _check_asked(self, table: LatencyTable) -> None:
        """Refuse a table of other settings, or of another version of the runtime on this very machine.

        Raises:
            RefusedInput: it is one.
        """
        for field, asked in (("batch", self.batch), ("threads", self.threads), ("runtime", self.runtime)):
            if getattr(table, field) != asked:
                key = "device_profile" if field == "runtime" else f"latency.{field}"
                raise RefusedInput(f"{self.table}: {field} is {getattr(table, field)}, and {key}={asked} is asked for")
        if table.machine == machine() and table.version != version_of(self.runtime):
            raise RefusedInput(
                f"{self.table}: version is {table.version} of {self.runtime}, and {version_of(self.runtime)} is "
                "installed: measure it again"
            )

    def _measured(self, engine: TorchEngine, example: Tensor, tell: Callable[[str], None]) -> str:
        kind = {
            "format": TABLE,
            # What a table is about, known without an export, which takes seconds.
            "network": repr(engine.model),
            "choices": [layer.choices for layer in engine.layers],
            "layers": compact_pruner(engine).timed_layers([layer.units for layer in engine.layers]),
            "example": list(example.shape[1:]),
            "batch": self.batch,
            "threads": self.threads,
            "runtime": self.runtime,
            "version": version_of(self.runtime),
            "machine": machine(),
        }
        name = sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:24]
        path = self.cache / f"{name}.json"
        if path.exists():
            try:
                parse_table(path.read_bytes(), str(path))
                return path.read_text()
            except RefusedInput as error:
                log.warning("%s", error)
        request = self.request(engine, example)
        tell(f"measuring {len(request['layers'])} layers in {self.runtime} for the table of latencies")
        try:
            content = json.dumps(measure_table(self.runtime, request, engine, tell)) + "\n"
        except TooNoisy as error:
            raise ModelError(f"device_profile={self.runtime}: {error}") from error
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
        return content


class LatencySource:
    """Where the engines of a run have their latencies from: one table, of the network that the run began with.

    Args:
        profile: how latency is measured.
        kept: the table of a run that was cut short, which it goes on with.

    Attributes:
        profile: how latency is measured.
        known: the table, once an engine asked for it.
    """

    def __init__(self, profile: Profile, kept: Path | None = None) -> None:
        self.profile = profile
        self._kept = kept
        self.known: KnownTable | None = None

    def attach(self, engine: TorchEngine, example: Tensor) -> None:
        """Let an engine predict latencies, and round by them where its settings say so.

        Raises:
            RefusedInput: the table is damaged, outdated, or another network's.
            ModelError: the network cannot be measured, or the machine is too noisy.
        """
        if self.known is None:
            self.known = self._first(engine, example)
            log.info(in_words(self.known))
        whole = compact_pruner(engine).timed_layers([layer.units for layer in engine.layers])
        check_covers(self.known.table, whole, "the run's table of latencies")
        engine.predict_latency(self.known.model, round_freely=engine.settings.rounds_freely)

    def _first(self, engine: TorchEngine, example: Tensor) -> KnownTable:
        if self._kept is None:
            return self.profile.known(engine, example)
        table = read_table(self._kept)
        return KnownTable(table, fit(table), self._kept.read_text())


def in_words(known: KnownTable) -> str:
    """Return what a table is of, in a line."""
    table = known.table
    return (
        f"latency from a table of {len(table.layers)} layers and {len(table.networks)} networks in {table.runtime} "
        f"{table.version}, batch {table.batch}, threads {table.threads}, {machine_words(table.machine)}"
    )


def checked_path(table: str | None) -> Path | None:
    """Return the path of a table that was asked for.

    Raises:
        ConfigError: there is no such file.
    """
    if table is None:
        return None
    path = Path(table).expanduser()
    if not path.is_file():
        raise ConfigError(f"latency.table={table}: no such file; python -m amc.profile writes one")
    return path
