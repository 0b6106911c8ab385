"""The search in one Python call, on any network and any data."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.api.batches import Batches, as_inputs, join, naming
from amc.api.finetuning import picking
from amc.api.limits import DEFAULT_TARGET, check_max_drop, know_costs, limits_of
from amc.api.request import Network, PruneRequest
from amc.api.result import PruneResult
from amc.api.scoring import ACCURACY, Output, UserScore, make_scorer, saying_what_it_got
from amc.api.searching import Searched, by_the_clock, policy_of, search_lowest, search_within
from amc.config.schema import AUTO, LatencyConfig
from amc.progress import SearchProgress
from amc.seeding import seed_everything
from amc.store.kept_layers import layers_kept
from amc.weights.wrappers import bare, check_precision
from baselines.uniform import uniform_trial
from envs.costs.max_drop import Floor
from envs.engine.network.batches import to_device
from envs.engine.network.calls import Inputs
from envs.engine.network.isolation import copy_network, random_state_kept
from envs.engine.network.samples import Loss
from envs.engine.network.usable_device import usable_device
from envs.engine.scoring.precision import running_in
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation, PruningEngine, Strategy
from envs.pruning_env import PruningEnv
from envs.search import SearchPolicy, unmet_need
from envs.workers.settings import WorkersSettings, workers_of
from envs.workers.working import engine_at_work


def prune(
    model: nn.Module,
    example_inputs: Inputs,
    *,
    calibration: Batches,
    validation: Iterable[Any] | None = None,
    score: UserScore | str | None = None,
    target: float | Sequence[float] = DEFAULT_TARGET,
    resource: str | Sequence[str] = "flops",
    reward: str = "accuracy",
    constraint: str = "rescale",
    policy: str | SearchPolicy = "amc",
    granularity: str = "channel",
    criterion: str = "l1",
    episodes: int = 150,
    ignore: Sequence[str] = (),
    min_keep: float = 0.1,
    max_drop: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool = True,
    settings: EngineSettings | None = None,
    loss: Loss = cross_entropy,
    output: Output | None = None,
    device_profile: str = AUTO,
    latency: LatencyConfig | None = None,
    workers: int | WorkersSettings = 0,
) -> PruneResult:
    """Search keep ratios for ``model`` and return the best smaller network.

    ``model`` is copied and not touched, nor are the random states of Python, NumPy and torch.

    Args:
        model: a trained network; what torch.compile and DataParallel wrap is taken out.
        example_inputs: one batch that it can be called with: a tensor, a tuple or list (arguments), or a mapping
            (arguments by name).
        calibration: batches of training data that repair candidates, see ``amc.api.batches.Batches``; a few hundred
            samples do. Batch norms are measured on them, so shift or crop them as training does. Targets are needed by
            criteria that look at gradients only.
        validation: (inputs, class numbers) batches that candidates are scored on by top-1 accuracy; inputs alone do
            with ``score="agreement"`` and with ``reward="divergence"``.
        score: scores a candidate instead of ``validation``: a metric, higher is better; or ``"agreement"``, how often
            the candidate takes the class that ``model`` takes, on ``validation``.
        target: fraction of the network's ``resource`` that may be kept; one for each where there are several.
        resource: ``flops``, ``params``, ``memory``, ``memory_peak`` or ``latency``; or several, all of which are
            limited, such as ``("flops", "latency")``.
        reward: ``accuracy``, ``accuracy_flops``, ``accuracy_params``, ``loss`` or ``divergence``, that of the
            candidate's class probabilities from those of ``model``.
        constraint: ``rescale`` or ``bound``.
        policy: one of ``amc.config.policies.policy_names()``, or an object with a method ``search(env)``.
            ``pareto`` needs ``constraint="bound"``, ``reconstruction`` needs ``settings`` that reconstruct.
        granularity: what is removed, a key of ``envs.engine.choices.UNITS``.
        criterion: how it is ranked, see ``envs.engine.choices``.
        episodes: strategies that may be scored; the dense network and uniform ratios are scored besides.
        ignore: names of modules that keep everything.
        min_keep: smallest keep ratio of a layer.
        max_drop: how much of the metric may be lost, instead of a ``target``: the smallest network, by ``resource``,
            that loses no more. A ``policy`` that is an object then searches several times.
        seed: the same seed gives the same trials.
        device: where candidates run and the smaller network is; by default where ``model`` is.
        progress: show a bar.
        settings: everything about the engine, instead of ``granularity``, ``criterion`` and ``ignore``.
        loss: ``(outputs, targets) -> mean loss`` for criteria that look at gradients.
        output: picks what accuracy and loss go by from what ``model`` returns, such as ``lambda outputs: outputs[0]``;
            by default ``logits``, ``out``, the only tensor, or the first of a tuple. A ``loss`` of one's own sees all.
        device_profile: the runtime whose time ``resource="latency"`` and ``round_to="auto"`` of ``settings`` go by.
        latency: how it is measured: images a pass, threads, or a table from elsewhere.
        workers: who evaluates candidates: so many processes of this machine with one torch thread each, 0 for this
            process alone, or settings, such as those of actors of Ray.

    Raises:
        GraphError: the network cannot be traced or has nothing to prune.
        TargetError: no strategy can meet the target, or loses as little as ``max_drop``.
        ValueError: an argument is unknown or out of range, or no trial is within the target.
        WorkersLost: workers die of what they are to do.
    """
    model = bare(model)
    check_precision(model)
    find_policy = partial(policy_of, policy, seed)
    searcher = find_policy()
    chosen = _make_settings(settings, granularity, criterion, ignore, seed)
    wanted = limits_of(resource, target)
    (first, share), *others = wanted.items()
    limits = dict(others)
    check_max_drop(max_drop, share, limits)
    asked = {"granularity": chosen.granularity, "reconstruct": chosen.reconstruct, "constraint": constraint}
    if unmet := unmet_need(searcher, asked | {"scoring": "full"}):
        raise ValueError(unmet)
    place = _find_device(model, device)
    with random_state_kept():
        seed_everything(seed)
        example = to_device(as_inputs(example_inputs), place)
        inputs, targets = join("calibration", calibration, place, example)
        pick = output and saying_what_it_got(output)
        scorer, metric = make_scorer(validation, score, reward, place, example, pick)
        with naming("calibration", model, inputs):
            network = _on_device(model, place)
            engine = TorchEngine(network, example, inputs, scorer, chosen, targets, picking(loss, pick))
        if isinstance(scorer, Top1Scorer):
            with naming("validation", engine.model, scorer.images):
                compare = scorer.compared_with if metric == ACCURACY else scorer.imitating
                engine.score = scorer = compare(engine.model)
        clock = know_costs(engine, example, wanted, device_profile, latency or LatencyConfig())

        posed = partial(
            PruningEnv, reward=reward, resource=first, limits=limits, min_keep=min_keep, constraint=constraint
        )

        def pose(target: float, by: PruningEngine = engine) -> PruningEnv:
            return posed(by, target=target)

        problem = pose(share if max_drop is None else 1.0)
        with running_in(engine.precision, place):
            dense = scorer(engine.model)
        shown = SearchProgress(episodes, engine.cost(engine.dense_strategy), first) if progress else None
        sinks = [shown] if shown else []
        with shown or nullcontext(), engine_at_work(workers_of(workers), engine) as working:
            if max_drop is None:
                searched = search_within(pose(share, working), searcher, episodes, sinks)
            else:
                floor = Floor(dense.metric, max_drop, first)
                searched = search_lowest(partial(pose, by=working), floor, problem.budget, find_policy, episodes, sinks)
        searched.problem.engine = engine  # the workers have gone
        if clock is not None and max_drop is None:
            searched = by_the_clock(searched, wanted["latency"], clock)
        request = PruneRequest(
            type(model).__name__,
            policy if isinstance(policy, str) else type(policy).__name__,
            metric,
            chosen.granularity,
            chosen.criterion,
            first,
            searched.problem.budget.target,
            seed,
            episodes,
            str(reward),
            limits,
            max_drop,
        )
        return replace(_result(engine, searched, dense, request, example), output=output)


def _make_settings(
    settings: EngineSettings | None, granularity: str, criterion: str, ignore: Sequence[str], seed: int
) -> EngineSettings:
    if isinstance(ignore, str):
        raise ValueError(f"ignore={ignore!r}: must be a list of module names, such as [{ignore!r}]")
    if settings is None:
        return EngineSettings(granularity=granularity, criterion=criterion, ignore=tuple(ignore), seed=seed)
    given = {"granularity": granularity != "channel", "criterion": criterion != "l1", "ignore": bool(ignore)}
    if any(given.values()):
        names = ", ".join(name for name, was_given in given.items() if was_given)
        raise ValueError(f"{names} and settings are both given: put {names} into EngineSettings")
    return settings


def _find_device(model: nn.Module, device: str | torch.device | None) -> torch.device:
    if device is None:
        return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        return usable_device(device)
    except ValueError as error:
        raise ValueError(f"device={str(device)!r} cannot be used here ({error}); take cpu") from error


def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the network itself where it is there already, which the engine copies, else a copy."""
    tensors = [*model.parameters(), *model.buffers()]
    return model if all(tensor.device == device for tensor in tensors) else copy_network(model).to(device)


def _result(
    engine: TorchEngine, searched: Searched, dense: Evaluation, request: PruneRequest, example: Inputs
) -> PruneResult:
    best, uniform = searched.best, searched.uniform or uniform_trial(searched.problem)
    found, reference = best.evaluation, uniform.evaluation
    # What comes out is what was scored, unless another repair is asked for: then it is scored again.
    if engine.settings.repair == "finalists":
        model = engine.finish(best.strategy)
        found, reference = map(engine.score_network, (model, engine.finish(uniform.strategy)))
    else:
        model = engine.prune(best.strategy)
    shape = tuple(example.shape) if isinstance(example, Tensor) and example.is_floating_point() else ()
    return PruneResult(
        model=model,
        strategy={layer.name: keep for layer, keep in zip(engine.layers, best.strategy, strict=True)},
        best=best,
        trials=searched.trials,
        input_shape=shape,
        dense=_network(engine, engine.dense_strategy, dense),
        uniform=_network(engine, uniform.strategy, reference),
        found=_network(engine, best.strategy, found),
        request=request,
        score=engine.score,
        teacher=engine.model,
        network=engine.network_layers,
        small_uniform=engine.finish(uniform.strategy),
        example=example,
    )


def _network(engine: TorchEngine, strategy: Strategy, evaluation: Evaluation) -> Network:
    return Network(evaluation, engine.cost(strategy), layers_kept(engine.layers, engine.kept(strategy)))
