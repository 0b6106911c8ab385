"""The report of one Python call: one HTML file that needs no network."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from amc.report.figure_style import DARK, LIGHT, Palette
from amc.report.html import picture, template
from amc.report.layer_table import COLUMNS, LayerLine
from amc.report.tables import Row

Draw = Callable[[Palette], Figure]


def render_prune(
    title: str,
    networks: Sequence[str],
    rows: Sequence[Row],
    pictures: Mapping[str, Draw],
    layers: Sequence[LayerLine],
    facts: Sequence[tuple[str, str]],
    units: str,
) -> str:
    """Return the report as HTML. Everything that comes from the run is escaped.

    Args:
        title: what was done, in a line.
        networks: their names.
        rows: their figures.
        pictures: by name, each drawn once for light and once for dark screens.
        layers: every layer of the network.
        facts: how it was obtained, as names and sentences.
        units: what layers keep some of.
    """
    return template("prune.html.j2").render(
        title=title,
        networks=networks,
        rows=rows,
        pictures={name: picture(draw(LIGHT), draw(DARK)) for name, draw in pictures.items()},
        layers=layers,
        layer_columns=COLUMNS,
        units=units,
        facts=facts,
        light=LIGHT,
        dark=DARK,
    )
