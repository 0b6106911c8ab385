"""Which channels go together, found by experiment: NaN is put into channels and looked for where they are read.

This needs no graph, so it works for any code, whatever views, permutations and loops lie between a layer that writes
channels and those that read them. NaN survives arithmetic, and spreads to all that depends on a channel.

A layer's channels are numbered in digits. For every digit and every value of it a forward pass marks the channels that
have that value there. A channel that a reader reads has, for every digit, the value under which its mark arrived. Where
several arrive, for more than one value of a digit, all channels that fit the other digits are taken to be read
together: more may be tied than has to be, never less. A layer with n channels takes about 2 log2(n) forward passes. The
passes of the first digit show who reads at all, so that the others end behind the last of them.

What is read together is mostly regular: a head of an attention reads the same run of channels in each of three thirds.
It is found exactly if the runs and their numbers are made of whole digits, so the bases of the digits are the factors
of n; where more than one channel is read, further orders of them are tried.
"""

from collections.abc import Mapping
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from envs.engine.network.calls import Call, Inputs, forward
from envs.engine.network.channels import ChannelDim, ChannelTies, Side
from envs.engine.network.time_limit import TimeIsUp
from envs.engine.tracing.nan_marks import NanProbe, nan_probe

SMALL_PRIMES = (7, 5, 3, 2)


def count_passes(ties: ChannelTies) -> int:
    """Return how many forward passes :func:`tie_by_probing` takes at least."""
    widths = (width for (_, side), width in ties.widths.items() if side is Side.OUT)
    return sum(int(digit.max()) + 1 for width in widths for digit in numberings(width)[0])


def numberings(width: int) -> list[list[Tensor]]:
    """Return ways to number channels: for each its digits, every one of shape ``(width,)``.

    The first fits runs of a power of two, as heads of 64 channels in each of three thirds; the second such runs in two
    halves; the third runs that three divides.
    """
    twos, odds, rest = _factors(width)
    orders = [twos + odds, twos[1:] + odds + twos[:1], odds[-1:] + twos + odds[:-1]]
    distinct = [order for number, order in enumerate(orders) if order not in orders[:number]]
    return [_digits(width, order, rest) for order in distinct]


def _factors(width: int) -> tuple[list[int], list[int], int]:
    """Return a number's factors of two, its other small ones in falling order, and what remains."""
    factors: list[int] = []
    for base in SMALL_PRIMES:
        while width % base == 0:
            factors.append(base)
            width //= base
    odds = [base for base in factors if base != 2]
    return factors[len(odds) :], odds, width


def _digits(width: int, bases: list[int], rest: int) -> list[Tensor]:
    numbers, digits = torch.arange(width), []
    for base in bases:
        digits.append(numbers % base)
        numbers = numbers // base
    # What has no small factor is numbered in binary.
    return digits + [numbers >> bit & 1 for bit in range((rest - 1).bit_length())] or [numbers]


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
        TimeIsUp: it would take longer, by the time of an unmarked pass.
    """
    sources = [dim for dim in ties.widths if dim[1] is Side.OUT]
    # Fused attention turns some rows of NaN into zeros.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), nan_probe(model, inputs, calls) as probe:
        started = perf_counter()
        forward(model, inputs)
        if (perf_counter() - started) * count_passes(ties) > seconds:
            raise TimeIsUp
        for source in sorted(sources, key=lambda dim: calls[dim[0]].order):
            _tie_readers(ties, source, model, inputs, calls, probe)


def _tie_readers(
    ties: ChannelTies,
    source: ChannelDim,
    model: nn.Module,
    inputs: Inputs,
    calls: Mapping[str, Call],
    probe: NanProbe,
) -> None:
    fits: dict[ChannelDim, Tensor] = {}
    reached, stops = False, set()
    probe.source, probe.last = source[0], ""
    for digits in numberings(ties.widths[source]):
        for digit in digits:
            passes = []
            for value in range(int(digit.max()) + 1):
                reached = probe.run(model, inputs, digit == value) or reached
                stops.update(probe.stops)
                passes.append(probe.seen)
            for dim in set().union(*passes):
                nothing = torch.zeros(ties.widths[dim], dtype=torch.bool)
                fit = torch.stack([seen.get(dim, nothing) for seen in passes])[digit]
                fits[dim] = fits[dim] & fit if dim in fits else fit
            probe.last = probe.last or _last_reader(fits, calls, probe)
        if reached or stops or all(int(fit.sum(0).max()) <= 1 for fit in fits.values()):
            break  # nothing more to find out: the channels stay anyway, or no reader mixes them
    for dim, fit in fits.items():
        for index in fit.any(0).nonzero().flatten().tolist():
            ties.tie([(source, channel) for channel in fit[:, index].nonzero().flatten().tolist()] + [(dim, index)])
    for name in sorted(stops):
        ties.freeze(
            source, f"is coupled to {name} ({type(model.get_submodule(name)).__name__}), which cannot be made smaller"
        )
    if reached:
        ties.freeze(source, "is an output of the network")


def _last_reader(fits: Mapping[ChannelDim, Tensor], calls: Mapping[str, Call], probe: NanProbe) -> str:
    """Return the last layer that reads; none where one may read more than once."""
    readers = {name for name, _ in fits}
    return max(readers, key=lambda name: calls[name].order, default="") if readers <= probe.recorded else ""
