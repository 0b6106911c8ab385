"""How many threads torch computes with, for one block of code."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
