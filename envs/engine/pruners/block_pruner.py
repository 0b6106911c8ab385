"""Granularities block and channel_block: whole residual blocks go, the latter with channels of those that stay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from envs.engine.costs.peak_memory import KnownPeaks
from envs.engine.errors import GraphError
from envs.engine.latency import LatencyModel, TimedLayer
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import Side
from envs.engine.network.isolation import random_state_kept
from envs.engine.network.modules import is_product
from envs.engine.network.samples import Samples
from envs.engine.pruners.channel_pruner import ChannelPruner, trace_channels
from envs.engine.pruners.network_table import Parts, network_layers, parts_of_groups
from envs.engine.pruners.noisy_network import with_noise
from envs.engine.pruners.residual_blocks import find_blocks
from envs.engine.repair.block_scale import ScaleFit, fit_scales
from envs.engine.settings import EngineSettings
from envs.engine.surgery.passing_on import Passed
from envs.engine.tracing.graph import NetworkGraph, ResidualBlock, find_folds
from envs.engine.tracing.preflight import check_names, count_flops, is_inside, screen
from envs.engine.types import Cost, Layer, NetworkLayer

WIDTHS_TOO = "channel_block"
NO_BLOCK = "is in no residual block that could go"


class _Step(NamedTuple):
    """What a step decides about: the block of that number, or the channel group."""

    block: bool
    number: int


class BlockPruner:
    """Takes residual blocks out, which leaves what they add to, times a number; one step is a block or a channel group.

    Attributes:
        layers: blocks and groups, in the order in which they are called and first read.
        graph: blocks, groups, and what is unprunable.
        ranks: for every group its units from most to least important.
    """

    def __init__(self, model: nn.Module, example_inputs: Inputs, samples: Samples, settings: EngineSettings) -> None:
        """Trace the network and run the calibration pass.

        Args:
            model: the dense network in eval mode; it must not change afterwards.
            example_inputs: what it is called with.
            samples: calibration data on its device.
            settings: how to choose channels and repair.

        Raises:
            GraphError: the network cannot be traced, has no residual block, or nothing that the criterion goes by.
            ValueError: the criterion needs labels, and there are none.
        """
        traced = trace_channels if settings.granularity == WIDTHS_TOO else _without_channels
        graph = _with_blocks(model, traced(model, example_inputs, settings), example_inputs)
        self._channels = ChannelPruner(model, example_inputs, samples, settings, graph)
        self.graph, self.ranks = self._channels.graph, self._channels.ranks
        self._model = model
        self._steps = _steps(self.graph)
        self.layers = tuple(
            _layer(self.graph.blocks[step.number]) if step.block else self._channels.layers[step.number]
            for step in self._steps
        )
        self._fits = self._fit(samples.inputs) if settings.reconstruct else {}
        self._peaks: KnownPeaks | None = None

    def _fit(self, inputs: Inputs) -> dict[str, ScaleFit]:
        return fit_scales(self._model, [block.name for block in self.graph.blocks], inputs)

    @property
    def unprunable(self) -> Mapping[str, str]:
        """Modules that keep all their output channels, with the reason."""
        return self.graph.unprunable

    def network_layers(self, inputs: Inputs) -> tuple[NetworkLayer, ...]:
        """Return every layer of the network, given what it is called with."""
        groups = [number for number, step in enumerate(self._steps) if not step.block]
        parts = parts_of_groups(self.graph.groups, groups)
        blocks = {self.graph.blocks[step.number].name: n for n, step in enumerate(self._steps) if step.block}
        for name, _ in self._model.named_modules():
            inside = next((number for block, number in blocks.items() if is_inside(name, [block])), None)
            if inside is not None:
                parts[name] = parts.get(name, Parts())._replace(block=inside)
        return network_layers(self._model, inputs, parts, self.unprunable, products_only=False)

    @property
    def knows(self) -> Mapping[str, Callable[[int], tuple[float, ...]]]:
        """What can be said of a step beside: with least squares the reconstruction error."""
        return {"reconstruction_error": self.reconstruction_error} if self._fits else {}

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        """Return the share of its output's energy that a block loses when it goes, and for a group what its readers do.

        Args:
            step: its number.
        """
        block, number = self._steps[step]
        if block:
            return self._fits[self.graph.blocks[number].name].error, 0.0
        return self._channels.reconstruction_error(number)

    def cost(self, kept: Sequence[int]) -> Cost:
        """Return FLOPs, parameters and bytes for one sample with so much kept of every step."""
        cost = self._channels.cost_without(*self._parted(kept))
        return cost if self._peaks is None else cost._replace(memory_peak=self._peaks.of(kept))

    def timed_layers(self, kept: Sequence[int]) -> list[TimedLayer]:
        """Return the layers that take time, with their channels with so much kept of every step."""
        return self._channels.timed_layers(*self._parted(kept))

    def predict_latency(self, model: LatencyModel) -> None:
        """Let costs hold the seconds that a table of layers predicts: what is between layers stays."""
        self._channels.predict_latency(model)

    def track_peak(self, example_inputs: Inputs) -> None:
        """Let costs hold the memory that a forward pass of one sample takes at its peak."""
        self._peaks = KnownPeaks(lambda kept: self.for_inference(self.cut(kept)), example_inputs)

    def restrict(self, choices: Sequence[tuple[int, ...]]) -> None:
        """Leave every step fewer numbers of units to choose from, the whole among them."""
        self.layers = tuple(replace(layer, choices=few) for layer, few in zip(self.layers, choices, strict=True))
        of_groups = {step.number: few for step, few in zip(self._steps, choices, strict=True) if not step.block}
        self._channels.restrict([of_groups[number] for number in sorted(of_groups)])

    def cut(self, kept: Sequence[int]) -> nn.Module:
        """Return the physically smaller network, not repaired: for what does not depend on its weights."""
        units, gone = self._parted(kept)
        return self._channels.cut(units, self._passed(gone))

    def prune(self, kept: Sequence[int]) -> nn.Module:
        """Return the smaller network, repaired as the settings say for candidates."""
        units, gone = self._parted(kept)
        return self._channels.prune(units, self._passed(gone))

    def finish(self, kept: Sequence[int]) -> nn.Module:
        """Do as ``prune``, repaired as the settings say for networks that are fine-tuned or handed over."""
        units, gone = self._parted(kept)
        return self._channels.finish(units, self._passed(gone))

    def for_inference(self, model: nn.Module) -> nn.Module:
        """Fold batch norms into the layers before them."""
        return self._channels.for_inference(model)

    def _parted(self, kept: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the units of every group, and the numbers of the blocks that go."""
        pairs = list(zip(self._steps, kept, strict=True))
        units = {step.number: count for step, count in pairs if not step.block}
        gone = [step.number for step, count in pairs if step.block and not count]
        return [units[number] for number in sorted(units)], gone

    def _passed(self, gone: Sequence[int]) -> dict[str, Passed]:
        blocks = [self.graph.blocks[number] for number in gone]
        scales = {block.name: self._fits[block.name].scale if self._fits else 1.0 for block in blocks}
        return {block.name: Passed(scales[block.name], block.values) for block in blocks}


def _without_channels(model: nn.Module, inputs: Inputs, settings: EngineSettings) -> NetworkGraph:
    """Return what has to be known of a network of which no channels go."""
    check_names(model, settings.ignore)
    with random_state_kept():
        calls = screen(model, inputs, settings.ignore)
        flops = count_flops(model, inputs)
    return NetworkGraph((), calls, find_folds(model, inputs, calls), {}, flops, settings.ignore)


def _with_blocks(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Look for residual blocks, and say of the layers outside why they stay.

    Raises:
        GraphError: there are none.
    """
    with random_state_kept():
        blocks, faults = find_blocks(*with_noise(model, inputs), graph.ignore)
    if not blocks:
        why = "".join(f"; {name} {fault}" for name, fault in list(faults.items())[:1])
        raise GraphError(f"{type(model).__name__} has no residual block that could go{why}: take granularity=channel")
    names = [block.name for block in blocks]
    outside = {
        name: faults.get(name, NO_BLOCK)
        for name, module in model.named_modules()
        if not graph.groups and is_product(module) and not is_inside(name, names)
    }
    return replace(graph, blocks=blocks, unprunable=graph.unprunable | outside)


def _steps(graph: NetworkGraph) -> tuple[_Step, ...]:
    """Return blocks and groups in the order of their first calls; a block comes before the groups inside it."""

    def called(names: Sequence[str]) -> int:
        return min(graph.calls[name].order for name in names)

    inside = {block.name: [name for name in graph.calls if is_inside(name, [block.name])] for block in graph.blocks}
    blocks = [((called(inside[block.name]), 0), _Step(True, n)) for n, block in enumerate(graph.blocks)]
    readers = [[member.module for member in group.members if member.side is Side.IN] for group in graph.groups]
    groups = [((called(names), 1), _Step(False, n)) for n, names in enumerate(readers)]
    return tuple(step for _, step in sorted(blocks + groups))


def _layer(block: ResidualBlock) -> Layer:
    """Describe a block by what it adds to."""
    pixels = (1, 1, *block.stream[2:]) if len(block.stream) > 3 else (1, 1)
    channels = block.stream[1] if len(block.stream) > 3 else block.stream[-1]
    return Layer(
        name=block.name,
        units=1,
        choices=(0, 1),
        outputs=channels,
        inputs=channels,
        height=pixels[-2],
        width=pixels[-1],
        stride=1,
        kernel=0,
        flops=block.flops,
    )
