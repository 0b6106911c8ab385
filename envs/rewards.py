"""Rewards, computed from what an engine measures: those of the AMC paper, and finer ones.

Accuracy counts images; the loss and the divergence from the dense network change with every output, and so tell apart
networks that are right on the same images (``benchmarks/fidelity.md``).

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


def loss(evaluation: Evaluation, cost: Cost) -> float:
    """Less cross-entropy on the labels is better."""
    del cost
    return -_measured(evaluation.loss, "loss")


def divergence(evaluation: Evaluation, cost: Cost) -> float:
    """Less KL divergence from the dense network's outputs is better: what labels say does not count."""
    del cost
    return -_measured(evaluation.divergence, "divergence")


def _measured(value: float, name: str) -> float:
    """Return what an evaluation says of a network.

    Raises:
        ValueError: it says nothing.
    """
    if math.isnan(value):
        raise ValueError(
            f"reward={name}: scoring gave no {name}; score on labelled validation data, return an Evaluation that "
            "has one, or take reward=accuracy"
        )
    return value


REWARDS: dict[str, RewardFn] = {
    "accuracy": accuracy,
    "accuracy_flops": accuracy_flops,
    "accuracy_params": accuracy_params,
    "loss": loss,
    "divergence": divergence,
}
