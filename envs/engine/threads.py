"""How many threads torch computes with, for one block of code."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Have torch compute with ``number`` threads inside the block, and with as many as before behind it.

    The setting belongs to the process: threads started inside the block inherit it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_a_core_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what ``work`` makes of every item, as many of them side by side as torch is set to use threads.

    Every item is worked on by one thread of torch, so that what comes out does not depend on how many there are.
    """
    workers = min(torch.get_num_threads(), len(items))
    # Threads started in the block use one core: torch hands its setting on to them.
    with torch_threads(1), ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))
