"""``amc-train``, ``python -m amc.train``: trains a dense network and keeps it for ``amc.search``."""

import logging
from typing import TYPE_CHECKING

from amc.cli.entry import enter

if TYPE_CHECKING:
    from amc.config.schema import TrainConfig

log = logging.getLogger(__name__)


def main(cfg: "TrainConfig") -> None:
    """Train, or find in the cache, and say how good the network is on the search split; ``test`` is not read."""
    # Imported late: a typo on the command line is answered before torch is there.
    from amc.run.plan import load_data
    from amc.training.dense import trained_network

    data = load_data(cfg)
    model = trained_network(cfg, data)
    evaluation = data.scorer(data.splits.search)(model)
    log.info("top-1 on the search split: %.4f (loss %.4f)", evaluation.metric, evaluation.loss)


def run() -> None:
    """Compose the configuration and train."""
    from amc.cli.command import run_command

    run_command("train", main)


def script() -> None:
    """Run the command line: what the console script ``amc-train`` calls."""
    enter("train", run)


if __name__ == "__main__":
    script()
