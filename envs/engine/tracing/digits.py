"""Numbers of channels in digits, whose bases are factors of their count, and the samples that mark channels by them."""

import torch
from torch import Tensor

SMALL_PRIMES, ORDERS = (7, 5, 3, 2), 3


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


class DigitMarks:
    """The samples in which one layer's channels are marked, by digit and value."""

    def __init__(self, width: int, orders: int) -> None:
        self.width = width
        self.digits = [digit for digits in numberings(width)[:orders] for digit in digits]
        self.bases = [int(digit.max()) + 1 for digit in self.digits]

    def marks(self) -> list[Tensor]:
        """Return the marked channels of every sample, bool, ``(width,)``."""
        return [digit == value for digit, base in zip(self.digits, self.bases, strict=True) for value in range(base)]

    def by_digit(self, rows: Tensor) -> list[Tensor]:
        """Cut the rows of what a reader saw, ``(samples, channels)``, into those of every digit."""
        return list(rows[: sum(self.bases)].split(self.bases))

    def fits(self, rows: Tensor) -> Tensor:
        """Return which channels of the layer fit what every channel of a reader saw, bool, ``(width, channels)``."""
        fit = torch.ones(self.width, rows.shape[1], dtype=torch.bool)
        for digit, seen in zip(self.digits, self.by_digit(rows), strict=True):
            fit &= seen[digit]
        return fit

    def single(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return for every channel of a reader the one channel that fits, and whether there is only one."""
        code, codes, one = torch.zeros(rows.shape[1]).long(), torch.zeros(self.width).long(), torch.tensor(True)
        for digit, base, seen in zip(self.digits, self.bases, self.by_digit(rows), strict=True):
            code, codes = code * base + seen.long().argmax(0), codes * base + digit
            one = one & (seen.sum(0) == 1)
        ordered, channels = codes.sort()
        place = torch.searchsorted(ordered, code).clamp_max(self.width - 1)
        return channels[place], one & (ordered[place] == code)
