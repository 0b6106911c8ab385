"""Hooks on modules that are there for one block of code, and gone behind it whatever happens inside."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Remove hooks at the end of the block.

    Args:
        handles: what registering the hooks returns, best as a generator: it is run inside the block, so that an error
            on the way takes away the hooks that were registered before it.
    """
    registered: list[RemovableHandle] = []
    try:
        registered.extend(handles)
        yield
    finally:
        for handle in registered:
            handle.remove()
