"""Which channels go together, found by experiment: NaN is put into channels and looked for where they are read.

This needs no graph, so it works for any code, whatever views, permutations and loops lie between a layer that writes
channels and those that read them. NaN survives arithmetic, and spreads to all that a channel has a say in.

A layer's channels are numbered in binary. For every digit two forward passes mark the channels that have a one there,
and those that have a zero. A channel that a reader reads has, for every digit, the value under which its mark
arrived. Where several arrive, for both values of a digit, all channels that fit the other digits are taken to be read
together: more may be tied than has to be, never less. A layer with n channels takes 2 log2(n) forward passes. The
first two show who reads at all, so that the others end behind the last of them.
"""

from collections.abc import Mapping
from time import perf_counter

import torch
from torch import Tensor, nn

from envs.engine.calls import Call, Inputs, forward
from envs.engine.channels import ChannelTies, Place, Side
from envs.engine.deadline import TimeIsUp
from envs.engine.marking import Probe, probed


def count_passes(ties: ChannelTies) -> int:
    """Return how many forward passes :func:`tie_by_probing` takes."""
    return sum(2 * _digits(width) for (_, side), width in ties.widths.items() if side is Side.OUT)


def _digits(width: int) -> int:
    return max(1, (width - 1).bit_length())


def tie_by_probing(
    ties: ChannelTies, model: nn.Module, inputs: Inputs, calls: Mapping[str, Call], seconds: float
) -> None:
    """Tie channels that are read together, in place.

    Args:
        ties: the channels of all places.
        model: the network in eval mode.
        inputs: its example input.
        calls: how its modules are called on it.
        seconds: how long it may take.

    Raises:
        TimeIsUp: it would take longer, by the time of an unmarked pass.
    """
    sources = [place for place in ties.widths if place[1] is Side.OUT]
    with torch.no_grad(), probed(model, inputs, calls) as probe:
        started = perf_counter()
        forward(model, inputs)
        if (perf_counter() - started) * count_passes(ties) > seconds:
            raise TimeIsUp
        for source in sorted(sources, key=lambda place: calls[place[0]].order):
            _tie_readers(ties, source, model, inputs, calls, probe)


def _tie_readers(
    ties: ChannelTies,
    source: Place,
    model: nn.Module,
    inputs: Inputs,
    calls: Mapping[str, Call],
    probe: Probe,
) -> None:
    width = ties.widths[source]
    numbers = torch.arange(width)
    fits: dict[Place, Tensor] = {}
    reached, stops = False, set()
    probe.source, probe.last = source[0], ""
    for digit in range(_digits(width)):
        ones = (numbers >> digit & 1).bool()
        passes = []
        for channels in (ones, ~ones):
            reached = probe.run(model, inputs, channels) or reached
            stops.update(probe.stops)
            passes.append(probe.seen)
        for place in passes[0].keys() | passes[1].keys():
            nothing = torch.zeros(ties.widths[place], dtype=torch.bool)
            one, zero = (seen.get(place, nothing) for seen in passes)
            fit = torch.where(ones.unsqueeze(1), one, zero)
            fits[place] = fits[place] & fit if place in fits else fit
        probe.last = probe.last or _last_reader(fits, calls, probe)
    for place, fit in fits.items():
        for index in fit.any(0).nonzero().flatten().tolist():
            ties.tie([(source, channel) for channel in fit[:, index].nonzero().flatten().tolist()] + [(place, index)])
    for name in sorted(stops):
        ties.freeze(
            source, f"is coupled to {name} ({type(model.get_submodule(name)).__name__}), which cannot be made smaller"
        )
    if reached:
        ties.freeze(source, "is an output of the network")


def _last_reader(fits: Mapping[Place, Tensor], calls: Mapping[str, Call], probe: Probe) -> str:
    """Return the last layer that reads; none where one may read more than once."""
    readers = {name for name, _ in fits}
    return max(readers, key=lambda name: calls[name].order, default="") if readers <= probe.recorded else ""
