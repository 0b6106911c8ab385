"""One search of a run: the network to prune, and the problem posed on it."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from amc.config.recipe import Recipe
from amc.errors import ModelError
from amc.runtimes.profile import LatencySource
from amc.store.kept_layers import LayerKept, layers_kept, positions
from amc.training.augmentation import calibration_as_trained
from amc.zoo.data.device_data import DeviceData
from envs.constraint import TargetError
from envs.coreset_scoring import coreset_scorer, score_finalists
from envs.costs.resource_use import use
from envs.engine.errors import GraphError
from envs.engine.scoring.racing import RacingScorer
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings, ScoringSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Cost
from envs.problem_settings import ProblemSettings
from envs.pruning_env import PruningEnv
from envs.search import Trial, best_trial
from envs.workers.settings import WorkersSettings

log = logging.getLogger(__name__)
FOREIGN = 0.03
"""What a network may lose when its batch norms are measured anew: three points; few images cannot tell less."""


@dataclass(frozen=True)
class SearchPlan:
    """What all stages of a run share.

    Attributes:
        model: name of the network, for messages.
        stages: how many stages there are.
        engine: how units are chosen and networks repaired.
        problem: what is asked for, as fractions of the run's dense network.
        scoring: how many images a trial is scored on.
        data: the data, on the device that networks run on.
        score: scores a network on all images of the search split, in float32.
        recipe: that the dense network was trained by, and networks are fine-tuned by.
        latency: where latencies are from; ``None`` where the search does not go by them.
        workers: who evaluates strategies.
    """

    model: str
    stages: int
    engine: EngineSettings
    problem: ProblemSettings
    scoring: ScoringSettings
    data: DeviceData
    score: Top1Scorer
    recipe: Recipe
    latency: LatencySource | None = None
    workers: WorkersSettings = field(default_factory=WorkersSettings)


@dataclass(frozen=True)
class Stage:
    """A search: a run has one, or in staged pruning several, each on the network that the one before left.

    Attributes:
        network: the network to prune, trained, in eval mode.
        engine: prunes it.
        problem: what policies play.
        target: fraction of the original network's resource that may be kept.
        number: counted from 1.
        title: the stage in words; empty for a run of one.
        original: what the run's dense network takes.
        left: what is left of the run's dense network in the one to prune, layer by layer.
    """

    network: nn.Module
    engine: TorchEngine
    problem: PruningEnv
    target: float
    number: int
    title: str
    original: Cost
    left: tuple[LayerKept, ...]


def whole_run(plan: SearchPlan, network: nn.Module) -> Stage:
    """Trace the run's dense network, and pose the problem of the whole run on it: that of its only stage.

    Raises:
        ModelError: the network cannot be traced, has nothing to prune, or cannot meet the target.
    """
    try:
        engine = make_engine(plan, network)
    except GraphError as error:
        raise ModelError(f"model={plan.model}: {error}") from error
    return Stage(
        network=network,
        engine=engine,
        problem=_pose(plan, engine, _targets(plan, plan.problem.target)),
        target=plan.problem.target,
        number=plan.stages,
        title=_title(plan, plan.stages),
        original=engine.cost(engine.dense_strategy),
        left=layers_kept(engine.layers, [layer.units for layer in engine.layers]),
    )


def warn_of_batch_norms(plan: SearchPlan, stage: Stage) -> None:
    """Say so where batch norms measured anew make the dense network itself worse: all its candidates are, then."""
    engine = stage.engine
    if engine.settings.batch_norm_images(engine.settings.compensates) == 0:
        return
    before = engine.run(engine.model, plan.score).metric
    after = engine.run(engine.prune(engine.dense_strategy), plan.score).metric
    if before - after > FOREIGN:
        log.warning(
            "batch norms measured anew take the dense network from %.4g to %.4g: it was trained on images shifted or "
            "flipped otherwise than train.shift and train.flip say; put them right, or take adaptive_bn=0",
            *(before, after),
        )


def on_network(plan: SearchPlan, stage: Stage, network: nn.Module, left: tuple[LayerKept, ...]) -> Stage:
    """Return a stage for another network to prune, one that was cut from the run's dense one.

    Args:
        plan: the run's.
        stage: that left the network.
        network: in eval mode on the device.
        left: what is left in it.

    Raises:
        ModelError: it cannot be traced, has nothing to prune, or computes what is no number.
    """
    try:
        engine = make_engine(plan, network)
    except ValueError as error:
        raise ModelError(f"{stage.title} left a broken network: {error}; lower finetune.lr_factor") from error
    return replace(stage, network=network, engine=engine, left=left)


def at_stage(plan: SearchPlan, stage: Stage, number: int, target: float) -> Stage:
    """Pose the problem of a stage; target and ``min_keep`` are fractions of the run's dense network.

    Raises:
        ModelError: the target cannot be met, or the network is coupled otherwise than the dense one.
    """
    engine, title = stage.engine, _title(plan, number)
    now = engine.cost(engine.dense_strategy)
    try:
        steps = positions(stage.left, [(layer.name, layer.units) for layer in engine.layers])
        units = tuple(stage.left[step].of for step in steps)
        targets = {name: remaining(share, name, stage.original, now) for name, share in _targets(plan, target).items()}
        problem = _pose(plan, engine, targets, units)
    except (ModelError, ValueError) as error:
        raise ModelError(f"{title}, on what the stage before left: {error}; fewer stages may help") from error
    return replace(stage, number=number, title=title, target=target, problem=problem)


def remaining(target: float, resource: str, original: Cost, now: Cost) -> float:
    """Return the fraction of the network to prune that a fraction of the run's dense network is, 1 at most."""
    limit, used = target * use(original, resource), use(now, resource)
    left = min(limit / used, 1.0)
    # The product must not round to more than the limit: neither constraint ever exceeds the target.
    return math.nextafter(left, 0.0) if left * used > limit else left


def make_engine(plan: SearchPlan, network: nn.Module) -> TorchEngine:
    """Trace a trained network and calibrate its repair.

    Raises:
        GraphError: the network cannot be traced or has nothing to prune.
    """
    data, calibration = plan.data, plan.data.splits.calibration
    inputs, labels = data.inputs(calibration.images), calibration.labels.to(data.device)
    score = RacingScorer(plan.score, network) if plan.scoring.name == "racing" else plan.score.compared_with(network)
    count = plan.engine.batch_norm_images(plan.engine.compensates)
    as_trained = calibration_as_trained(data, count, plan.recipe, plan.engine.seed)
    engine = TorchEngine(network, inputs[:1], inputs, score, plan.engine, labels, batch_norm_inputs=as_trained)
    if plan.latency is not None:
        plan.latency.attach(engine, inputs[:1])
    if plan.problem.limited("memory_peak"):
        engine.track_peak(inputs[:1])
    return engine


def choose_images(plan: SearchPlan, stage: Stage) -> None:
    """Have trials scored on a coreset, if that is asked for."""
    whole = stage.engine.score
    if plan.scoring.name != "coreset" or not isinstance(whole, Top1Scorer):
        return
    scorer = coreset_scorer(stage.engine, stage.problem.budget, whole, plan.problem.reward, plan.scoring.error)
    stage.engine.score = scorer
    chosen = scorer.coreset
    log.info("scoring on %d of %d images, standard error %.2g", len(chosen.images), chosen.total, chosen.error)


def decide(plan: SearchPlan, stage: Stage, trials: list[Trial]) -> list[Trial]:
    """Return the trials of a stage, the best of those that were scored on a coreset scored on the whole split."""
    if plan.scoring.name != "coreset":
        return trials
    decided = score_finalists(stage.problem, trials, plan.score.compared_with(stage.network))
    if any(trial.feasible for trial in decided):
        guessed, best = best_trial(trials), best_trial(decided)
        log.info(
            "best trial on all images: %.2f%% (number %d); on the coreset it was number %d with %.2f%%",
            *(100 * best.evaluation.metric, best.index, guessed.index, 100 * guessed.evaluation.metric),
        )
    return decided


def _targets(plan: SearchPlan, target: float) -> dict[str, float]:
    """Return all targets of a stage, by resource: the further ones are in force from the first stage on."""
    return {plan.problem.resource: target, **plan.problem.limits}


def _pose(
    plan: SearchPlan, engine: TorchEngine, targets: Mapping[str, float], units: tuple[int, ...] | None = None
) -> PruningEnv:
    asked = plan.problem
    try:
        return PruningEnv(
            engine,
            reward=asked.reward,
            resource=asked.resource,
            target=targets[asked.resource],
            limits={name: target for name, target in targets.items() if name != asked.resource},
            min_keep=asked.min_keep,
            units=units,
            constraint=asked.constraint,
        )
    except TargetError as error:
        raise ModelError(str(error)) from error


def _title(plan: SearchPlan, number: int) -> str:
    return f"stage {number} of {plan.stages}" if plan.stages > 1 else ""
