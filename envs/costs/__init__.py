"""What strategies cost, seen from the problem: many at once from a table, and which targets can be reached at all."""

from envs.costs.cost_table import CostTable
from envs.costs.reachable import above, why_unreachable

__all__ = ["CostTable", "above", "why_unreachable"]
