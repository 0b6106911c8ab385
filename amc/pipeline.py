"""A search from data to report, one call a stage."""

import logging
import os
from pathlib import Path

from rich import get_console

from amc import build
from amc.bench import Bench, set_up
from amc.config import SearchConfig
from amc.finetune import finetune_best
from amc.interrupt import SearchStopped, StopOnSignal
from amc.measure import measure
from amc.progress import SearchProgress
from amc.publish import publish
from amc.results import RunFolder
from amc.seeding import seed_everything
from amc.tables import terminal_table
from amc.tracking.track import Tracking, track
from envs.search import RecordTrials, SearchPolicy, Trial

log = logging.getLogger(__name__)


def run_search(cfg: SearchConfig, policy_name: str, folder: Path) -> bool:
    """Search, fine-tune the best trials, measure the winner, and leave everything in the run's folder.

    Returns:
        Whether the search was played to its end; ``False`` where a signal ended it early.
    """
    policy = build.make_policy(cfg)
    bench = set_up(cfg)
    run = RunFolder(folder)
    stop = StopOnSignal()
    with track(bench, policy_name, folder) as tracking:
        trials = search(bench, policy, run, stop, tracking)
        outcome = finetune_best(bench, trials)
        result = measure(bench, outcome, policy_name)
        report = publish(bench, run, result, outcome)
        tracking.finish(result)
    get_console().print(terminal_table(result))
    # Not wrapped as log lines are, so that the path can be copied.
    get_console().print(f"report: {os.path.relpath(report)}", soft_wrap=True, highlight=False)
    return not stop.asked


def search(bench: Bench, policy: SearchPolicy, run: RunFolder, stop: StopOnSignal, tracking: Tracking) -> list[Trial]:
    """Let the policy play its episodes, every trial put on disk; ``stop`` ends it early with what was found."""
    cfg, engine = bench.cfg, bench.engine
    log.info("searching %d layers, %d episodes", len(engine.layers), cfg.episodes)
    seed_everything(cfg.seed)
    shown = SearchProgress(cfg.episodes, engine.cost(bench.everything), cfg.resource.name)
    with shown as progress, stop:
        env = RecordTrials(bench.problem, cfg.episodes, [run.record, progress, tracking, stop])
        try:
            policy.search(env)
        except SearchStopped as stopped:
            log.warning("%s; going on with what was found", stopped)
    return env.trials
