"""Trials as a table of pandas, a row each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from envs.search import Trial

if TYPE_CHECKING:
    from pandas import DataFrame


def trials_frame(trials: Sequence[Trial], layers: Sequence[str]) -> "DataFrame":
    """Return a row a trial: what was measured, and under ``keep.<layer>`` the executed ratios.

    Args:
        trials: in order.
        layers: names of the steps; of two of one name the later ones are numbered.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise ImportError("trials_dataframe needs pandas: pip install 'amc-search[dataframe]'") from error

    names = [
        f"keep.{name}" if layers.index(name) == step else f"keep.{name}.{step}" for step, name in enumerate(layers)
    ]
    rows = [
        {
            "trial": trial.index,
            "reward": trial.reward,
            "feasible": trial.feasible,
            **trial.evaluation._asdict(),
            **trial.cost._asdict(),
            "seconds": trial.seconds,
            "engine_seconds": trial.engine_seconds,
            **dict(zip(names, trial.strategy, strict=True)),
        }
        for trial in trials
    ]
    return DataFrame(rows).set_index("trial")
