"""What a run works on: data, dense network, engine."""

from dataclasses import dataclass

import torch
from torch import nn

from amc import build
from amc.config import SearchConfig
from amc.dense import trained_network
from amc.zoo.dataset import Splits
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy
from envs.pruning_env import PruningEnv


@dataclass(frozen=True)
class Bench:
    """The parts of a run that every stage needs.

    Attributes:
        cfg: the configuration.
        device: where networks run.
        splits: the data.
        dense: the trained network, in eval mode.
        engine: prunes it.
        problem: what policies play.
    """

    cfg: SearchConfig
    device: torch.device
    splits: Splits
    dense: nn.Module
    engine: TorchEngine
    problem: PruningEnv

    @property
    def everything(self) -> Strategy:
        """The strategy that prunes nothing."""
        return (1.0,) * len(self.engine.layers)


def set_up(cfg: SearchConfig) -> Bench:
    """Read the data, get the trained network, trace it, and pose the problem.

    Raises:
        UserError: something that the configuration asks for cannot be had.
    """
    device = build.prepare_torch(cfg)
    splits = build.load_splits(cfg)
    dense = trained_network(cfg, splits, device)
    engine = build.make_engine(cfg, dense, splits, device)
    return Bench(cfg, device, splits, dense, engine, build.make_env(cfg, engine))
