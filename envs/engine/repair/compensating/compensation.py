"""Compensating least squares: every layer makes up for what the layers before it got wrong.

The independent solution of a layer (:mod:`envs.engine.repair.least_squares`) takes what it still reads to be what the
dense network has there. It is not: every layer before it left an error, and these add up. So the layers are fitted once
more, in the order in which they are called, from what they read in the *pruned* network, its earlier layers fitted
already, to what the *dense* network computes there. Where a block of a residual network ends, that is the sum: its last
layer also takes away, as well as it can, the error of what it is added to.

The pruned network runs once, on all calibration samples together. Each layer stops it, is fitted, and lets it go on.

References:
    He, Zhang and Sun, 2017, "Channel Pruning for Accelerating Very Deep Neural Networks", arXiv 1707.06168, section
    3.2; Luo, Wu and Lin, 2017, "ThiNet", arXiv 1707.06342.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from envs.engine.network.batches import count_samples, take
from envs.engine.network.calls import Call, Inputs, forward
from envs.engine.network.channels import ChannelDim, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.modules import computes_weights, is_reconstructible, weight_of
from envs.engine.repair.compensating.layer_fit import fit_layer
from envs.engine.repair.compensating.output_paths import OutputPath, find_output_paths, watching
from envs.engine.repair.compensating.sampling import choose_places, inputs_at, outputs_at
from envs.engine.repair.compensating.sums import Sums
from envs.engine.surgery.full_width import FullWidth
from envs.engine.tracing.graph import NetworkGraph

SAMPLES = 1000
"""Calibration samples at most."""
PLACES, PLACES_A_COLUMN = 16_000, 400
"""Places of its output that a layer is fitted on, in all samples together: at the most, and for each of its columns. A
depthwise convolution has nine, and takes nearly all of a MobileNet's repair if it is fitted on as many as others."""
PRIOR = 100
"""How many samples the weights that are there weigh as much as: the ridge is this over the number of samples."""
MEMORY = 1 << 29
"""Bytes that the largest feature map of all samples may have; fewer samples are taken where it has more."""


@dataclass(frozen=True)
class Target:
    """What a layer is fitted to.

    Attributes:
        path: what becomes of its output.
        places: of its output, shape ``(samples,)``.
        values: what the dense network has there where the output counts, shape ``(samples, channels)``.
    """

    path: OutputPath
    places: Tensor
    values: Tensor


class Compensation:
    """What the dense network computes on the calibration samples, and how pruned networks are fitted to it."""

    def __init__(self, model: nn.Module, graph: NetworkGraph, inputs: Inputs, seed: int) -> None:
        """Run the dense network.

        Args:
            model: the dense network in eval mode; it is not touched.
            graph: its calls, and the batch norms behind its layers.
            inputs: calibration inputs, on its device.
            seed: chooses the places.
        """
        layers = _fitted_layers(model, graph.calls)
        folds = {
            layer: norm
            for layer, norm in graph.folds
            if isinstance(getattr(_get(model, norm), "running_mean", None), Tensor)
        }
        self._inputs = take(inputs, slice(_affordable(graph.calls, layers)))
        paths = find_output_paths(model, layers, folds, take(inputs, slice(2)))
        self._targets = _dense_targets(model, paths, self._inputs, seed)

    def repair(self, small: nn.Module, channels: Mapping[ChannelDim, Tensor]) -> None:
        """Fit all layers of a pruned network, in place.

        Args:
            small: the network in eval mode, repaired layer by layer as if the others were dense.
            channels: the channels that stayed, by dimension; others are whole.
        """
        waiting: dict[str, tuple[Tensor, Tensor]] = {}

        def read(layer: str, module: nn.Module, args: tuple[Tensor, ...]) -> None:
            picked = module.picked(args[0]) if isinstance(module, FullWidth) else args[0]
            seen = inputs_at(module, picked.float(), self._targets[layer].places)
            if self._targets[layer].path.summed:
                waiting[layer] = (args[0], seen)
            else:
                self._fit(small, layer, seen, channels)

        def add(layer: str, output: Tensor, other: Tensor) -> None:
            inputs, seen = waiting.pop(layer)
            self._fit(small, layer, seen, channels, outputs_at(_get(small, layer), other, self._targets[layer].places))
            path = self._targets[layer].path
            fitted = _get(small, layer)(inputs)
            output.copy_(_get(small, path.end)(fitted) if path.end != layer else fitted)

        sums = Sums(add, lambda _, __: None)
        modules = dict(small.named_modules())  # without those of blocks that are gone
        targets = {
            layer: target for layer, target in self._targets.items() if {layer, target.path.end} <= modules.keys()
        }
        summed = {layer: target.path.end for layer, target in targets.items() if target.path.summed}
        reading = (modules[layer].register_forward_pre_hook(partial(read, layer)) for layer in targets)
        with torch.no_grad(), hooked(reading), hooked(watching(small, summed, sums.expect)), sums:
            forward(small, self._inputs)

    def _fit(
        self,
        small: nn.Module,
        name: str,
        read: Tensor,
        channels: Mapping[ChannelDim, Tensor],
        other: Tensor | None = None,
    ) -> None:
        target = self._targets[name]
        layer = _get(small, name)
        kept = channels.get((name, Side.OUT), channels.get((name, Side.BOTH)))
        wanted = target.values if kept is None else target.values[:, kept.to(target.values.device)]
        norm = _get(small, target.path.end) if target.path.end != name else None
        fit_layer(layer, norm, read, wanted, PRIOR / count_samples(self._inputs), other, target.path.bounds)


def _get(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)


def _fitted_layers(model: nn.Module, calls: Mapping[str, Call]) -> list[str]:
    """Return the layers that are called once and whose weights are theirs alone, in the order of their calls."""
    users = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    return [
        name
        for name in sorted(calls, key=lambda name: calls[name].order)
        if is_reconstructible(_get(model, name))
        and calls[name].count == 1
        and calls[name].inputs
        and calls[name].outputs
        and not computes_weights(_get(model, name))
        and all(users[id(parameter)] == 1 for parameter in _get(model, name).parameters())
    ]


def _affordable(calls: Mapping[str, Call], layers: list[str]) -> int:
    """Return how many samples can be run together."""
    largest = max((prod(calls[name].outputs) / calls[name].batch for name in layers), default=1)
    return max(1, min(SAMPLES, int(MEMORY / (4 * largest))))


def _dense_targets(model: nn.Module, paths: Mapping[str, OutputPath], inputs: Inputs, seed: int) -> dict[str, Target]:
    """Run the dense network once and return the targets of its layers, in the order of their calls."""
    generator = torch.Generator().manual_seed(seed)
    targets: dict[str, Target] = {}

    def record(layer: str, output: Tensor) -> None:
        module = _get(model, layer)
        places = choose_places(module, output, min(PLACES, PLACES_A_COLUMN * weight_of(module)[0].numel()), generator)
        targets[layer] = Target(paths[layer], places, outputs_at(module, output, places).float())

    def show(layer: str, output: Tensor) -> None:
        if paths[layer].summed:
            sums.expect(layer, output)
        else:
            record(layer, output)

    sums = Sums(lambda _, __, ___: None, record)
    ends = {layer: path.end for layer, path in paths.items()}
    with torch.no_grad(), hooked(watching(model, ends, show)), sums:
        forward(model, inputs)
    return targets
