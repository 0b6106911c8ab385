"""Granularity channel: whole channels go, with everything coupled to them, and the network becomes smaller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from envs.engine.costs.cost_model import ResourceModel, multiply_accumulates
from envs.engine.costs.peak_memory import KnownPeaks
from envs.engine.criteria.ranking import score_channels
from envs.engine.criteria.weights import ranking
from envs.engine.errors import nothing_to_prune
from envs.engine.latency import LatencyModel, TimedLayer
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup, GroupMember, Side, first_units
from envs.engine.network.modules import is_reconstructible
from envs.engine.network.samples import Samples
from envs.engine.pruners.network_table import network_layers, parts_of_groups
from envs.engine.pruners.steps import channel_choices, describe
from envs.engine.pruners.verification import keep_removable
from envs.engine.repair.compensating.compensation import Compensation
from envs.engine.repair.least_squares import Reconstruction, build_reconstruction
from envs.engine.repair.reconstruction_error import unrepaired_share
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compaction import compact_groups, fold_batch_norms, kept_channels, mask_inputs
from envs.engine.surgery.passing_on import Passed, pass_on
from envs.engine.tracing.graph import NetworkGraph, trace
from envs.engine.types import Cost, Layer, NetworkLayer


class ChannelPruner:
    """Prunes channels and repairs the layers that read them; one step is one channel group.

    Attributes:
        layers: one a channel group.
        graph: the groups, and what is unprunable.
        ranks: for every group its units from most to least important.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Inputs,
        samples: Samples,
        settings: EngineSettings,
        graph: NetworkGraph | None = None,
    ) -> None:
        """Trace the network and run the calibration pass.

        Args:
            model: the dense network in eval mode; it must not change afterwards.
            example_inputs: what it is called with.
            samples: calibration data on its device.
            settings: how to choose channels and repair.
            graph: what can go, where the network is traced already; there need be no group.

        Raises:
            GraphError: the network cannot be traced, has nothing to prune, or nothing that the criterion goes by.
            ValueError: the criterion needs labels, and there are none.
        """
        self.graph = graph or trace_channels(model, example_inputs, settings)
        self.layers = tuple(_layer(group, self.graph, model, settings.round_to) for group in self.graph.groups)
        self._scores = score_channels(model, self.graph.groups, samples, settings)
        self.ranks = [ranking(scores).cpu() for scores in self._scores]
        self._model = model
        self._errors: dict[int, tuple[float, ...]] = {}
        self._peaks: KnownPeaks | None = None
        self._resources = ResourceModel(model, self.graph)
        self._reconstruction = (
            build_reconstruction(model, self.graph, self.ranks, samples.inputs, settings.seed)
            if settings.reconstruct and self.graph.groups
            else None
        )
        self._inputs, self._settings = samples.inputs, settings

    @property
    def unprunable(self) -> dict[str, str]:
        """Modules that keep all their output channels, with the reason."""
        return self.graph.unprunable

    def network_layers(self, inputs: Inputs) -> tuple[NetworkLayer, ...]:
        """Return every layer of the network, given what it is called with."""
        parts = parts_of_groups(self.graph.groups)
        return network_layers(self._model, inputs, parts, self.unprunable, products_only=False)

    @property
    def knows(self) -> Mapping[str, Callable[[int], tuple[float, ...]]]:
        """What can be said of a layer beside: its units' scores, and with least squares the reconstruction error."""
        always = {"unit_scores": self.unit_scores}
        return always | ({} if self._reconstruction is None else {"reconstruction_error": self.reconstruction_error})

    def unit_scores(self, step: int) -> tuple[float, ...]:
        """Return the criterion's scores of the units of a group; see ``envs.engine.types.KnowsUnitScores``."""
        return tuple(self._scores[step].tolist())

    def cost(self, kept: Sequence[int]) -> Cost:
        """Return FLOPs, parameters and bytes with ``kept`` units left in every group, for one sample."""
        cost = self._resources.cost(kept)
        return cost if self._peaks is None else cost._replace(memory_peak=self._peaks.of(kept))

    def cost_without(self, kept: Sequence[int], blocks: Sequence[int]) -> Cost:
        """Do as ``cost``, without residual blocks of those numbers; memory at the peak is not told."""
        return self._resources.cost(kept, blocks)

    def track_peak(self, example_inputs: Inputs) -> None:
        """Let costs hold the memory that a forward pass of one sample takes at its peak."""
        self._peaks = KnownPeaks(lambda kept: self.for_inference(self.cut(kept)), example_inputs)

    def cut(self, kept: Sequence[int], passed: Mapping[str, Passed] | None = None) -> nn.Module:
        """Return the physically smaller network, not repaired: for what does not depend on its weights.

        Args:
            kept: units left in every group.
            passed: what stands in the places of the residual blocks that are gone.
        """
        small = compact_groups(self._model, self.graph.groups, self._units(kept))
        pass_on(small, passed or {})
        return small

    def timed_layers(self, kept: Sequence[int], blocks: Sequence[int] = ()) -> list[TimedLayer]:
        """Return the layers that take time, with their channels.

        Args:
            kept: units left in every group.
            blocks: numbers of the residual blocks that are gone.
        """
        return self._resources.timed_layers(kept, blocks)

    def predict_latency(self, model: LatencyModel) -> None:
        """Let costs hold the seconds that a table of layers predicts."""
        self._resources.latency = model

    def restrict(self, choices: Sequence[tuple[int, ...]]) -> None:
        """Leave every layer fewer numbers of units to choose from, the whole among them."""
        self.layers = tuple(replace(layer, choices=few) for layer, few in zip(self.layers, choices, strict=True))
        self._errors.clear()

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        """Return the share of their outputs' energy that the readers of a group lose, added up, for each choice.

        See ``envs.engine.repair.reconstruction_error``: 0 for the whole group, at most 1 a reader.

        Args:
            step: number of the group.

        Raises:
            ValueError: pruned networks are not repaired by least squares.
        """
        if self._reconstruction is None:
            raise ValueError("reconstruct=false: the reconstruction error is only known with reconstruct=true")
        if step not in self._errors:
            members = self.graph.groups[step].at(Side.IN)
            by_count = torch.stack([self._reader_error(self._reconstruction, member, step) for member in members]).sum(
                0
            )
            self._errors[step] = tuple(by_count[list(self.layers[step].choices)].tolist())
        return self._errors[step]

    def _reader_error(self, reconstruction: Reconstruction, member: GroupMember, step: int) -> Tensor:
        module = self._model.get_submodule(member.module)
        if is_reconstructible(module):
            return reconstruction.errors(member.module, step)
        return unrepaired_share(module, member, self.ranks[step])

    @cached_property
    def _compensation(self) -> Compensation:
        """What the dense network computes: run when it is first asked for, which candidates may never do."""
        return Compensation(self._model, self.graph, self._inputs, self._settings.seed)

    def prune(self, kept: Sequence[int], passed: Mapping[str, Passed] | None = None) -> nn.Module:
        """Return the physically smaller network, repaired by least squares as the settings say for candidates.

        Args:
            kept: units left in every group.
            passed: what stands in the places of the residual blocks that are gone.
        """
        return self._prune(kept, passed or {}, self._settings.compensates)

    def finish(self, kept: Sequence[int], passed: Mapping[str, Passed] | None = None) -> nn.Module:
        """Do as ``prune``, repaired as the settings say for networks that are fine-tuned or handed over."""
        return self._prune(kept, passed or {}, self._settings.compensates_finally)

    def _prune(self, kept: Sequence[int], passed: Mapping[str, Passed], compensate: bool) -> nn.Module:
        units = self._units(kept)
        channels = kept_channels(self.graph.groups, units)
        solutions = self._reconstruction.solve(kept) if self._reconstruction is not None else {}
        weights = {name: solution.weight for name, solution in solutions.items()}
        small = compact_groups(self._model, self.graph.groups, units, weights)
        for name, solution in solutions.items():
            if solution.shift is not None and self._reconstruction is not None:
                outputs = channels.get((name, Side.OUT), slice(None))
                self._reconstruction.shift_outputs(small, name, solution.shift[outputs])
        pass_on(small, passed)
        if compensate and (channels or passed):
            self._compensation.repair(small, channels)
        return small

    def for_inference(self, model: nn.Module) -> nn.Module:
        """Fold batch norms into the layers before them."""
        return fold_batch_norms(model, self.graph.folds)

    def mask(self, kept: Sequence[int]) -> nn.Module:
        """Return a dense-sized network that reads zero for the channels that go, not repaired."""
        return mask_inputs(self._model, kept_channels(self.graph.groups, self._units(kept)))

    def _units(self, kept: Sequence[int]) -> list[Tensor]:
        return list(map(first_units, self.ranks, kept))


def trace_channels(model: nn.Module, example_inputs: Inputs, settings: EngineSettings) -> NetworkGraph:
    """Return the groups of channels that can go, and have a choice.

    Raises:
        GraphError: the network cannot be traced, or has nothing to prune.
    """
    graph = keep_removable(model, trace(model, example_inputs, settings.ignore), example_inputs)
    return _without_single_choices(graph, settings.round_to)


def _without_single_choices(graph: NetworkGraph, round_to: int | str | None) -> NetworkGraph:
    """Drop groups that rounding leaves no choice.

    Raises:
        GraphError: no group is left.
    """
    unprunable = dict(graph.unprunable)
    groups = []
    for group in graph.groups:
        if len(channel_choices(group.units, round_to)) > 1:
            groups.append(group)
            continue
        reason = f"has {group.units} channels to choose from, too few for round_to={round_to}"
        unprunable.update({member.module: reason for member in group.members if member.side is not Side.IN})
    if not groups:
        raise nothing_to_prune(unprunable)
    return replace(graph, groups=tuple(groups), unprunable=unprunable)


def _layer(group: ChannelGroup, graph: NetworkGraph, model: nn.Module, round_to: int | str | None) -> Layer:
    """Describe a group by the first layer that reads it."""
    name = min((member.module for member in group.at(Side.IN)), key=lambda name: graph.calls[name].order)
    module, call = model.get_submodule(name), graph.calls[name]
    choices = channel_choices(group.units, round_to)
    return describe(name, module, call, choices, multiply_accumulates(module, call))
