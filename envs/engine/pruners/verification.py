"""Verification of channel groups: those stay whose removal does what the graph says.

All groups are tried at once, which most networks pass. Of what fails, the first group is found by halving; numbers that
its network's code goes by may have to follow (:mod:`envs.engine.surgery.head_counts`), or the tensors between its
layers keep their width (:mod:`envs.engine.surgery.full_width`). What holds for one block of a network is tried on all
blocks like it before the next fault is looked for.
"""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from torch import nn

from envs.engine.costs.functional_flops import with_functional_flops
from envs.engine.costs.likeness import Likeness, likeness
from envs.engine.errors import GraphError
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup, Count, Side
from envs.engine.network.isolation import random_state_kept
from envs.engine.pruners.noisy_network import with_noise
from envs.engine.pruners.removal import Fault, removal_fault
from envs.engine.surgery.full_width import can_keep_width
from envs.engine.surgery.head_counts import candidate_counts
from envs.engine.tracing.graph import NetworkGraph, group_by_nan_probing
from envs.engine.tracing.torch_pruning_graph import STUCK_TO_PARAMETER

FAR_LESS, MOST_FAULTS = 0.5, 3
COUNT_SECONDS = 60.0
"""How long is looked for numbers that have to follow; groups not reached by then are unprunable."""


def keep_removable(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop the groups whose removal does not do what the graph says, and list their producers as unprunable.

    If a group of torch-pruning's graph is at fault, the network is probed, and the graph that leaves more to prune is
    taken.

    Raises:
        GraphError: the network fails on the way.
    """
    with random_state_kept():
        noisy, example = with_noise(model, inputs)
        if STUCK_TO_PARAMETER in graph.unprunable.values():
            # Such as a table of what heads add to their scores; torch-pruning knows nothing of it.
            graph = max(graph, _probe(model, graph, inputs), key=_prunable)
        if removal_fault(noisy, graph.groups, example) is not None:
            found = graph if graph.from_nan_probing else _probe(model, graph, inputs)
            sound = _sound(noisy, found, example)
            # What torch-pruning found stands where probing leaves far less.
            if found is not graph and _prunable(sound) < FAR_LESS * _prunable(graph):
                sound = max(sound, _sound(noisy, graph, example), key=_prunable)
            # To what a module is coupled says more than what failed.
            coupled = {name: why for name, why in graph.unprunable.items() if why.startswith("is coupled")}
            known = {name: why for name, why in coupled.items() if name in sound.unprunable}
            graph = replace(sound, unprunable=sound.unprunable | known)
        return with_functional_flops(model, graph, inputs)


def _probe(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Return the graph that probing finds, or the one there is where the network cannot be probed."""
    try:
        probed = group_by_nan_probing(model, inputs, graph.calls, graph.flops, graph.ignore)
    except GraphError:
        return graph
    return replace(probed, folds=graph.folds)


def _prunable(graph: NetworkGraph) -> int:
    return sum(
        len(member.unit) - int((member.unit < 0).sum()) for group in graph.groups for member in group.at(Side.IN)
    )


def _sound(model: nn.Module, graph: NetworkGraph, inputs: Inputs) -> NetworkGraph:
    """Drop groups, and let numbers follow others, until those that are left pass together."""
    search = _Search(model, inputs, graph.groups)
    while search.left and (fault := removal_fault(model, search.left, inputs)) is not None:
        search.resolve(fault)
    unprunable = dict(graph.unprunable)
    for number, reason in search.faults.items():
        unprunable.update(
            {member.module: reason for member in graph.groups[number].members if member.side is not Side.IN}
        )
    return replace(graph, groups=tuple(search.left), unprunable=unprunable)


class _Search:
    """Looks for faulty groups, and for numbers that make them right.

    Attributes:
        groups: by number, with the numbers that follow.
        faults: what is wrong with groups that are left out.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, groups: Sequence[ChannelGroup]) -> None:
        self.groups = dict(enumerate(groups))
        self.faults: dict[int, str] = {}
        self._model, self._inputs = model, inputs
        self._like = [likeness(model, group) for group in groups]
        self._resolved: set[int] = set()
        self._named: tuple[str, ...] = ()
        self._without_remedy: set[Likeness] = set()
        self._end = perf_counter() + COUNT_SECONDS

    @property
    def left(self) -> list[ChannelGroup]:
        """The groups that are not left out, in order."""
        return [self.groups[number] for number in self._open]

    def resolve(self, fault: Fault) -> None:
        """Make the first of the groups that fail right, and all that are like it, or leave them out."""
        if len(self._without_remedy) < MOST_FAULTS:
            self._resolve(*self._first(fault))
            return
        # Many are at fault: all of them are found at once. If none is by itself, the first in company of others is.
        alone = self._all_faults(self._open, fault.seed)
        before = dict(self.groups)
        for number, its in alone.items() or [self._first(fault)]:
            if number in self._open and self.groups[number] is before[number]:  # not made right by one like it
                self._resolve(number, its)

    def _all_faults(self, numbers: Sequence[int], seed: int) -> dict[int, Fault]:
        """Return what is wrong with single groups; of what fails, halves are tried, and their halves."""
        fault = removal_fault(self._model, [self.groups[number] for number in numbers], self._inputs, (seed,))
        if fault is None or len(numbers) < 2:
            return {} if fault is None else dict.fromkeys(numbers, fault)
        middle = len(numbers) // 2
        return self._all_faults(numbers[:middle], seed) | self._all_faults(numbers[middle:], seed)

    def _resolve(self, number: int, fault: Fault) -> None:
        group = replace(self.groups[number], counts=())
        alike = [other for other in self._open if other != number and self._like[other] == self._like[number]]
        hopeless = self._like[number] in self._without_remedy
        counts = self._counts(group) if number not in self._resolved and not hopeless else None
        self._resolved.add(number)
        if counts is None and not hopeless and not self.groups[number].full_width and self._passes_wide(group):
            for each in (number, *alike):
                if can_keep_width(self._model, self.groups[each]):
                    self.groups[each] = replace(self.groups[each], counts=(), full_width=True)
            return
        if counts is None:
            self.faults[number] = fault.reason
            if hopeless:
                return
            self._without_remedy.add(self._like[number])
            found = {other: self._alone(other, fault.seed) for other in alike}
            self.faults.update({other: its.reason for other, its in found.items() if its is not None})
            return
        self.groups[number] = replace(group, counts=counts)
        for other in alike:
            its_counts = self._counts_named(self.groups[other], _attributes(counts))
            if its_counts is not None:
                self.groups[other] = replace(self.groups[other], counts=its_counts)

    @property
    def _open(self) -> list[int]:
        return [number for number in self.groups if number not in self.faults]

    def _alone(self, number: int, seed: int) -> Fault | None:
        return removal_fault(self._model, [self.groups[number]], self._inputs, (seed,))

    def _first(self, fault: Fault) -> tuple[int, Fault]:
        """Return the first group that fails in company of those before it, found by halving."""
        numbers = self._open
        sound, failing = 0, len(numbers)
        while failing - sound > 1:
            middle = (sound + failing) // 2
            groups = [self.groups[number] for number in numbers[:middle]]
            found = removal_fault(self._model, groups, self._inputs, (fault.seed,))
            if found is None:
                sound = middle
            else:
                failing, fault = middle, found
        return numbers[failing - 1], fault

    def _counts(self, group: ChannelGroup) -> tuple[Count, ...] | None:
        """Return numbers with which a group can be removed, ``None`` where none are found."""
        # What helped a group most likely helps the next one.
        candidates = sorted(candidate_counts(self._model, group), key=lambda counts: _attributes(counts) != self._named)
        for counts in candidates:
            if perf_counter() > self._end:
                return None
            if removal_fault(self._model, [replace(group, counts=counts)], self._inputs) is None:
                self._named = _attributes(counts)
                return counts
        return None

    def _passes_wide(self, group: ChannelGroup) -> bool:
        """Whether a group can be removed if tensors between its layers keep their width."""
        wide = [replace(group, full_width=True)]
        return can_keep_width(self._model, group) and removal_fault(self._model, wide, self._inputs) is None

    def _counts_named(self, group: ChannelGroup, attributes: Sequence[str]) -> tuple[Count, ...] | None:
        named = (counts for counts in candidate_counts(self._model, group) if _attributes(counts) == attributes)
        return next(named, None)


def _attributes(counts: Sequence[Count]) -> tuple[str, ...]:
    return tuple(count.attribute for count in counts)
