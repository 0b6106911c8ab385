"""Staged pruning: search, prune and fine-tune again and again, each time a little closer to the target.

The targets of the stages fall geometrically, to ``target ** (k / stages)`` of the original network in stage ``k``:
every stage removes the same share of what is there. The best network of a stage, fine-tuned, is the dense network of
the next; with granularity channel it is physically smaller, with the others its zeros stay zeros. Every stage has the
whole budget of ``episodes`` and of ``finetune``, and ``min_keep`` is a fraction of the original layers in all of them.

A network that takes less than the target of a stage, as coarse granularities may come to, is searched with a target
of all that it has.

References:
    He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", arXiv 1802.03494, which
    prunes ResNet-50 by fine-grained pruning to 50, 35, 25 and 20 percent in turn, with fine-tuning between.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from amc.config.run_settings import Setting
from amc.errors import ModelError, RefusedInput
from amc.report.tables import percent, share
from amc.run.bench import Bench, at_stage, on_network
from amc.run.measure import stage_kept
from amc.run.publish import weights_header
from amc.run.resume import Continuation
from amc.run.track import Tracking
from amc.store.kept_layers import StageKept, composed
from amc.store.results import read_stage, read_trials
from amc.store.run_folders import NETWORK, STAGE, stage_folder
from amc.training.finetune import FineTuner, Tuned, tune_candidates, winner
from amc.weights.export import weights_bytes
from amc.weights.loading import load
from envs.engine.types import Cost
from envs.search import Trial

log = logging.getLogger(__name__)

Search = Callable[[Bench, Continuation], list[Trial]]
"""Plays the episodes of a stage and returns its trials."""


class LastStage(NamedTuple):
    """Where a run stands when only its last stage is left.

    Attributes:
        bench: of the last stage.
        earlier: what the stages before came to.
    """

    bench: Bench
    earlier: tuple[StageKept, ...]


def stage_targets(target: float, stages: int) -> tuple[float, ...]:
    """Return the target of every stage, the last being ``target`` itself."""
    return (*(target ** (stage / stages) for stage in range(1, stages)), target)


def play_earlier(
    first: Bench, folder: Path, asked: Mapping[str, Setting], search: Search, tracking: Tracking
) -> LastStage:
    """Play every stage but the last; one that was finished before is read from its folder instead.

    What a stage begins with is always read from disk, so that a run that was cut short goes on as if it had not been.

    Args:
        first: the run's bench.
        folder: of the run.
        asked: what the run was asked.
        search: plays the episodes of a stage.
        tracking: is told again of the trials of stages that were finished before.

    Raises:
        ModelError: a stage found nothing within its target, or its network cannot be pruned further.
        RefusedInput: what a stage left is damaged.
    """
    *targets, last = stage_targets(first.cfg.target, first.cfg.stages)
    if not targets:
        return LastStage(first, ())
    bench, earlier = first, []
    for stage, target in enumerate(targets, 1):
        bench, place = at_stage(bench, stage, target), stage_folder(folder, stage)
        if (place / STAGE).exists() and (place / NETWORK).exists():
            log.info("%s: finished before", bench.title)
            tracking.begin_stage(stage)
            for trial in read_trials(place):
                tracking(trial)
        else:
            play(bench, Continuation(place, asked, overwrite=False), search)
        kept = read_stage(place)
        log.info("%s: %s", bench.title, in_words(kept, bench.original))
        earlier.append(kept)
        bench = on_network(bench, restored(bench, kept, place), composed(bench.left, kept.strategy))
    return LastStage(at_stage(bench, first.cfg.stages, last), tuple(earlier))


def play(bench: Bench, continuation: Continuation, search: Search) -> None:
    """Search, fine-tune the best, and leave the winner in the stage's folder.

    Raises:
        ModelError: nothing was found within the target, or fine-tuning broke all of it.
    """
    trials = search(bench, continuation)
    tuner = FineTuner(bench, bench.cfg.finetune.epochs)
    found = sound_winner(tune_candidates(tuner, bench, trials).values(), bench.title)
    continuation.run.write(NETWORK, weights_bytes(found.model, weights_header(bench)))
    continuation.run.write_stage(stage_kept(bench, found, trials))


def sound_winner(candidates: Iterable[Tuned], title: str) -> Tuned:
    """Return the best of those that fine-tuning has left whole: with weights that are no numbers nothing can go on.

    Raises:
        ModelError: there is none.
    """
    sound = [tuned for tuned in candidates if math.isfinite(tuned.after.loss)]
    if not sound:
        raise ModelError(f"{title}: fine-tuning diverged; lower finetune.lr_factor, or take fewer stages")
    return winner(sound)


def restored(bench: Bench, kept: StageKept, folder: Path) -> nn.Module:
    """Return the network that a stage left: pruned once more, for shapes and masks, with the weights from disk.

    Raises:
        RefusedInput: the files are damaged, or another network's.
    """
    if [(row.layer, row.of) for row in kept.strategy] != [(layer.name, layer.units) for layer in bench.engine.layers]:
        raise RefusedInput(f"{folder / STAGE}: a stage of another network; overwrite=true starts the run anew")
    network = bench.engine.prune(tuple(row.keep for row in kept.strategy))
    # Copied into place, so that layers which share a weight go on sharing it.
    network.load_state_dict(load(folder / NETWORK, model=network).state_dict())
    return network.to(bench.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def in_words(kept: StageKept, original: Cost) -> str:
    """Return what a stage came to, in a line."""
    return (
        f"{share(kept.flops, original.flops)} of the FLOPs, {share(kept.params, original.params)} of the parameters, "
        f"top-1 on search {percent(kept.search_top1_before_finetune)} before fine-tuning, "
        f"{percent(kept.search_top1)} after"
    )
