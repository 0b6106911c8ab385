"""What a tracker is, and what it is told about a run. Light: the process of a tracker starts with this module."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Figures = dict[str, float]
"""Numbers of a trial or of a run, by name."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as it starts.

    Attributes:
        folder: of the run; what a tracker leaves on disk goes there.
        study: the configuration's ``name``, shared by runs that belong together.
        policy: name of who searches.
        name: what tells the run from others of its study.
        tags: what it works on.
    """

    folder: Path
    study: str
    policy: str
    name: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ending:
    """A run that came to its end.

    Attributes:
        summary: the measured networks and the search, as in ``result.json``.
        strategy: (layer, keep ratio, kept channels, channels) of every layer of the pruned network.
        pictures: PNG files.
        model: the file of the pruned network.
    """

    summary: Figures
    strategy: list[tuple[str, float, int, int]]
    model: Path
    pictures: list[Path] = field(default_factory=list)


class Tracker(Protocol):
    """Takes a run to where people look at it. It may raise, block or die: it does so in its own process."""

    def start(self, run: TrackedRun) -> None:
        """Open the run."""

    def __call__(self, trial: int, figures: Figures) -> None:
        """Report the figures of a trial by its index."""

    def finish(self, ending: Ending | None) -> None:
        """Close the run; ``None`` if it failed or was killed."""
