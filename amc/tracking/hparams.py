"""All runs of a study as one table of TensorBoard: its HParams page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amc.tracking.make import require

FOLDER = "amc-compare"
SHOWN = ("model", "data", "policy", "granularity", "criterion", "resource", "target", "seed")
ALWAYS = ("policy", "seed")


def write_hparams(folder: Path, runs: Sequence[tuple[str, Any]]) -> None:
    """Write a row a run: who searched, what else was asked otherwise than of other runs, and what came of it.

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
    rows = [
        {key: getattr(result, key) for key in SHOWN} | {"evaluations": result.trials, "interrupted": result.stopped}
        for _, result in runs
    ]
    # TensorBoard shows the first five columns: what is the same in all rows need not be among them.
    differing = [key for key in rows[0] if key in ALWAYS or len({row[key] for row in rows}) > 1]
    for (name, result), row in zip(runs, rows, strict=True):
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
            writer.add_hparams({key: row[key] for key in differing}, measured, run_name=".")
