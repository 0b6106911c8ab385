"""The report of a run: one HTML file that needs no network, for screens of any width, light or dark, and for print."""

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from amc.measurement.latency import Latency
from amc.report.figure_style import DARK, LIGHT
from amc.report.latency_figures import TableFacts
from amc.report.layer_table import COLUMNS, layer_lines
from amc.report.plots import figures, png
from amc.report.tables import (
    NETWORKS,
    STAGE_COLUMNS,
    count,
    figure_rows,
    metric_name,
    milliseconds,
    percent,
    points,
    share,
    speedup,
    stage_rows,
)
from amc.report.time_tables import runtimes_of, time_rows, title
from amc.store.results import Result
from amc.zoo.models.registry import MODELS
from envs.engine.choices import UNITS
from envs.search import Trial

TEMPLATES = Path(__file__).parent / "templates"
RESOURCE_NAMES = {"flops": "FLOPs", "params": "parameters"}
LOAD_FROM_ZOO = """\
import amc
from amc.weights.loading import read_header

folder = "..."  # the folder of this report
model = amc.load(folder)  # a torch.nn.Module on the CPU, in eval mode
images = read_header(folder).normalization(byte_images)  # bytes, (n, channels, height, width)
logits = model(images)
"""
LOAD_OWN = """\
import amc

folder = "..."  # the folder of this report
model = amc.load(folder, model=dense)  # dense: the network that was pruned, or a function that builds it
"""
EXPORTS = (
    (
        "python -m amc.export RUN --format onnx",
        """import onnxruntime
session = onnxruntime.InferenceSession("RUN/pruned.onnx")
logits = session.run(None, {"images": images})[0]""",
    ),
    (
        "python -m amc.export RUN --format openvino",
        """import openvino
network = openvino.Core().compile_model("RUN/pruned.xml", "CPU")
logits = network([images])[0]""",
    ),
    (
        "python -m amc.export RUN --format pt2",
        """import torch
network = torch.export.load("RUN/pruned.pt2").module()
logits = network(images)""",
    ),
)
"""Commands that export a network, and how what they write is loaded."""


class Tile(NamedTuple):
    """A headline figure."""

    label: str
    figure: str
    remark: str


class Picture(NamedTuple):
    """A PNG in base64, once for light and once for dark screens."""

    light: str
    dark: str


class Noise(NamedTuple):
    """How far apart two accuracies have to be to differ."""

    images: int
    points: str


def render(
    result: Result,
    trials: Sequence[Trial],
    config: str,
    splits: Mapping[str, int] | None = None,
    latencies: Sequence[Latency] = (),
    table: TableFacts | None = None,
) -> str:
    """Return the report as HTML. Everything that comes from the run is escaped.

    Args:
        result: what the run found.
        trials: all its trials, in order.
        config: the run's configuration as YAML.
        splits: number of images by split, where known.
        latencies: the measurements behind ``latency_ms``, where known.
        table: of latencies, where the search went by one.
    """
    return template("report.html.j2").render(
        run=result,
        target=f"{100 * result.target:g}%",
        resource=RESOURCE_NAMES.get(result.resource, result.resource),
        units=UNITS.get(result.granularity, "units"),
        tiles=tiles(result),
        networks=NETWORKS,
        rows=figure_rows(result),
        stage_columns=STAGE_COLUMNS,
        stages=stage_rows(result),
        noise=noise(result, splits),
        pictures=pictures(result, trials, table),
        layers=layer_lines(result.network, result.strategy, result.uniform_strategy),
        layer_columns=COLUMNS,
        facts=facts(result, trials, splits),
        latencies=latencies,
        runtimes=[(title(result, runtime), time_rows(result, runtime)) for runtime in runtimes_of(result)],
        exports=EXPORTS,
        snippet=LOAD_FROM_ZOO if result.model in MODELS else LOAD_OWN,
        config=config,
        light=LIGHT,
        dark=DARK,
    )


def template(name: str) -> Template:
    """Return a page's template; everything put into it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters.update(percent=percent, milliseconds=milliseconds)
    return environment.get_template(name)


def tiles(result: Result) -> list[Tile]:
    """Return the headline figures of the network found."""
    dense, found = result.dense, result.pruned
    return [
        Tile(
            f"{metric_name(result)} on test",
            percent(found.test_top1),
            f"{points(found.test_top1, dense.test_top1)}, dense {percent(dense.test_top1)}",
        ),
        Tile("FLOPs kept", share(found.flops, dense.flops), f"{count(found.flops)} of {count(dense.flops)}"),
        Tile("parameters kept", share(found.params, dense.params), f"{count(found.params)} of {count(dense.params)}"),
        Tile(
            "measured speed",
            speedup(found.latency_ms, dense.latency_ms),
            f"{milliseconds(found.latency_ms)}, dense {milliseconds(dense.latency_ms)}",
        ),
    ]


def pictures(result: Result, trials: Sequence[Trial], table: TableFacts | None = None) -> dict[str, Picture]:
    """Draw the run's pictures for light and dark screens, by name."""
    light, dark = figures(result, trials, LIGHT, table), figures(result, trials, DARK, table)
    return {name: picture(light[name], dark[name]) for name in light}


def picture(light: Figure, dark: Figure) -> Picture:
    """Return a figure that was drawn for light and for dark screens as a page embeds it."""
    return Picture(_base64(png(light)), _base64(png(dark)))


def noise(result: Result, splits: Mapping[str, int] | None) -> Noise | None:
    """Return the 95% interval of a difference between two accuracies on the test split, if its size is known.

    The two networks see the same images, which makes the true interval narrower; this one is safe.
    """
    images = (splits or {}).get("test", 0)
    if images == 0:
        return None
    top1 = result.pruned.test_top1
    return Noise(images, f"{100 * 1.96 * math.sqrt(2 * top1 * (1 - top1) / images):.1f}")


def facts(result: Result, trials: Sequence[Trial], splits: Mapping[str, int] | None) -> list[tuple[str, str]]:
    """Return how the result was obtained, as names and sentences."""
    feasible = sum(trial.feasible for trial in trials)
    scoring = sum(trial.engine_seconds for trial in trials) / max(sum(trial.seconds for trial in trials), 1e-9)
    share_scoring = f", {scoring:.0%} of it scoring" if math.isfinite(scoring) else ""
    in_stage = f" in the last of {len(result.stages)} stages" if result.stages else ""
    images = ", ".join(f"{name} {number}" for name, number in (splits or {}).items())
    return [
        ("policy", f"{result.policy}, seed {result.seed}"),
        ("granularity", f"{result.granularity}, ranked by {result.criterion}"),
        ("target", f"{result.target:g} of the dense network's {RESOURCE_NAMES.get(result.resource, result.resource)}"),
        ("evaluations", f"{len(trials)}{in_stage}, of which {feasible} within the target"),
        ("search", f"{result.search_seconds:.1f} s{share_scoring}"),
        ("images by split", images or f"search {trials[-1].evaluation.n_samples}"),
    ]


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
