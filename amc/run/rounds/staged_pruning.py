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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import nn

from amc.errors import RefusedInput
from amc.report.tables import percent, share
from amc.run.outcome import finalists_of, sound_winner
from amc.run.result import stage_kept
from amc.run.resume import Continuation, stage_is_whole
from amc.run.stage import SearchPlan, Stage, at_stage, on_network
from amc.run.track import Tracking
from amc.store.kept_layers import StageKept, composed
from amc.store.results import read_stage, read_trials
from amc.store.run_folders import NETWORK, STAGE, stage_folder
from amc.training.finetune import FineTuner
from amc.weights.export import weights_bytes
from amc.weights.loading import load
from amc.weights.metadata import Header
from amc.zoo.data.device_data import DeviceData
from envs.engine.types import Cost
from envs.search import Trial

log = logging.getLogger(__name__)

Search = Callable[[Stage, Continuation], list[Trial]]
"""Plays the episodes of a stage and returns its trials."""


@dataclass(frozen=True)
class StagePlayer:
    """Plays one stage that is not the last: searches, fine-tunes, and leaves the winner in the stage's folder.

    Attributes:
        search: plays the episodes.
        resume: opens a stage's folder, with what of it was played before.
        tuner: fine-tunes the best trials.
        header: of the winner's weights file.
    """

    search: Search
    resume: Callable[[Path], Continuation]
    tuner: FineTuner
    header: Header

    def play(self, stage: Stage, folder: Path) -> None:
        """Play a stage.

        Raises:
            ModelError: nothing was found within the target, or fine-tuning broke all of it.
        """
        continuation = self.resume(folder)
        trials = self.search(stage, continuation)
        found = sound_winner(finalists_of(self.tuner, stage, trials), stage.title)
        continuation.run.write(NETWORK, weights_bytes(found.model, self.header))
        continuation.run.write_stage(stage_kept(stage, found, trials))


class LastStage(NamedTuple):
    """Where a run stands when only its last stage is left.

    Attributes:
        stage: the last one.
        earlier: what the stages before came to.
    """

    stage: Stage
    earlier: tuple[StageKept, ...]


def stage_targets(target: float, stages: int) -> tuple[float, ...]:
    """Return the target of every stage, the last being ``target`` itself."""
    return (*(target ** (stage / stages) for stage in range(1, stages)), target)


def play_earlier(plan: SearchPlan, first: Stage, folder: Path, player: StagePlayer, tracking: Tracking) -> LastStage:
    """Play every stage but the last; one that was finished before is read from its folder instead.

    What a stage begins with is always read from disk, so that a run that was cut short goes on as if it had not been.

    Args:
        plan: what all stages share.
        first: the whole run's stage, on its dense network.
        folder: of the run.
        player: plays a stage.
        tracking: is told again of the trials of stages that were finished before.

    Raises:
        ModelError: a stage found nothing within its target, or its network cannot be pruned again.
        RefusedInput: what a stage left is damaged.
    """
    *targets, last = stage_targets(plan.problem.target, plan.stages)
    if not targets:
        return LastStage(first, ())
    stage, earlier = first, []
    for number, target in enumerate(targets, 1):
        stage, inner = at_stage(plan, stage, number, target), stage_folder(folder, number)
        if stage_is_whole(inner):
            log.info("%s: finished before", stage.title)
            tracking.begin_stage(number)
            for trial in read_trials(inner):
                tracking(trial)
        else:
            player.play(stage, inner)
        kept = read_stage(inner)
        log.info("%s: %s", stage.title, in_words(kept, stage.original))
        earlier.append(kept)
        network = restored(stage, kept, inner, plan.data)
        stage = on_network(plan, stage, network, composed(stage.left, kept.strategy))
    return LastStage(at_stage(plan, stage, plan.stages, last), tuple(earlier))


def restored(stage: Stage, kept: StageKept, folder: Path, data: DeviceData) -> nn.Module:
    """Return the network that a stage left: pruned once more, for shapes and masks, with the weights from disk.

    Raises:
        RefusedInput: the files are damaged, or another network's.
    """
    if [(row.layer, row.of) for row in kept.strategy] != [(layer.name, layer.units) for layer in stage.engine.layers]:
        raise RefusedInput(f"{folder / STAGE}: a stage of another network; overwrite=true starts the run anew")
    network = stage.engine.prune(tuple(row.keep for row in kept.strategy))
    # Copied into place, so that layers which share a weight go on sharing it.
    network.load_state_dict(load(folder / NETWORK, model=network).state_dict())
    return data.place(network)


def in_words(kept: StageKept, original: Cost) -> str:
    """Return what a stage came to, in a line."""
    return (
        f"{share(kept.flops, original.flops)} of the FLOPs, {share(kept.params, original.params)} of the parameters, "
        f"top-1 on search {percent(kept.search_top1_before_finetune)} before fine-tuning, "
        f"{percent(kept.search_top1)} after"
    )
