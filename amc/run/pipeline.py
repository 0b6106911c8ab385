"""A search from data to report, one call a step."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf
from rich import get_console

from amc.config.identity import run_settings
from amc.config.schema import SearchConfig
from amc.config.setting import Setting
from amc.environment import public
from amc.errors import ConfigError
from amc.measurement.memory import check_memory
from amc.measurement.sparse_kernels import kernel_note
from amc.progress import SearchProgress
from amc.report.layer_table import layer_lines, layers_table, whole_in_words
from amc.report.provenance import MADE, Provenance, Stopwatch, read_provenance
from amc.report.tables import terminal_stages, terminal_table
from amc.report.time_tables import terminal_times
from amc.run.interrupt import SearchStopped, StopOnSignal
from amc.run.measure import measure
from amc.run.outcome import choose_winner
from amc.run.plan import conditions, demands, latency_source, load_data, make_plan, make_policy
from amc.run.publish import EXPORTERS, REPORT_FILE, export, publish, unpublished, weights_header
from amc.run.result import make_result
from amc.run.resume import Continuation, finished_before, forget_later_stages
from amc.run.rounds.max_drop import search_lowest
from amc.run.rounds.measured_target import measured_target
from amc.run.rounds.staged_pruning import StagePlayer, play_earlier
from amc.run.stage import SearchPlan, Stage, choose_images, decide, warn_of_batch_norms, whole_run
from amc.run.track import Tracking, report_finished, track, tracked_run
from amc.run.working import at_work
from amc.seeding import seed_everything
from amc.store.cache import cache_folder
from amc.store.conditions import note_conditions, write_conditions
from amc.store.digests import write_checksums
from amc.store.durable_files import remove_partial_files
from amc.store.results import Result, RunFolder, read_trials
from amc.store.run_folders import ASKED, CONDITIONS, LATENCY_TABLE, stage_folders
from amc.store.trial_rows import trials_in
from amc.training.dense import trained_network
from amc.training.finetune import FineTuner
from amc.training.network_cache import NetworkCache
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.loading import load
from envs.costs.max_drop import Renumbered
from envs.search import NothingPlayed, RecordTrials, SearchPolicy, Trial, play

log = logging.getLogger(__name__)


def run_search(cfg: SearchConfig, policy_name: str, folder: Path, command: str = "") -> bool:
    """Search, fine-tune the best trials, measure the winner, and leave everything in the run's folder.

    A run that was finished before is shown again, one that was cut short goes on.

    Args:
        cfg: what is asked.
        policy_name: who searches.
        folder: of the run.
        command: that asked, for the report.

    Returns:
        Whether the search was played to its end; ``False`` where a signal ended it early.

    Raises:
        ConfigError: the folder holds another run.
    """
    policy = make_policy(cfg)
    asked = run_settings(cfg) | {"policy": policy_name, "seed": cfg.seed}
    before = finished_before(folder, asked, overwrite=cfg.overwrite)
    if before is not None:
        log.info("finished before; overwrite=true runs it again")
        complete(cfg, asked, folder, before, command)
        report_finished(tracked_run(cfg, policy_name, folder), cfg, before)
        show(before, folder / REPORT_FILE)
        return True
    watch = Stopwatch()
    with watch.part("data and dense network"):
        data = load_data(cfg)
        plan = make_plan(cfg, data, latency_source(cfg, data, folder))
        dense = trained_network(cfg, data)
    check_memory(demands(cfg, data, dense), data.device)
    with watch.part("tracing and calibration"):
        first = whole_run(plan, dense)
        warn_of_batch_norms(plan, first)
    if not cfg.overwrite:
        forget_later_stages(folder, asked)
    continuation = Continuation(folder, asked, overwrite=cfg.overwrite)
    if plan.latency is not None and plan.latency.known is not None:
        continuation.run.write(LATENCY_TABLE, plan.latency.known.content)
    known = note_conditions(folder, conditions(data, cfg.workers), trials_in(folder))
    cache = NetworkCache(cache_folder(cfg.cache_dir) / "finetuned", f"{cfg.model.name}-{cfg.data.name}")
    tuner = FineTuner(cfg.finetune, cfg.train, data, plan.score, cfg.seed, dense, cache)
    header = weights_header(cfg.model, data.splits)
    stop = StopOnSignal()
    with track(cfg.tracker, tracked_run(cfg, policy_name, folder), first.original, cfg.resource) as tracking:
        play = partial(search, plan, policy=policy, stop=stop, tracking=tracking)
        player = StagePlayer(play, partial(Continuation, asked=asked, overwrite=False), tuner, header)
        with watch.part("search" if cfg.stages == 1 else "search, and fine-tuning between stages"):
            last, earlier = play_earlier(plan, first, folder, player, tracking)
            lowest = search_lowest(plan, last, partial(play, continuation=continuation))
            trials = play(last, continuation) if lowest is None else lowest.trials
        with watch.part("fine-tuning"):
            example = data.inputs(data.splits.search.images[:1])
            timed = measured_target(cfg, plan.latency, first, continuation.run, example)
            if lowest is None:
                outcome = choose_winner(tuner, first, last, trials, timed)
            else:
                outcome = choose_winner(tuner, lowest.stage, lowest.stage, trials)
                lowest.check(outcome.found.after)
        with watch.part("measuring"):
            measured = measure(data, outcome, cfg)
        checks = timed.checks if timed is not None else ()
        result = make_result(cfg, asked, outcome, measured, earlier, known, stopped=stop.asked, time_checks=checks)
        # What may fail comes last.
        continuation.run.unpublish()
        continuation.run.write(WEIGHTS_FILE, weights_bytes(outcome.found.model, header))
        continuation.run.write_result(result)
        made = Provenance(command, seconds=watch.seconds)
        continuation.run.write(MADE, made.as_json())
        report = publish(continuation.run, result, outcome.trials, as_yaml(cfg), made)
        export(continuation.run, outcome.found.model, data.inputs(data.splits.calibration.images[:1]), cfg.export)
        write_checksums(folder)
        tracking.finish(result)
    show(result, report)
    return not stop.asked


def complete(cfg: SearchConfig, asked: Mapping[str, Setting], folder: Path, result: Result, command: str = "") -> None:
    """Make what a finished run lacks from what it has: it was killed behind its result, or more formats are wanted."""
    remove_partial_files(folder)
    missing = unpublished(folder, cfg.export)
    if missing == frozenset():
        return
    run = RunFolder(folder, keep=True)
    for where in (folder, *stage_folders(folder)):
        # Opened, damaged seconds are dropped.
        stage = run if where == folder else RunFolder(where, keep=True)
        if missing is not None and str((where / ASKED).relative_to(folder)) in missing:
            stage.ask(asked)
    if result.conditions and (missing is None or CONDITIONS in missing):
        write_conditions(folder, result.conditions)
    if read_provenance(folder) is None and (missing is None or MADE in missing):
        run.write(MADE, Provenance(command).as_json())  # how long its parts took, is lost
    if missing is None or any(name.endswith((".png", ".html")) for name in missing):
        publish(run, result, read_trials(folder), as_yaml(cfg), read_provenance(folder))
    formats = [each for each in cfg.export if missing is None or EXPORTERS[each][0] in missing]
    if formats:
        data = load_data(cfg)
        network = load(folder, model=trained_network(cfg, data))
        export(run, network, data.inputs(data.splits.calibration.images[:1]), formats)
    write_checksums(folder)


def as_yaml(cfg: SearchConfig) -> str:
    """Return a configuration for the report, without what comes from the environment."""
    return OmegaConf.to_yaml(OmegaConf.create(public(asdict(cfg))))


def show(result: Result, report: Path) -> None:
    """Print the tables of a run, and where its report is."""
    get_console().print(layers_table(layer_lines(result.network, result.strategy, result.uniform_strategy)))
    get_console().print(terminal_table(result))
    for table in terminal_times(result):
        get_console().print(table)
    if result.stages:
        get_console().print(terminal_stages(result))
    # Not wrapped as log lines are, so that the path can be copied.
    get_console().print(f"report: {os.path.relpath(report)}", soft_wrap=True, highlight=False)


def search(
    plan: SearchPlan,
    stage: Stage,
    continuation: Continuation,
    *,
    policy: SearchPolicy,
    stop: StopOnSignal,
    tracking: Tracking,
    episodes: int | None = None,
    before: int = 0,
) -> list[Trial]:
    """Let the policy play its episodes, every trial put on disk; ``stop`` ends it early with what was found.

    Args:
        plan: of the run.
        stage: to search on.
        continuation: of the stage's folder.
        policy: plays.
        stop: ends the search.
        tracking: is told of trials.
        episodes: by default those of the plan.
        before: trials of the stage that were played with another target.

    Raises:
        KeyboardInterrupt: ``stop`` ended a stage that is not the last, which is no network that the run was asked for.
    """
    if before and stop.asked:
        return []
    episodes, title = episodes or plan.problem.episodes, f"{stage.title}: " if stage.title else ""
    log.info("%ssearching %d layers, %d episodes", title, len(stage.engine.layers), episodes)
    if stage.title:
        tracking.begin_stage(stage.number)
    log.info(whole_in_words(stage.engine.network_layers))
    choose_images(plan, stage)
    if stage.number == 1:
        log.info(kernel_note(plan.engine.granularity, plan.engine.m, plan.data.device))
    seed_everything(plan.engine.seed)
    shown = SearchProgress(episodes, stage.original, plan.problem.resource, title=f"{title}search")
    with at_work(plan.workers, stage.problem) as problem, shown as progress, stop:
        continuation.teach(problem.engine)
        sinks: list[Callable[[Trial], None]] = [
            Renumbered(continuation, before),
            progress,
            Renumbered(tracking, before),
            stop,
        ]
        env = RecordTrials(problem, episodes, sinks)
        try:
            play(policy, env)
        except SearchStopped as stopped:
            if stage.number < plan.stages:
                log.warning("%s%s; the command given again goes on from here", title, stopped)
                raise KeyboardInterrupt from None
            log.warning("%s; going on with what was found", stopped)
        except NothingPlayed as error:
            raise ConfigError(f"policy: {error}") from error
    # From disk: trials that were played again took their seconds the first time.
    return decide(plan, stage, read_trials(continuation.run.folder)[before:])
