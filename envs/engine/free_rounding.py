"""Which numbers of units are worth choosing: those that a larger number does not have for the same time.

Runtimes compute channels in blocks. Of the counts that take equally long the largest loses least, so the others go.
"""

from collections.abc import Callable, Sequence

from envs.engine.types import Cost, Layer

FREE = 0.25
"""Of the time that a unit takes on average: what is cheaper by less saves nothing."""


def free_choices(layers: Sequence[Layer], cost: Callable[[Sequence[int]], Cost]) -> list[tuple[int, ...]]:
    """Return for every layer the counts that take less time than any larger one, all other layers whole.

    Args:
        layers: with their choices.
        cost: of the numbers of units kept, with latencies.

    Raises:
        ValueError: the costs know no latency.
    """
    whole = [layer.units for layer in layers]

    def seconds(step: int, units: int) -> float:
        latency = cost([*whole[:step], units, *whole[step + 1 :]]).latency
        if latency is None:
            raise ValueError("rounding freely needs latencies: there is no table of times")
        return latency

    return [
        _cheaper(layer.choices, [seconds(step, units) for units in layer.choices]) for step, layer in enumerate(layers)
    ]


def _cheaper(choices: Sequence[int], times: Sequence[float]) -> tuple[int, ...]:
    """Return the counts, ascending, that are cheaper than the next larger one that stays."""
    per_unit = (times[-1] - min(times)) / max(choices[-1] - choices[0], 1)
    kept = [(choices[-1], times[-1])]
    for units, time in zip(reversed(choices[:-1]), reversed(times[:-1]), strict=True):
        above, least = kept[-1]
        if least - time > FREE * per_unit * (above - units):
            kept.append((units, time))
    return tuple(units for units, _ in reversed(kept))
