"""From a network and an example input to its groups of coupled channels."""

from envs.engine.tracing.graph import NetworkGraph, find_folds, group_by_nan_probing, trace
from envs.engine.tracing.preflight import check_names, count_flops, is_inside, screen

__all__ = [
    "NetworkGraph",
    "check_names",
    "count_flops",
    "find_folds",
    "group_by_nan_probing",
    "is_inside",
    "screen",
    "trace",
]
