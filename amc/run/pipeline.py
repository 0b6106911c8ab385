"""A search from data to report, one call a stage."""

import logging
import os
from functools import partial
from pathlib import Path

from rich import get_console

from amc.config.run_settings import run_settings
from amc.config.schema import SearchConfig
from amc.measurement.sparse_kernels import kernel_note
from amc.progress import SearchProgress
from amc.report.tables import terminal_stages, terminal_table
from amc.run import build
from amc.run.bench import Bench, set_up
from amc.run.interrupt import SearchStopped, StopOnSignal
from amc.run.measure import measure
from amc.run.publish import REPORT_FILE, publish
from amc.run.resume import Continuation, finished_before
from amc.run.stages import play_earlier
from amc.run.track import Tracking, track
from amc.seeding import seed_everything
from amc.store.results import Result, read_result, read_trials
from amc.training.finetune import finetune_best
from envs.search import RecordTrials, SearchPolicy, Trial

log = logging.getLogger(__name__)


def run_search(cfg: SearchConfig, policy_name: str, folder: Path) -> bool:
    """Search, fine-tune the best trials, measure the winner, and leave everything in the run's folder.

    A run that was finished before is shown again, one that was cut short goes on.

    Returns:
        Whether the search was played to its end; ``False`` where a signal ended it early.

    Raises:
        ConfigError: the folder holds another run.
    """
    policy = build.make_policy(cfg)
    asked = run_settings(cfg) | {"policy": policy_name, "seed": cfg.seed}
    if finished_before(folder, asked, overwrite=cfg.overwrite):
        log.info("finished before; overwrite=true runs it again")
        show(read_result(folder), folder / REPORT_FILE)
        return True
    bench = set_up(cfg)
    continuation = Continuation(folder, asked, overwrite=cfg.overwrite)
    stop = StopOnSignal()
    with track(bench, policy_name, folder) as tracking:
        play = partial(search, policy=policy, stop=stop, tracking=tracking)
        last, earlier = play_earlier(bench, folder, asked, play, tracking)
        trials = play(last, continuation)
        outcome = finetune_best(bench, last, trials)
        result = measure(bench, outcome, policy_name, earlier, stopped=stop.asked)
        report = publish(bench, continuation.run, result, outcome)
        tracking.finish(result)
    show(result, report)
    return not stop.asked


def show(result: Result, report: Path) -> None:
    """Print the tables of a run, and where its report is."""
    get_console().print(terminal_table(result))
    if result.stages:
        get_console().print(terminal_stages(result))
    # Not wrapped as log lines are, so that the path can be copied.
    get_console().print(f"report: {os.path.relpath(report)}", soft_wrap=True, highlight=False)


def search(
    bench: Bench, continuation: Continuation, *, policy: SearchPolicy, stop: StopOnSignal, tracking: Tracking
) -> list[Trial]:
    """Let the policy play its episodes, every trial put on disk; ``stop`` ends it early with what was found.

    Raises:
        KeyboardInterrupt: ``stop`` ended a stage that is not the last, which is no network that the run was asked for.
    """
    cfg, engine = bench.cfg, bench.engine
    title = f"{bench.title}: " if bench.title else ""
    log.info("%ssearching %d layers, %d episodes", title, len(engine.layers), cfg.episodes)
    if bench.title:
        tracking.begin_stage(bench.stage)
    continuation.teach(engine)
    if bench.stage == 1:
        log.info(kernel_note(cfg.granularity.name, cfg.m, bench.device))
    seed_everything(cfg.seed)
    shown = SearchProgress(cfg.episodes, bench.original, cfg.resource.name, title=f"{title}search")
    with shown as progress, stop:
        env = RecordTrials(bench.problem, cfg.episodes, [continuation, progress, tracking, stop])
        try:
            policy.search(env)
        except SearchStopped as stopped:
            if bench.stage < cfg.stages:
                log.warning("%s%s; the command given again goes on from here", title, stopped)
                raise KeyboardInterrupt from None
            log.warning("%s; going on with what was found", stopped)
    # From disk: trials that were played again took their seconds the first time.
    return read_trials(continuation.run.folder)
