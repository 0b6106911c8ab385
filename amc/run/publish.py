"""A finished run as files: weights, result, pictures, report, and the formats asked for."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from amc.config.schema import ModelConfig
from amc.errors import RefusedInput
from amc.report.html import About, pictures, render
from amc.report.latency_figures import TableFacts
from amc.report.provenance import Provenance
from amc.runtimes.fitting import fit, networks_of
from amc.runtimes.table import read_table
from amc.store.digests import CHECKSUMS, differing, files_of
from amc.store.results import Result, RunFolder
from amc.store.run_folders import LATENCY_TABLE
from amc.weights.export import ONNX_FILE, PT2_FILE, onnx_bytes, pt2_bytes
from amc.weights.metadata import Header, ModelSpec
from amc.zoo.data.dataset import Splits
from amc.zoo.models.registry import TARGETS
from envs.search import Trial

log = logging.getLogger(__name__)

REPORT_FILE = "report.html"
EXPORTERS = {"onnx": (ONNX_FILE, onnx_bytes), "pt2": (PT2_FILE, pt2_bytes)}


def publish(
    run: RunFolder,
    result: Result,
    trials: Sequence[Trial],
    config: str,
    made: Provenance | None = None,
) -> Path:
    """Write the pictures of a result and its report, and return the report's path.

    Args:
        run: the run's folder.
        result: what was found.
        trials: of the last search.
        config: the configuration as YAML, for the report.
        made: what made the run, where that is known.
    """
    table = table_facts(run.folder / LATENCY_TABLE)
    drawn = pictures(result, trials, table)
    for name, picture in drawn.items():
        run.write(f"{name}.png", picture.file)
    about = About(os.path.relpath(run.folder), made, table)
    return run.write(REPORT_FILE, render(result, trials, config, about, drawn))


def table_facts(path: Path) -> TableFacts | None:
    """Return what a table of latencies says that is drawn; ``None`` where there is no table.

    Raises:
        RefusedInput: the table is damaged.
    """
    if not path.exists():
        return None
    table = read_table(path)
    rows = table.staircases
    sides = {
        str(row.axis): [
            (pair[0 if row.axis == "inputs" else 1], ms) for pair, ms in zip(row.counts, row.ms, strict=True)
        ]
        for row in rows
    }
    # The first network is the whole one.
    dense = fit(table).seconds(networks_of(table)[0])
    return TableFacts(dense, str(rows[0].shape) if rows else "", sides)


def unpublished(folder: Path, formats: Sequence[str]) -> frozenset[str] | None:
    """Return the names of what is missing or damaged of the files that a finished run leaves beside its result.

    Args:
        folder: of the run.
        formats: further formats that the network is wanted in.

    Returns:
        The names; ``None`` where nothing vouches for what is there: the run was killed before its end, or is of
        version 0.1.
    """
    try:
        damaged = differing(folder)
    except RefusedInput as error:
        log.warning("%s; it is made again", error)
        return None
    if damaged is None:
        log.warning("%s: is missing; pictures and report are made again, and it is written", folder / CHECKSUMS)
        return None
    for name, reason in damaged.items():
        log.warning("%s: %s; it is made again", folder / name, reason)
    there = frozenset(files_of(folder))
    return frozenset({*damaged, *(EXPORTERS[each][0] for each in formats if EXPORTERS[each][0] not in there)})


def export(run: RunFolder, network: nn.Module, example: Tensor, formats: Sequence[str]) -> None:
    """Write a network in further formats.

    Args:
        run: the run's folder.
        network: the pruned network.
        example: one of its inputs, shape ``(1, ...)``.
        formats: of ``EXPORTS``.

    Raises:
        ModelError: the network cannot be written in one of them.
    """
    for wanted in formats:
        name, to_bytes = EXPORTERS[wanted]
        run.write(name, to_bytes(network, example))


def weights_header(model: ModelConfig, splits: Splits) -> Header:
    """Return what ``amc.load`` needs to rebuild the pruned network; one's own network it cannot build by itself."""
    spec = None
    if model._target_ is None:
        spec = ModelSpec(model.name, splits.num_classes, splits.in_channels, model.width)
    elif model._target_ in TARGETS and set(model.args or {}) <= {"name"}:  # a file's loader passes nothing else on
        spec = ModelSpec(f"{TARGETS[model._target_]}/{model.name}", splits.num_classes, splits.in_channels)
    mean, std = (tuple(values.flatten().tolist()) for values in splits.normalize)
    return Header(tuple(splits.example().shape), spec, mean, std)
