"""The report of one Python call: one HTML file that needs no network."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from amc.report.figure_style import DARK, LIGHT, Palette
from amc.report.html import picture, template
from amc.report.tables import Row
from amc.store.kept_layers import LayerKept

Draw = Callable[[Palette], Figure]


def render_prune(
    title: str,
    networks: Sequence[str],
    rows: Sequence[Row],
    pictures: Mapping[str, Draw],
    layers: Sequence[tuple[LayerKept, LayerKept]],
    facts: Sequence[tuple[str, str]],
) -> str:
    """Return the report as HTML. Everything that comes from the run is escaped.

    Args:
        title: what was done, in a line.
        networks: their names.
        rows: their figures.
        pictures: ``reward`` and ``channels``, each drawn once for light and once for dark screens.
        layers: what the network found keeps of every layer, and what uniform ratios keep.
        facts: how it was obtained, as names and sentences.
    """
    return template("prune.html.j2").render(
        title=title,
        networks=networks,
        rows=rows,
        pictures={name: picture(draw(LIGHT), draw(DARK)) for name, draw in pictures.items()},
        layers=layers,
        facts=facts,
        light=LIGHT,
        dark=DARK,
    )
