"""Which channels go together, found by experiment: NaN is put into channels and looked for where they are read.

This needs no graph, so it works for any code, whatever views, permutations and loops lie between a layer that writes
channels and those that read them. NaN survives arithmetic, and spreads to all that depends on a channel.

First all channels of one layer are marked at a time, which says who reads it, and which layers keep their channels as
they reach the network's output or something that cannot be made smaller. Those of the others are numbered in digits:
for every digit and every value of it a sample marks the channels that have that value there. A channel that a reader
reads has, for every digit, the value under which its mark arrived. All layers are marked in the same samples. Where two
are read by one channel of a reader and number i of both is meant, as behind an addition, nothing is lost by that. Where
several values of a digit arrive, the layers in question are marked again, in samples that no other layer with the same
reader marks, and all channels that fit the other digits are taken to be read together: more may be tied than has to be,
never less. A layer with n channels takes about 2 log2(n) samples, and so does a network.

What is read together is mostly regular: a head of an attention reads the same run of channels in each of three thirds.
It is found exactly if the runs and their numbers are made of whole digits, so the bases of the digits are the factors
of n; where more than one channel is read, further orders of them are tried.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import thread_time
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from envs.engine.network.calls import Call, Inputs
from envs.engine.network.channels import ChannelDim, ChannelTies, Side
from envs.engine.network.modules import reader_of
from envs.engine.network.time_limit import TimeIsUp
from envs.engine.tracing.attention_marks import MarksThroughAttention
from envs.engine.tracing.digits import ORDERS, DigitMarks
from envs.engine.tracing.nan_marks import NanProbe, Seen
from envs.engine.tracing.replay import nan_probe


class _Reads(NamedTuple):
    """Who reads which layer: by layer and channel dimension the channels that depend on it, bool."""

    by_source: dict[str, dict[ChannelDim, Tensor]]

    def shared(self, source: str, other: str) -> bool:
        """Whether both layers are read by one dimension."""
        return bool(self.by_source[source].keys() & self.by_source[other].keys())

    def mixed(self, source: str, other: str) -> bool:
        """Whether a channel of a reader depends on both."""
        first, second = self.by_source[source], self.by_source[other]
        return any(bool((first[dim] & second[dim]).any()) for dim in first.keys() & second.keys())


def tie_by_probing(
    ties: ChannelTies, model: nn.Module, inputs: Inputs, calls: Mapping[str, Call], seconds: float
) -> None:
    """Tie channels that are read together, in place.

    Args:
        ties: the channels of all dimensions.
        model: the network in eval mode.
        inputs: its example input.
        calls: how its modules are called on it.
        seconds: how long it may take.

    Raises:
        TimeIsUp: it takes longer.
    """
    leaving = (dim for dim in ties.widths if dim[1] is Side.OUT and not reader_of(dim[0], model.get_submodule(dim[0])))
    widths = {dim[0]: ties.widths[dim] for dim in leaving}
    sources = sorted(widths, key=lambda name: calls[name].order)
    end = thread_time() + seconds

    def check_time() -> None:
        if thread_time() > end:
            raise TimeIsUp

    # Fused attention turns some rows of NaN into zeros, also where it is called from inside of torch's own functions.
    attention = sdpa_kernel(SDPBackend.MATH), MarksThroughAttention()
    with torch.no_grad(), attention[0], attention[1], nan_probe(model, inputs, calls) as probe:
        whole = probe.run([{name: torch.ones(widths[name], dtype=torch.bool)} for name in sources], between=check_time)
        reads = _Reads({name: _row(whole, number) for number, name in enumerate(sources)})
        kept = {name for number, name in enumerate(sources) if _keep(ties, name, number, whole, reads, model)}
        search = _Search(ties, widths, reads, calls, probe, check_time)
        unclear = search.mark_together([name for name in sources if name not in kept])
        search.mark_apart(unclear)


@dataclass(frozen=True)
class _Search:
    """Finds which channels of layers their readers read."""

    ties: ChannelTies
    widths: Mapping[str, int]
    reads: _Reads
    calls: Mapping[str, Call]
    probe: NanProbe
    between: Callable[[], None]

    def mark_together(self, sources: Sequence[str]) -> list[str]:
        """Mark layers in the same samples, tie what is clear, and return the layers for which it is not."""

        def apart(one: str, other: str) -> bool:
            return self.widths[one] != self.widths[other] and self.reads.mixed(one, other)

        unclear = []
        for together in self._divided(sources, apart):
            marks = {name: DigitMarks(self.widths[name], 1) for name in together}
            seen = self._run(marks)
            unclear += [name for name in together if not self._tie_single(name, marks[name], seen)]
        return unclear

    def mark_apart(self, sources: Sequence[str]) -> None:
        """Mark layers in different samples where they have a reader in common, and tie all that may go together."""
        for together in self._divided(sources, self.reads.shared):
            marks = {name: DigitMarks(self.widths[name], ORDERS) for name in together}
            seen = self._run(marks)
            for name in together:
                self._tie_all(name, marks[name], seen)

    def _divided(self, sources: Sequence[str], apart: Callable[[str, str], bool]) -> list[list[str]]:
        """Divide layers into sets in which no two have to be kept apart."""
        sets: list[list[str]] = []
        for name in sources:
            alike = (names for names in sets if self.probe.tells_apart(names[0]) == self.probe.tells_apart(name))
            fitting = next((names for names in alike if not any(apart(name, other) for other in names)), None)
            if fitting is None:
                sets.append([name])
            else:
                fitting.append(name)
        return sets

    def _run(self, marks: Mapping[str, DigitMarks]) -> Seen:
        samples: list[dict[str, Tensor]] = []
        for name, digits in marks.items():
            for number, channels in enumerate(digits.marks()):
                if number == len(samples):
                    samples.append({})
                samples[number][name] = channels
        return self.probe.run(samples, self._last_reader(marks), self.between)

    def _last_reader(self, sources: Iterable[str]) -> str:
        """Return the last layer that reads; none where one may read more than once."""
        readers = {name for source in sources for name, _ in self.reads.by_source[source]}
        replayed = readers <= self.probe.replayed
        return max(readers, key=lambda name: self.calls[name].order, default="") if replayed else ""

    def _seen_by_readers(self, source: str, seen: Seen) -> Iterator[tuple[ChannelDim, Tensor, Tensor]]:
        """Yield dimensions, their channels that depend on a layer, and what these saw, ``(samples, channels)``."""
        for dim, depends in self.reads.by_source[source].items():
            channels = depends.nonzero().flatten()
            rows = seen.reads.get(dim, torch.zeros(seen.samples, len(depends), dtype=torch.bool))
            yield dim, channels, rows[:, channels]

    def _tie_single(self, source: str, marks: DigitMarks, seen: Seen) -> bool:
        """Tie what is read by itself, and return whether all is."""
        found = []
        for dim, channels, rows in self._seen_by_readers(source, seen):
            one, single = marks.single(rows)
            if not bool(single.all()):
                return False
            found.append((dim, channels.tolist(), one.tolist()))
        for dim, indices, ones in found:
            for channel, index in zip(ones, indices, strict=True):
                self.ties.tie([((source, Side.OUT), channel), (dim, index)])
        return True

    def _tie_all(self, source: str, marks: DigitMarks, seen: Seen) -> None:
        for dim, channels, rows in self._seen_by_readers(source, seen):
            fits = marks.fits(rows)
            fits[:, ~fits.any(0)] = True  # marks got lost on the way: any may be read
            kinds, kind = fits.unique(dim=1, return_inverse=True)
            for number, fit in enumerate(kinds.T):
                read = channels[kind == number].tolist()
                written = fit.nonzero().flatten().tolist()
                self.ties.tie([((source, Side.OUT), channel) for channel in written] + [(dim, i) for i in read])


def _row(seen: Seen, number: int) -> dict[ChannelDim, Tensor]:
    return {dim: rows[number] for dim, rows in seen.reads.items() if bool(rows[number].any())}


def _keep(ties: ChannelTies, source: str, number: int, seen: Seen, reads: _Reads, model: nn.Module) -> bool:
    """Freeze a layer whose marks get somewhere where channels cannot go, with all that reads it; return whether."""
    dim = (source, Side.OUT)
    stops = sorted(name for name, rows in seen.stops.items() if bool(rows[number]))
    for name in stops:
        kind = type(model.get_submodule(name)).__name__
        ties.freeze(ties.numbers(dim), f"is coupled to {name} ({kind}), which cannot be made smaller")
    if bool(seen.reached[number]):
        ties.freeze(ties.numbers(dim), "is an output of the network")
    elif not stops:
        return False
    for reading, depends in reads.by_source[source].items():
        ties.tie([(dim, 0), *((reading, index) for index in depends.nonzero().flatten().tolist())])
    ties.tie([(dim, index) for index in range(ties.widths[dim])])
    return True
