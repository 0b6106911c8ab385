"""What a pruned network takes, by arithmetic on the numbers of kept units."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import nn

from envs.engine.network.calls import Call
from envs.engine.network.channels import ChannelGroup, Side
from envs.engine.network.modules import Convolution, Transposed, computes_weights, is_depthwise
from envs.engine.tracing.graph import NetworkGraph
from envs.engine.types import Cost

FloatArray = NDArray[np.float64]


def multiply_accumulates(module: nn.Module, call: Call) -> float:
    """Return the multiply-accumulates of one convolution or linear layer for one sample, without its bias.

    Args:
        module: the layer.
        call: its call, with the shapes that it saw.
    """
    if isinstance(module, nn.Linear):
        return prod(call.outputs) * module.in_features / call.batch
    if isinstance(module, Convolution):
        # A transposed convolution applies its kernel at every pixel of its input, not of its output.
        channels, shape = (
            (module.in_channels, call.inputs) if isinstance(module, Transposed) else (module.out_channels, call.outputs)
        )
        per_pixel = module.in_channels * module.out_channels // module.groups * prod(module.kernel_size)
        return prod(shape) // channels * per_pixel / call.batch
    return 0.0


class ResourceModel:
    """FLOPs, parameters and bytes of a network as functions of the numbers of kept units.

    Every layer's figure is (input channels) x (output channels) x a constant, and channels are linear in the
    numbers of kept units, so a cost takes two small matrix products. What else the network multiplies (attention,
    layers called twice, functional weights) counts as in the dense network, less what goes with every unit.
    """

    def __init__(self, model: nn.Module, graph: NetworkGraph) -> None:
        """Read shapes and members of the dense network."""
        names = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
        row = {name: index for index, name in enumerate(names)}
        modules = [model.get_submodule(name) for name in names]
        self._per_unit = {side: _channels_per_unit(graph.groups, row, side) for side in (Side.IN, Side.OUT, Side.BOTH)}
        self._functional = np.array([group.flops for group in graph.groups], dtype=np.float64)
        self._units = np.array([group.units for group in graph.groups], dtype=np.float64)
        products = [_product_terms(module, graph.calls.get(name)) for name, module in zip(names, modules, strict=True)]
        self._inputs, self._outputs, self._flops, self._weights = np.array(products, dtype=np.float64).T
        per_output = [_values_per_output(module) for module in modules]
        self._parameters, self._buffers = np.array(per_output, dtype=np.float64).T
        self._bytes = float(next(model.parameters()).element_size())
        counted = float(self._weights @ (self._inputs * self._outputs) + self._parameters @ self._outputs)
        total = float(sum(parameter.numel() for parameter in model.parameters()))
        self._other_parameters = total - counted
        self._other_flops = graph.flops - float(self._flops @ (self._inputs * self._outputs))

    def cost(self, kept: Sequence[int]) -> Cost:
        """Return the cost for one sample with ``kept`` units left in every group."""
        gone = self._units - np.asarray(kept, dtype=np.float64)
        inputs = self._inputs - self._per_unit[Side.IN] @ gone
        outputs = self._outputs - self._per_unit[Side.OUT] @ gone - self._per_unit[Side.BOTH] @ gone
        products = inputs * outputs
        params = float(self._weights @ products + self._parameters @ outputs) + self._other_parameters
        memory = (params + float(self._buffers @ outputs)) * self._bytes
        flops = float(self._flops @ products - self._functional @ gone) + self._other_flops
        return Cost(flops=flops, params=params, memory=memory)


def _channels_per_unit(groups: Sequence[ChannelGroup], row: dict[str, int], side: Side) -> FloatArray:
    """Return how many channels one unit of every group (columns) has at every module (rows)."""
    matrix = np.zeros((len(row), len(groups)))
    for column, group in enumerate(groups):
        for member in group.at(side):
            if member.module in row:
                matrix[row[member.module], column] = member.multiplicity
    return matrix


def _product_terms(module: nn.Module, call: Call | None) -> tuple[float, float, float, float]:
    """Return input and output channels, and FLOPs and weights per (input, output) pair of one module.

    A depthwise convolution counts one input channel, as each of its filters reads one.
    """
    if computes_weights(module):
        return 0.0, 0.0, 0.0, 0.0
    if isinstance(module, nn.Linear):
        inputs, outputs = module.in_features, module.out_features
    elif isinstance(module, Convolution):
        inputs = 1 if is_depthwise(module) else module.in_channels
        outputs = module.out_channels
    else:
        return 0.0, float(_channels(module)), 0.0, 0.0
    pairs = float(inputs * outputs)
    flops = multiply_accumulates(module, call) if call is not None else 0.0
    return float(inputs), float(outputs), flops / pairs, module.weight.numel() / pairs


def _values_per_output(module: nn.Module) -> tuple[float, float]:
    """Return the one-dimensional parameters (bias, gamma, ...) and buffer values per output channel of a module."""
    channels = 0 if computes_weights(module) else _channels(module)
    if channels == 0:
        return 0.0, 0.0
    if isinstance(module, nn.Embedding):
        return float(module.num_embeddings), 0.0
    vectors = sum(p.numel() for p in module.parameters(recurse=False) if p.shape == (channels,))
    buffers = sum(b.numel() for b in module.buffers(recurse=False) if b.shape == (channels,))
    return vectors / channels, buffers / channels


def _channels(module: nn.Module) -> int:
    for attribute in (
        "out_channels",
        "out_features",
        "num_features",
        "num_parameters",
        "embedding_dim",
        "num_channels",
    ):
        if hasattr(module, attribute):
            return int(getattr(module, attribute))
    return 0
