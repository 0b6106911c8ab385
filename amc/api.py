"""The search in one Python call, on any network and any data."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amc.agent.policy import AMC
from amc.agent.sac import SACSearch
from amc.agent.td3 import TD3Search
from amc.export import WEIGHTS_FILE, weights_bytes
from amc.header import Header
from amc.results import RunFolder
from baselines.global_threshold import GlobalThreshold
from baselines.optuna_search import OptunaSearch
from baselines.pareto import ParetoSearch
from baselines.random_search import RandomSearch
from baselines.reconstruction import Reconstruction
from baselines.sensitivity import SensitivityAnalysis
from baselines.uniform import Uniform
from envs.engine.samples import Loss
from envs.engine.scoring import Score, Top1Scorer, metric_scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation
from envs.pruning_env import PruningEnv
from envs.search import RecordTrials, SearchPolicy, Trial

Batches = Iterable[tuple[Tensor, Tensor]]
UserScore = Callable[[nn.Module], float | Evaluation]
POLICIES: dict[str, Callable[[int], SearchPolicy]] = {
    "amc": lambda seed: AMC(seed=seed),
    "global_threshold": lambda _: GlobalThreshold(),
    "optuna": lambda seed: OptunaSearch(seed=seed),
    "pareto": lambda seed: ParetoSearch(seed=seed),
    "random": lambda seed: RandomSearch(seed=seed),
    "reconstruction": lambda seed: Reconstruction(seed=seed),
    "sac": lambda seed: SACSearch(seed=seed),
    "sensitivity": lambda _: SensitivityAnalysis(),
    "td3": lambda seed: TD3Search(seed=seed),
    "uniform": lambda _: Uniform(),
}


@dataclass(frozen=True)
class PruneResult:
    """What a search found.

    Attributes:
        model: the smaller network, repaired but not fine-tuned, in eval mode on the device of the one given. What
            is finer than a channel is masked: exact zeros, which stay zero when the network is trained on.
        strategy: executed keep ratio by layer.
        best: the trial it comes from.
        trials: all trials, in order.
        input_shape: shape of the inputs that the network was traced with.
    """

    model: nn.Module
    strategy: dict[str, float]
    best: Trial
    trials: list[Trial]
    input_shape: tuple[int, ...]

    def save(self, folder: str | Path) -> Path:
        """Write trials and weights to a folder; ``amc.load(folder, model=dense)`` brings the network back."""
        run = RunFolder(Path(folder))
        for trial in self.trials:
            run.record(trial)
        run.write(WEIGHTS_FILE, weights_bytes(self.model, Header(self.input_shape)))
        return run.folder


def prune(
    model: nn.Module,
    example_inputs: Tensor,
    *,
    calibration: Batches,
    validation: Batches | None = None,
    score: UserScore | None = None,
    target: float = 0.5,
    policy: str | SearchPolicy = "amc",
    episodes: int = 150,
    resource: str = "flops",
    reward: str = "accuracy",
    constraint: str = "rescale",
    min_keep: float = 0.1,
    settings: EngineSettings | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
) -> PruneResult:
    """Search keep ratios for ``model`` and return the best smaller network; ``model`` itself is not changed.

    Args:
        model: a trained network.
        example_inputs: one batch that it can be called with.
        calibration: (inputs, targets) batches of training data that repair candidates; a few hundred samples do.
            The targets are used by criteria that look at gradients.
        validation: (inputs, class numbers) batches that candidates are scored on by top-1 accuracy.
        score: scores a candidate instead of ``validation``: a metric, higher is better.
        target: fraction of the network's ``resource`` that may be kept.
        policy: a key of ``POLICIES``, or an object with a method ``search(env)``. ``pareto`` needs
            ``constraint="bound"``, ``reconstruction`` needs ``settings`` that reconstruct.
        episodes: strategies that may be scored.
        resource: ``flops`` or ``params``.
        reward: ``accuracy``, ``accuracy_flops`` or ``accuracy_params``.
        constraint: ``rescale`` or ``bound``.
        min_keep: smallest keep ratio of a layer.
        settings: what is removed, how it is chosen and candidates are repaired.
        loss: ``(outputs, targets) -> mean loss`` for criteria that look at gradients.
        seed: the same seed gives the same trials.

    Raises:
        GraphError: the network cannot be traced or has nothing to prune.
        TargetError: no strategy can meet the target.
        ValueError: an argument is unknown or out of range, or no trial is within the target.
    """
    searcher = POLICIES[policy](seed) if isinstance(policy, str) and policy in POLICIES else policy
    if isinstance(searcher, str):
        raise ValueError(f"policy={policy!r}: must be an object or one of {', '.join(POLICIES)}")
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    inputs, targets = _join("calibration", calibration, device)
    scorer = _make_scorer(validation, score, device)
    settings = settings or EngineSettings(seed=seed)
    engine = TorchEngine(model, example_inputs.to(device), inputs, scorer, settings, targets, loss)
    problem = PruningEnv(
        engine, reward=reward, resource=resource, target=target, min_keep=min_keep, constraint=constraint
    )
    env = RecordTrials(problem, episodes)
    searcher.search(env)
    return _result(engine, env, tuple(example_inputs.shape))


def _make_scorer(validation: Batches | None, score: UserScore | None, device: torch.device) -> Score:
    if validation is not None and score is None:
        return Top1Scorer(*_join("validation", validation, device))
    if score is None or validation is not None:
        raise ValueError("give either validation batches or a score function")
    return metric_scorer(score)


def _join(name: str, batches: Batches, device: torch.device) -> tuple[Tensor, Tensor]:
    """Put batches together on the device, inputs and targets."""
    pairs = [(inputs, targets) for inputs, targets in batches]
    if not pairs:
        raise ValueError(f"{name} holds no batch")
    inputs, targets = zip(*pairs, strict=True)
    return torch.cat(inputs).to(device), torch.cat(targets).to(device)


def _result(engine: TorchEngine, env: RecordTrials, input_shape: tuple[int, ...]) -> PruneResult:
    best = env.best
    kept = {layer.name: keep for layer, keep in zip(engine.layers, best.strategy, strict=True)}
    return PruneResult(engine.prune(best.strategy), kept, best, env.trials, input_shape)
