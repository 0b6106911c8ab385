"""Whole numbers that a network's own code goes by, such as an attention's ``num_heads``, and that shrink with a group.

Code may write down how many heads there are, or how wide they are together, and shape its tensors by that. No tensor
tells of it, so which numbers have to follow is found by experiment: those that stand, around the layers of a group,
for its units or for channels of theirs are made smaller, few of them first, until the smaller network does what it
should (:mod:`envs.engine.pruners.verification`).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, takewhile

from torch import Tensor, nn

from envs.engine.network.channels import ChannelGroup, Count, Side

RECORD = "_amc_counts"
MOST_CANDIDATES, MOST_TOGETHER = 5, 3


def candidate_counts(model: nn.Module, group: ChannelGroup) -> Iterator[tuple[Count, ...]]:
    """Yield sets of numbers that may stand for the units of a group, the smallest first.

    Looked at are the modules around those that write the group's channels, out to the one that holds all that
    read and write them.

    Args:
        model: the network.
        group: the channels that go together.
    """
    widths = {1, *(member.multiplicity for member in group.members)}
    found = [
        Count(name, attribute, value // group.units)
        for name in _around(group)
        for attribute, value in _whole_numbers(model.get_submodule(name)).items()
        if value % group.units == 0 and value // group.units in widths
    ][:MOST_CANDIDATES]
    for size in range(1, MOST_TOGETHER + 1):
        yield from combinations(found, size)


def _around(group: ChannelGroup) -> list[str]:
    """Return the modules around a group's layers, from the inside out; never the layers themselves."""
    paths = [member.module.split(".")[:-1] for member in group.members]
    levels = (set(names) for names in zip(*paths, strict=False))
    shared = sum(1 for _ in takewhile(lambda names: len(names) == 1, levels))
    inside = {
        ".".join(path[:depth])
        for path, member in zip(paths, group.members, strict=True)
        if member.side is not Side.IN
        for depth in range(shared, len(path) + 1)
    }
    return sorted(inside, key=lambda name: (-len(name), name))


def _whole_numbers(module: nn.Module) -> dict[str, int]:
    numbers = {name: value for name, value in vars(module).items() if isinstance(value, int)}
    return {name: value for name, value in numbers.items() if not isinstance(value, bool)}


def kept_counts(groups: Sequence[ChannelGroup], kept: Sequence[Tensor]) -> dict[str, int]:
    """Return the numbers of the smaller network.

    Args:
        groups: the network's channel groups.
        kept: for every group which of its units stay, bool, shape ``(units,)``.

    Returns:
        Values by module and attribute, as in ``blocks.0.attention.num_heads``.
    """
    return {
        count.path: count.per_unit * int(units.sum())
        for group, units in zip(groups, kept, strict=True)
        for count in group.counts
    }


def set_counts(model: nn.Module, counts: Mapping[str, int]) -> None:
    """Set the numbers of a smaller network in place; :func:`counts_of` tells of them.

    Args:
        model: a network whose layers are small already.
        counts: new values by module and attribute.

    Raises:
        ValueError: the network has no such number, or a smaller one.
    """
    if not counts:
        return
    modules = dict(model.named_modules())
    for path, value in counts.items():
        name, _, attribute = path.rpartition(".")
        old = _whole_numbers(modules[name]).get(attribute) if name in modules else None
        if old is None or not 1 <= value <= old:
            raise ValueError(f"{path}={value} is not cut from {old}")
        setattr(modules[name], attribute, value)
    setattr(model, RECORD, {**counts_of(model), **counts})


def counts_of(model: nn.Module) -> dict[str, int]:
    """Return the numbers in which a pruned network differs from the dense one, by module and attribute."""
    modules = {name for name, _ in model.named_modules()}  # those of a block that went after it are gone
    return {path: value for path, value in getattr(model, RECORD, {}).items() if path.rpartition(".")[0] in modules}
