"""All runs of a study as one table of TensorBoard: its HParams page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amc.tracking.make import require

FOLDER = "amc-compare"
SHOWN = ("model", "data", "policy", "granularity", "criterion", "resource", "target", "seed")


def write_hparams(folder: Path, runs: Sequence[tuple[str, Any]]) -> None:
    """Write a row a run: what was asked, and what the network found came to.

    Args:
        folder: to be given to ``tensorboard --logdir``; the table of before in it is replaced.
        runs: names and results.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    require("tensorboard", "tensorboard", "amc-search[tensorboard]")
    from torch.utils.tensorboard import SummaryWriter

    table = folder / FOLDER
    for earlier in table.rglob("events.out.tfevents.*"):
        earlier.unlink()
    for name, result in runs:
        asked = {key: getattr(result, key) for key in SHOWN} | {
            "evaluations": result.trials,
            "interrupted": result.stopped,
        }
        found = result.pruned
        measured = {
            "test top-1": found.test_top1,
            "search top-1": found.search_top1,
            "FLOPs kept": found.flops / result.dense.flops,
            "parameters kept": found.params / result.dense.params,
            "latency in ms": found.latency_ms,
            "search seconds": result.search_seconds,
        }
        with SummaryWriter(str(table / name)) as writer:
            writer.add_hparams(asked, measured, run_name=".")
