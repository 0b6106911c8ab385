"""A comparison as one HTML file that needs no network, for screens of any width, light or dark, and for print."""

from collections.abc import Mapping
from typing import NamedTuple

from amc.comparison.cells import Table
from amc.comparison.figures import comparison_figures
from amc.comparison.layers import LAYERS_TITLE, layers_table
from amc.comparison.rivals import paired_table, verdict
from amc.comparison.study import Problem, Study
from amc.comparison.summary import correlation, facts, policy_table
from amc.comparison.wording import AGAINST_TITLE, CAPTIONS, CORRELATION, LEFT_OUT, LEGEND, LEGEND_TITLE
from amc.config.setting import Setting
from amc.report.figure_style import DARK, LIGHT
from amc.report.html import Picture, picture, template


class Section(NamedTuple):
    """A problem as the page shows it."""

    title: str
    verdict: str
    facts: list[tuple[str, str]]
    table: Table
    against: Table | None
    layers: Table | None
    correlation: str
    pictures: dict[str, Picture]
    settings: Mapping[str, Setting]


def render(study: Study) -> str:
    """Return the page as HTML. Everything that comes from the runs is escaped."""
    return template("compare.html.j2").render(
        name=study.name,
        sections=[_section(problem) for problem in study.problems],
        left_out=study.left_out,
        captions=CAPTIONS,
        against_title=AGAINST_TITLE,
        layers_title=LAYERS_TITLE,
        correlation_title=CORRELATION,
        left_out_title=LEFT_OUT,
        legend=LEGEND,
        legend_title=LEGEND_TITLE,
        light=LIGHT,
        dark=DARK,
    )


def _section(problem: Problem) -> Section:
    light, dark = comparison_figures(problem, LIGHT), comparison_figures(problem, DARK)
    return Section(
        title=problem.title,
        verdict=verdict(problem),
        facts=facts(problem),
        table=policy_table(problem),
        against=paired_table(problem),
        layers=layers_table(problem),
        correlation=correlation(problem),
        pictures={name: picture(light[name], dark[name]) for name in light},
        settings=problem.settings,
    )
