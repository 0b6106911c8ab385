"""What strategies cost, seen from the problem: how much of a resource, for many at once, and what can be reached."""

from envs.costs.cost_table import CostTable, cost_table
from envs.costs.resource_use import RESOURCES, use, why_unreachable

__all__ = ["RESOURCES", "CostTable", "cost_table", "use", "why_unreachable"]
