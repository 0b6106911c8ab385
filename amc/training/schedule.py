"""The learning rate over the steps of a training: up on half a cosine, then down to zero on another half."""

from math import cos, pi

START = 0.04
"""The first rate of a warm-up, as a fraction of the highest."""


def rate_factor(step: int, steps: int, warm_up: float = 0.1) -> float:
    """Return the learning rate of a step as a fraction of the highest, above 0 and at most 1.

    With so few steps that none of them is left for the warm-up, the first one has the highest rate.

    Args:
        step: which one, counted from 0.
        steps: how many there are, at least one.
        warm_up: the part of them over which the rate rises, from 0, below 1.

    References:
        Smith and Topin, 2017, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
        arXiv 1708.07120; Loshchilov and Hutter, 2016, "SGDR", arXiv 1608.03983.
    """
    highest = max(warm_up * (steps + 1) - 1, 0.0)
    if step < highest:
        return START + (1 - START) * (1 - cos(pi * step / highest)) / 2
    return (1 + cos(pi * (step - highest) / (steps - highest))) / 2
