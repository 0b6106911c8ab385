"""What ranks the units of a layer: weights, activations, gradients."""

from envs.engine.criteria.channels import CHANNEL_CRITERIA
from envs.engine.criteria.ranking import rank_units, score_channels
from envs.engine.criteria.weights import CRITERIA, ranking

__all__ = ["CHANNEL_CRITERIA", "CRITERIA", "rank_units", "ranking", "score_channels"]
