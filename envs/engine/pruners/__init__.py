"""From numbers of kept units to a pruned network, and the steps of the MDP."""

from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.pruners.mask_pruner import MaskPruner
from envs.engine.pruners.pruner import Pruner

__all__ = ["ChannelPruner", "MaskPruner", "Pruner"]
