"""``python -m amc.search``: searches keep ratios, fine-tunes the best networks, measures and reports the winner."""

import logging

from rich import get_console

from amc import build
from amc.bench import Bench, set_up
from amc.command import chosen, output_folder, run_command
from amc.config import SearchConfig
from amc.finetune import finetune_best
from amc.interrupt import SearchStopped, StopOnSignal
from amc.measure import measure
from amc.progress import SearchProgress
from amc.publish import publish
from amc.results import RunFolder
from amc.seeding import seed_everything
from amc.tables import terminal_table
from envs.search import RecordTrials, Trial

log = logging.getLogger(__name__)


def main(cfg: SearchConfig) -> None:
    """Run a search from data to report."""
    bench = set_up(cfg)
    run = RunFolder(output_folder())
    trials = search(bench, run)
    outcome = finetune_best(bench, trials)
    result = measure(bench, outcome, chosen("policy"))
    report = publish(bench, run, result, outcome)
    get_console().print(terminal_table(result))
    log.info("report: %s", report)


def search(bench: Bench, run: RunFolder) -> list[Trial]:
    """Let the policy play its episodes, every trial put on disk; a signal ends it early with what was found."""
    cfg, engine = bench.cfg, bench.engine
    log.info("searching %d layers, %d episodes", len(engine.layers), cfg.episodes)
    policy = build.make_policy(cfg)
    seed_everything(cfg.seed)
    with (
        SearchProgress(cfg.episodes, engine.cost(bench.everything), cfg.resource.name) as progress,
        StopOnSignal() as stop,
    ):
        env = RecordTrials(bench.problem, cfg.episodes, [run.record, progress, stop])
        try:
            policy.search(env)
        except SearchStopped as stopped:
            log.warning("%s; going on with what was found", stopped)
    return env.trials


if __name__ == "__main__":
    run_command("search", main)
