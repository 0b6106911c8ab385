"""What a run works on: data, dense network, engine."""

from dataclasses import dataclass

import torch
from torch import nn

from amc import build
from amc.config import SearchConfig
from amc.dense import trained_network
from amc.zoo.dataset import Splits
from envs.engine.scoring import Top1Scorer
from envs.engine.torch_engine import TorchEngine
from envs.pruning_env import PruningEnv


@dataclass(frozen=True)
class Bench:
    """The parts of a run that every stage needs.

    Attributes:
        cfg: the configuration.
        device: where networks run.
        splits: the data.
        dense: the trained network, in eval mode.
        score: scores a network on all images of the search split, in float32.
        engine: prunes it.
        problem: what policies play.
    """

    cfg: SearchConfig
    device: torch.device
    splits: Splits
    dense: nn.Module
    score: Top1Scorer
    engine: TorchEngine
    problem: PruningEnv


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
    return Bench(cfg, device, splits, dense, score, engine, build.make_env(cfg, engine))
