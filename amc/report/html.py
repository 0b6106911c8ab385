"""The report of a run: one HTML file that needs no network, for screens of any width, light or dark, and for print."""

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from amc.report.figure_style import DARK, LIGHT
from amc.report.latency_figures import TableFacts
from amc.report.layer_table import COLUMNS, layer_lines
from amc.report.plots import figures, png
from amc.report.provenance import Provenance
from amc.report.snippets import snippets
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
LIMITS = "limits."


class Tile(NamedTuple):
    """A headline figure."""

    label: str
    figure: str
    remark: str


class Picture(NamedTuple):
    """A PNG in base64, once for light and once for dark screens."""

    light: str
    dark: str

    @property
    def file(self) -> bytes:
        """The PNG file of the picture, on light ground."""
        return b64decode(self.light)


class About(NamedTuple):
    """What a report says of its run beside the result.

    Attributes:
        folder: where the run lies, as code would name it.
        made: the command, the version and the seconds, where they are known.
        table: of latencies, where the search went by one.
    """

    folder: str = "RUN"
    made: Provenance | None = None
    table: TableFacts | None = None


class Noise(NamedTuple):
    """How far apart two accuracies have to be to differ."""

    images: int
    points: str


def render(
    result: Result,
    trials: Sequence[Trial],
    config: str,
    about: About | None = None,
    drawn: Mapping[str, Picture] | None = None,
) -> str:
    """Return the report as HTML. Everything that comes from the run is escaped.

    Args:
        result: what the run found.
        trials: all its trials, in order.
        config: the run's configuration as YAML.
        about: what else there is to say of the run.
        drawn: what ``pictures`` returned, where it was asked before.
    """
    known = about or About()
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
        noise=noise(result, result.images),
        pictures=pictures(result, trials, known.table) if drawn is None else drawn,
        layers=layer_lines(result.network, result.strategy, result.uniform_strategy),
        layer_columns=COLUMNS,
        facts=facts(result, trials, result.images),
        latencies=result.latencies,
        runtimes=[(title(result, runtime), time_rows(result, runtime)) for runtime in runtimes_of(result)],
        made=known.made,
        snippets=snippets(known.folder, in_zoo=result.model in MODELS),
        config=config,
        light=LIGHT,
        dark=DARK,
    )


@cache
def template(name: str) -> Template:
    """Return a page's template; everything put into it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters.update(percent=percent, milliseconds=milliseconds, seconds=seconds)
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
        ("target", _targets(result)),
        ("evaluations", f"{len(trials)}{in_stage}, of which {feasible} within the target{_ended(result)}"),
        ("search", f"{result.search_seconds:.1f} s{share_scoring}"),
        ("images by split", images or f"search {trials[-1].evaluation.n_samples}"),
    ]


def _targets(result: Result) -> str:
    limits = {name[len(LIMITS) :]: share for name, share in result.settings.items() if name.startswith(LIMITS)}
    shares = {result.resource: result.target, **limits}
    return " and ".join(
        f"{share:g} of the dense network's {RESOURCE_NAMES.get(name, name)}" for name, share in shares.items()
    )


def _ended(result: Result) -> str:
    """Say that a search was ended before its time, and what it was meant to play."""
    asked = result.settings.get("episodes")
    return f"; interrupted before all {asked} were played" if result.stopped else ""


def seconds(value: float) -> str:
    """Write a duration: 75 is 1 min 15 s."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
