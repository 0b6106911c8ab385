"""Hooks on modules that are there for one block of code, and gone behind it whatever happens inside."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
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


def around(
    model: nn.Module,
    names: Sequence[str],
    before: Callable[[str, tuple[Any, ...], dict[str, Any]], None],
    after: Callable[[str, Any], None],
) -> Iterator[RemovableHandle]:
    """Have the calls of some modules be heard of.

    Args:
        model: that they are in.
        names: of the modules.
        before: told a module's name, arguments and arguments by name.
        after: told its name, and what it returned.

    Returns:
        Handles of hooks, see ``hooked``.
    """
    for name in names:
        module = model.get_submodule(name)
        yield module.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: before(name, args, kwargs), with_kwargs=True
        )
        yield module.register_forward_hook(lambda _, __, output, name=name: after(name, output))
