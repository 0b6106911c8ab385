"""What a run works on: data, dense network, engine."""

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from amc.config.schema import SearchConfig
from amc.errors import ModelError
from amc.run import build
from amc.store.kept_layers import LayerKept, layers_kept, positions
from amc.training.dense import trained_network
from amc.zoo.data.dataset import Splits
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Cost
from envs.pruning_env import PruningEnv


@dataclass(frozen=True)
class Bench:
    """The parts of a run that searching, fine-tuning and measuring need, for one network to prune.

    Attributes:
        cfg: the configuration.
        device: where networks run.
        splits: the data.
        dense: the network to prune, trained, in eval mode.
        score: scores a network on all images of the search split, in float32.
        engine: prunes it.
        problem: what policies play.
        target: fraction of the original network's resource that may be kept.
        stage: the stage of the run that this is, counted from 1.
        original: what the run's dense network takes.
        left: what is left of the run's dense network in the one to prune, layer by layer.
    """

    cfg: SearchConfig
    device: torch.device
    splits: Splits
    dense: nn.Module
    score: Top1Scorer
    engine: TorchEngine
    problem: PruningEnv
    target: float
    stage: int
    original: Cost
    left: tuple[LayerKept, ...]

    @property
    def title(self) -> str:
        """The stage in words; empty for a run of one."""
        return f"stage {self.stage} of {self.cfg.stages}" if self.cfg.stages > 1 else ""


def set_up(cfg: SearchConfig) -> Bench:
    """Read the data, get the trained network, trace it, and pose the problem.

    Raises:
        UserError: something that the configuration asks for cannot be had.
    """
    device = build.prepare_torch(cfg)
    splits = build.load_splits(cfg)
    dense = trained_network(cfg, splits, device)
    score = build.make_score(splits.search, splits, device)
    engine = build.make_engine(cfg, dense, splits, score, device)
    return Bench(
        cfg=cfg,
        device=device,
        splits=splits,
        dense=dense,
        score=score,
        engine=engine,
        problem=build.make_env(cfg, engine, cfg.target),
        target=cfg.target,
        stage=cfg.stages,
        original=engine.cost(engine.dense_strategy),
        left=layers_kept(engine.layers, [layer.units for layer in engine.layers]),
    )


def on_network(bench: Bench, network: nn.Module, left: tuple[LayerKept, ...]) -> Bench:
    """Return the bench for another network to prune, one that was cut from the run's dense one.

    Args:
        bench: the run's.
        network: in eval mode on the device.
        left: what is left in it.

    Raises:
        ModelError: it cannot be traced, has nothing to prune, or computes what is no number.
    """
    try:
        engine = build.make_engine(bench.cfg, network, bench.splits, bench.score, bench.device)
    except ValueError as error:
        raise ModelError(f"{bench.title} left a broken network: {error}; lower finetune.lr_factor") from error
    return replace(bench, dense=network, engine=engine, left=left)


def at_stage(bench: Bench, stage: int, target: float) -> Bench:
    """Pose the problem of a stage; target and ``min_keep`` are fractions of the run's dense network.

    Raises:
        ModelError: the target cannot be met, or the network is coupled otherwise than the dense one.
    """
    engine = bench.engine
    posed = replace(bench, stage=stage, target=target)
    try:
        steps = positions(bench.left, [(layer.name, layer.units) for layer in engine.layers])
        units = tuple(bench.left[step].of for step in steps)
        return replace(posed, problem=build.make_env(bench.cfg, engine, remaining(bench, target), units))
    except (ModelError, ValueError) as error:
        raise ModelError(f"{posed.title}, on what the stage before left: {error}; fewer stages may help") from error


def remaining(bench: Bench, target: float) -> float:
    """Return the fraction of the network to prune that a fraction of the run's dense network is, 1 at most."""
    resource = bench.cfg.resource.name
    now: float = getattr(bench.engine.cost(bench.engine.dense_strategy), resource)
    limit: float = target * getattr(bench.original, resource)
    left = min(limit / now, 1.0)
    # The product must not round to more than the limit: neither constraint ever exceeds the target.
    return math.nextafter(left, 0.0) if left * now > limit else left
