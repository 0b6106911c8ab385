"""The search for channel groups that are at fault, and for what makes them right."""

from collections.abc import Sequence
from dataclasses import replace
from time import thread_time

from torch import nn

from envs.engine.costs.likeness import Likeness, likeness
from envs.engine.network.calls import Inputs
from envs.engine.network.channels import ChannelGroup, Count
from envs.engine.pruners.removal import SEEDS, Fault, removal_fault
from envs.engine.surgery.full_width import can_keep_width
from envs.engine.surgery.head_counts import candidate_counts

MOST_FAULTS, MOST_SUSPECTS = 3, 4
COUNT_SECONDS = 60.0
"""How long is looked for numbers that have to follow; groups not reached by then are unprunable."""


class FaultSearch:
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
        self._end = thread_time() + COUNT_SECONDS

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
        alone = self._all_faults(self._open, fault)
        before = dict(self.groups)
        for number, its in alone.items() or [self._first(fault)]:
            if number in self._open and self.groups[number] is before[number]:  # not made right by one like it
                self._resolve(number, its)

    def _all_faults(self, numbers: Sequence[int], like: Fault) -> dict[int, Fault]:
        """Return what is wrong with single groups; of what fails, halves are tried, and their halves."""
        fault = self._fault(numbers, like)
        if fault is None or len(numbers) < 2:
            return {} if fault is None else dict.fromkeys(numbers, fault)
        middle = len(numbers) // 2
        return self._all_faults(numbers[:middle], like) | self._all_faults(numbers[middle:], like)

    def _fault(self, numbers: Sequence[int], like: Fault) -> Fault | None:
        """Return what is wrong with groups, as far as it shows where another fault does."""
        groups = [self.groups[number] for number in numbers]
        return removal_fault(self._model, groups, self._inputs, (like.seed,), (like.stage,))

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
            found = {other: self._fault([other], fault) for other in alike}
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

    def _first(self, fault: Fault) -> tuple[int, Fault]:
        """Return a group that fails by itself where the fault is, or the first that fails in company of those before.

        The latter is found by halving.
        """
        numbers = self._open
        for number in self._suspects(fault.where):
            alone = self._fault([number], fault)
            if alone is not None:
                return number, alone
        sound, failing = 0, len(numbers)
        while failing - sound > 1:
            middle = (sound + failing) // 2
            found = self._fault(numbers[:middle], fault)
            if found is None:
                sound = middle
            else:
                failing, fault = middle, found
        return numbers[failing - 1], fault

    def _suspects(self, where: str) -> list[int]:
        """Return the groups with a layer in the module that failed, or beside it where it is a layer."""
        if not where:
            return []
        holder = where if any(True for _ in self._model.get_submodule(where).children()) else where.rpartition(".")[0]
        inside = f"{holder}." if holder else where
        found = [
            number
            for number in self._open
            if any(member.module == where or member.module.startswith(inside) for member in self.groups[number].members)
        ]
        return found[:MOST_SUSPECTS]

    def _counts(self, group: ChannelGroup) -> tuple[Count, ...] | None:
        """Return numbers with which a group can be removed, ``None`` where none are found."""
        # What helped a group most likely helps the next one.
        candidates = sorted(candidate_counts(self._model, group), key=lambda counts: _attributes(counts) != self._named)
        for counts in candidates:
            if thread_time() > self._end:
                return None
            if removal_fault(self._model, [replace(group, counts=counts)], self._inputs, SEEDS[:1]) is None:
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
