"""The rewards of the AMC paper, computed from what an engine measures.

References:
    He et al., 2018, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", section 3.4.
"""

import math

from envs.engine.types import Cost, Evaluation, RewardFn


def accuracy(evaluation: Evaluation, cost: Cost) -> float:
    """R_err = -Error: for a search whose resource is limited."""
    del cost
    return evaluation.metric - 1


def accuracy_flops(evaluation: Evaluation, cost: Cost) -> float:
    """R_FLOPs = -Error log(FLOPs): few errors first, then few operations."""
    return (evaluation.metric - 1) * math.log(cost.flops)


def accuracy_params(evaluation: Evaluation, cost: Cost) -> float:
    """R_Param = -Error log(#Param): few errors first, then few parameters."""
    return (evaluation.metric - 1) * math.log(cost.params)


REWARDS: dict[str, RewardFn] = {
    "accuracy": accuracy,
    "accuracy_flops": accuracy_flops,
    "accuracy_params": accuracy_params,
}
