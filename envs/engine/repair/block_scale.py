"""Repair of the scale where a residual block goes: what it read, times the number that comes nearest to its output."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from envs.engine.network.batches import split, take
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.hooks import around, hooked
from envs.engine.repair.calibration import BATCH_SIZE
from envs.engine.surgery.passing_on import stream_of

SAMPLES = 1000
"""Calibration samples at most: a number for each block is measured well by fewer."""


class ScaleFit(NamedTuple):
    """How well a block's input stands for its output.

    Attributes:
        scale: of the input, by least squares.
        error: share of the output's energy that is lost with it, in [0, 1].
    """

    scale: float
    error: float


def fit_scales(model: nn.Module, names: Sequence[str], inputs: Inputs) -> dict[str, ScaleFit]:
    """Run the dense network over calibration data and fit every block.

    Args:
        model: the dense network in eval mode.
        names: its blocks.
        inputs: calibration inputs on its device.
    """
    # Of every block the energy of its input, what input and output have in common, and the energy of its output.
    products = {name: torch.zeros(3, dtype=torch.float64) for name in names}
    read: dict[str, Tensor] = {}

    def before(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        stream = stream_of(args, kwargs)
        if stream is not None:
            read[name] = stream.double()  # a copy: the block may change it

    def after(name: str, output: Any) -> None:  # noqa: ANN401  whatever a block returns
        stream, total = read.pop(name), (output[0] if isinstance(output, tuple) else output).double()
        products[name] += torch.stack(
            [(a * b).sum() for a, b in ((stream, stream), (stream, total), (total, total))]
        ).cpu()

    with hooked(around(model, names, before, after)), torch.no_grad():
        for batch in split(take(inputs, slice(SAMPLES)), BATCH_SIZE):
            forward(model, batch)
    return {name: _fit(*sums.tolist()) for name, sums in products.items()}


def _fit(read: float, common: float, returned: float) -> ScaleFit:
    if not read or not returned:  # nothing to go by
        return ScaleFit(1.0, float(returned > 0))
    return ScaleFit(common / read, max(0.0, 1 - common * common / (read * returned)))
