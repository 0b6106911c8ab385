"""What a pruned network takes, by arithmetic on the numbers of kept units."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from envs.engine.costs.block_costs import BlockCosts, Layers
from envs.engine.costs.timed_layers import shape_of
from envs.engine.latency import LatencyModel, LayerShape, TimedLayer
from envs.engine.network.calls import Call
from envs.engine.network.channels import ChannelGroup, Side
from envs.engine.network.kinds import kind_of
from envs.engine.network.modules import computes_weights
from envs.engine.tracing.graph import NetworkGraph
from envs.engine.types import Cost

FloatArray = NDArray[np.float64]


def multiply_accumulates(module: nn.Module, call: Call) -> float:
    """Return the multiply-accumulates of one convolution or linear layer for one sample, without its bias.

    Args:
        module: the layer.
        call: its call, with the shapes that it saw.
    """
    kind = kind_of(module)
    if kind is None or kind.product is None:
        return 0.0
    return kind.product.macs(module, call.inputs, call.outputs) / call.batch


class ResourceModel:
    """FLOPs, parameters and bytes of a network as functions of the numbers of kept units.

    Every layer's figure is (input channels) x (output channels) x a constant, and channels are linear in the
    numbers of kept units, so a cost takes two small matrix products. What else the network multiplies (attention,
    layers called twice, functional weights) counts as in the dense network, less what goes with every unit. Of a
    residual block that is gone nothing counts.

    Attributes:
        latency: predicts seconds from the layers; ``None`` where no table was measured.
    """

    latency: LatencyModel | None = None

    def __init__(self, model: nn.Module, graph: NetworkGraph) -> None:
        """Read shapes and members of the dense network."""
        names = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))]
        row = {name: index for index, name in enumerate(names)}
        self._per_unit = {side: _channels_per_unit(graph.groups, row, side) for side in (Side.IN, Side.OUT, Side.BOTH)}
        self._functional = np.array([group.flops for group in graph.groups], dtype=np.float64)
        self._units = np.array([group.units for group in graph.groups], dtype=np.float64)
        terms = [_terms(model.get_submodule(name), graph.calls.get(name)) for name in names]
        self._inputs, self._outputs, self._flops, self._weights, self._parameters, self._buffers = np.array(terms).T
        self._bytes = float(next(model.parameters()).element_size())
        counted = float(self._weights @ (self._inputs * self._outputs) + self._parameters @ self._outputs)
        total = float(sum(parameter.numel() for parameter in model.parameters()))
        self._other_parameters = total - counted
        self._other_flops = graph.flops - float(self._flops @ (self._inputs * self._outputs))
        self._timed = _timed_layers(model, graph, names)
        products = self._inputs * self._outputs
        params = self._weights * products + self._parameters * self._outputs
        self._blocks = BlockCosts(model, graph, Layers(names, self._flops * products, params))

    def cost(self, kept: Sequence[int], without: Sequence[int] = ()) -> Cost:
        """Return the cost for one sample.

        Args:
            kept: units left in every group.
            without: numbers of the residual blocks that are gone.
        """
        inputs, outputs, gone = self._widths(kept)
        outputs = outputs * self._blocks.modules_left(without)
        products = inputs * outputs
        other = self._other_parameters - self._blocks.other_params(without)
        params = float(self._weights @ products + self._parameters @ outputs) + other
        memory = (params + float(self._buffers @ outputs)) * self._bytes
        between = self._other_flops - self._blocks.other_flops(without)
        functional = float(self._functional @ (gone * self._blocks.groups_left(without)))
        flops = float(self._flops @ products) - functional + between
        latency = None if self.latency is None else self.latency.seconds(self.timed_layers(kept, without))
        return Cost(flops=flops, params=params, memory=memory, latency=latency)

    def timed_layers(self, kept: Sequence[int], without: Sequence[int] = ()) -> list[TimedLayer]:
        """Return the layers that take time, with their channels.

        Args:
            kept: units left in every group.
            without: numbers of the residual blocks that are gone.
        """
        inputs, outputs, _ = self._widths(kept)
        left = self._blocks.modules_left(without)
        return [
            TimedLayer(shape, round(outputs[row] if shape.kind == "depthwise" else inputs[row]), round(outputs[row]), n)
            for row, shape, n in self._timed
            if left[row]
        ]

    def _widths(self, kept: Sequence[int]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the input and output channels of every module, and the units that are gone."""
        gone = self._units - np.asarray(kept, dtype=np.float64)
        inputs = self._inputs - self._per_unit[Side.IN] @ gone
        outputs = self._outputs - self._per_unit[Side.OUT] @ gone - self._per_unit[Side.BOTH] @ gone
        return inputs, outputs, gone


def _timed_layers(model: nn.Module, graph: NetworkGraph, names: Sequence[str]) -> list[tuple[int, LayerShape, int]]:
    """Return row, shape and number of calls of the layers whose time a table can hold."""
    found = []
    for row, name in enumerate(names):
        call = graph.calls.get(name)
        module = model.get_submodule(name)
        shape = shape_of(module, call) if call is not None and not computes_weights(module) else None
        if call is not None and shape is not None:
            found.append((row, shape, call.count))
    return found


def _channels_per_unit(groups: Sequence[ChannelGroup], row: dict[str, int], side: Side) -> FloatArray:
    """Return how many channels one unit of every group (columns) has at every module (rows)."""
    matrix = np.zeros((len(row), len(groups)))
    for column, group in enumerate(groups):
        for member in group.at(side):
            if member.module in row:
                matrix[row[member.module], column] = member.multiplicity
    return matrix


class _Terms(NamedTuple):
    """The figures of one module.

    Attributes:
        inputs: input channels that every output channel reads; 1 for a layer that treats channels by themselves.
        outputs: output channels.
        flops: multiply-accumulates per (input, output) pair.
        weights: parameters per pair.
        parameters: further parameters per output channel, such as biases.
        buffers: buffer values per output channel.
    """

    inputs: float = 0.0
    outputs: float = 0.0
    flops: float = 0.0
    weights: float = 0.0
    parameters: float = 0.0
    buffers: float = 0.0


def _terms(module: nn.Module, call: Call | None) -> _Terms:
    """Return the figures of a module; what does not depend on its channels, or is of an unknown kind, is in none."""
    kind = kind_of(module)
    if kind is None or computes_weights(module):
        return _Terms()
    widths = kind.widths(module)
    inputs, outputs = widths.get(Side.IN, 1), widths.get(Side.OUT, widths.get(Side.BOTH, 0))
    pairs = float(inputs * outputs)
    weights, parameters, buffers = 0, 0, 0
    for name, axes in kind.axes.items():
        tensor = getattr(module, name, None)
        if name in module._buffers and tensor is not None:
            buffers += tensor.numel()
        elif tensor is not None and Side.IN in axes:
            weights += tensor.numel()
        elif tensor is not None:
            parameters += tensor.numel()
    flops = multiply_accumulates(module, call) if call is not None else 0.0
    return _Terms(inputs, outputs, flops / pairs, weights / pairs, parameters / outputs, buffers / outputs)
