"""From numbers of kept units to a pruned network, its cost and the steps of the MDP."""

from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.pruners.cost_model import ResourceModel, multiply_accumulates
from envs.engine.pruners.mask_pruner import MaskPruner
from envs.engine.pruners.pruner import Pruner

__all__ = ["ChannelPruner", "MaskPruner", "Pruner", "ResourceModel", "multiply_accumulates"]
