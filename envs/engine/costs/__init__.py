"""What a pruned network takes, by arithmetic on the numbers of kept units."""

from envs.engine.costs.cost_model import ResourceModel, multiply_accumulates

__all__ = ["ResourceModel", "multiply_accumulates"]
