"""How much memory there is, and whether a search fits into it: asked before it starts, not when it is killed."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from amc.errors import ConfigError
from envs.engine.network.modules import is_reconstructible

GROUPS = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""Version 1 of control groups says so with the largest number of pages."""
GRAM_COPIES = 2
"""A Gram matrix and its Cholesky factor."""


class Demand(NamedTuple):
    """What a part of a search holds in memory.

    Attributes:
        key: what to change, with its value, such as ``data.search=200000``.
        size: bytes.
        what: it is, in words.
        on_device: whether networks' device holds it; the machine else.
    """

    key: str
    size: int
    what: str
    on_device: bool = False


def check_memory(demands: list[Demand], device: torch.device) -> None:
    """Refuse what would not fit into the machine's memory, or into that of the device that networks run on.

    Args:
        demands: all that is held at once.
        device: that networks run on.

    Raises:
        ConfigError: it does not fit; the message names the largest part and its key.
    """
    if device.type != "cuda":
        check_fits(demands, available_memory())
        return
    check_fits([demand for demand in demands if not demand.on_device], available_memory())
    free, _ = torch.cuda.mem_get_info(device)
    # What torch holds and does not use can be had as well.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    check_fits([demand for demand in demands if demand.on_device], free, f" on {device}")


def check_fits(demands: list[Demand], there: int | None, where: str = "") -> None:
    """Refuse demands that are larger together than what is there, if that is known.

    Raises:
        ConfigError: they are.
    """
    needed = sum(demand.size for demand in demands)
    if there is None or needed <= there:
        return
    largest = max(demands, key=lambda demand: demand.size)
    raise ConfigError(
        f"{largest.key}: {_gigabytes(needed)} of memory would be needed, {_gigabytes(largest.size)} of it for "
        f"{largest.what}, and {_gigabytes(there)} are there{where}: lower {largest.key.partition('=')[0]}"
    )


def gram_bytes(network: nn.Module) -> int:
    """Return what the Gram matrices of a network's layers take, which repair by least squares holds, in float64."""
    total = 0
    for module in network.modules():
        if is_reconstructible(module):
            weight = module.get_parameter("weight")
            blocks: int = getattr(module, "groups", 1)
            total += GRAM_COPIES * 8 * blocks * weight[0].numel() ** 2
    return total


def available_memory() -> int | None:
    """Return how many bytes this process may still take, by control group and machine; ``None`` if unknown."""
    limits = [limit for limit in (_machine(), *map(_left_in, _groups())) if limit is not None]
    return min(limits, default=None)


def _machine() -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _groups() -> list[Path]:
    """Return the folders of the control groups that limit this process, of either version, its own and those above."""
    found = [GROUPS, GROUPS / "memory"]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                own = GROUPS / controllers / path.lstrip("/")
                found += [folder for folder in (own, *own.parents) if folder.is_relative_to(GROUPS)]
    return found


def _left_in(group: Path) -> int | None:
    """Return the bytes that are left in a control group; pages of files, which can be dropped, count as free."""
    for limit_name, used_name, droppable in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            limit, used = (int((group / name).read_text()) for name in (limit_name, used_name))
            if limit < UNLIMITED:
                return max(0, limit - used + _statistics(group).get(droppable, 0))
    return None


def _statistics(group: Path) -> Mapping[str, int]:
    lines = (group / "memory.stat").read_text().splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.3g} GB"
