"""Runs that limit latency: what goes to fine-tuning takes the time that was asked for by the clock, not by the table.

Between search and fine-tuning the strategies that won are measured in turn with the dense network, and cut a little
more or less until they meet the target, see ``envs.costs.measured_time``. What was measured is kept in the run's
folder before anything goes by it, so that a run that was cut short comes to the same networks. With a table that was
given (``latency.table``) it is that table that counts, of whatever machine it is, and nothing is measured.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor

from amc.config.schema import SearchConfig
from amc.errors import RefusedInput
from amc.run.stage import Stage
from amc.runtimes.measured_shares import MeasuredShares
from amc.runtimes.profile import LatencySource
from amc.store.digests import parse_sealed, sealed
from amc.store.durable_files import read_file
from amc.store.results import RunFolder, TimeCheck
from amc.store.run_folders import TIME_CHECKS
from amc.store.typed_records import LARGEST, Whole
from baselines.uniform import uniform_within
from envs.constraint import rescale
from envs.costs.budget import ResourceBudget
from envs.costs.measured_time import LATENCY, fit_to_clock
from envs.engine.types import Strategy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    """Networks that were timed in turn: the units that each keeps, and its fraction of the dense network's time."""

    kept: tuple[tuple[Whole, ...], ...]
    measured: tuple[Annotated[float, Field(gt=0, lt=LARGEST)], ...]


@dataclass(frozen=True)
class _Written:
    windows: tuple[_Window, ...]


class MeasuredTarget:
    """Fits strategies of a run to the clock, and keeps what was measured.

    Args:
        run: its folder.
        shares: measures networks.
        wanted: fraction of the run's dense network's time.

    Attributes:
        checks: what was measured for this run's networks, in order.
    """

    def __init__(self, run: RunFolder, shares: MeasuredShares, wanted: float) -> None:
        self._run, self._shares, self._wanted = run, shares, wanted
        self._known = _known(run.folder / TIME_CHECKS)
        self.checks: list[TimeCheck] = []

    def uniform(self, stage: Stage) -> Strategy:
        """Return uniform ratios for a stage, those that meet the target by the clock."""
        refit = partial(uniform_within, stage.problem)
        return self._fitted("uniform", refit(stage.problem.budget), stage, refit)

    def found(self, stage: Stage, strategy: Strategy) -> Strategy:
        """Return a strategy of a stage, or one like it, that meets the target by the clock."""
        return self._fitted("found", strategy, stage, lambda budget: rescale(budget, strategy))

    def _fitted(
        self, name: str, strategy: Strategy, stage: Stage, refit: Callable[[ResourceBudget], Strategy]
    ) -> Strategy:
        measure = partial(self._measure, stage)
        chosen, timed = fit_to_clock(strategy, refit, stage.problem.budget, self._wanted, measure)
        for each in timed:
            kept = stage.engine.kept(each.strategy)
            self.checks.append(TimeCheck(name, kept, each.predicted, each.measured, each is chosen))
        said = [
            f"{each.predicted:.1%} of the dense time by the table and {each.measured:.1%} by the clock"
            for each in dict.fromkeys((timed[0], chosen))
        ]
        log.info("%s: %s", name, "; now ".join(said))
        return chosen.strategy

    def _measure(self, stage: Stage, strategies: Sequence[Strategy]) -> Sequence[float]:
        kept = tuple(map(stage.engine.kept, strategies))
        if kept not in self._known:
            self._known[kept] = tuple(self._shares.of(stage.engine, kept))
            windows = [{"kept": counts, "measured": shares} for counts, shares in self._known.items()]
            self._run.write(TIME_CHECKS, json.dumps(sealed({"windows": windows})) + "\n")
        return self._known[kept]


def measured_target(
    cfg: SearchConfig, latency: LatencySource | None, first: Stage, run: RunFolder, example: Tensor
) -> MeasuredTarget | None:
    """Return what fits strategies to the clock; ``None`` where the run has no limit on latency that is measured here.

    Args:
        cfg: the run's configuration; with ``max_drop`` the target is searched for, and nothing to be met.
        latency: where latencies are from.
        first: the run's stage, on its dense network.
        run: its folder.
        example: an input, shape ``(1, ...)``.
    """
    if latency is None or not cfg.limited(LATENCY) or cfg.latency.table is not None or cfg.max_drop is not None:
        return None
    wanted = cfg.target if cfg.resource == LATENCY else cfg.limits[LATENCY]
    return MeasuredTarget(run, MeasuredShares(latency.profile, first.engine, example, cfg.latency.rounds), wanted)


def _known(path: Path) -> dict[tuple[tuple[int, ...], ...], tuple[float, ...]]:
    """Read what was measured before; what is damaged is measured again."""
    if not path.exists():
        return {}
    try:
        written: _Written = parse_sealed(_Written, read_file(path)).record
        return {window.kept: window.measured for window in written.windows if _is_whole(window)}
    except (RefusedInput, ValueError) as error:
        log.warning("%s: holds no measured times (%s); they are measured again", path, error)
        return {}


def _is_whole(window: _Window) -> bool:
    return len(window.kept) == len(window.measured)
