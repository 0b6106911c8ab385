"""Additions inside of a network that layers' outputs go into: where the blocks of residual networks end."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from envs.engine.repair.compensating.output_paths import is_sum_of_two


class Sums(TorchFunctionMode):
    """Tells of the additions that layers' outputs go into."""

    def __init__(self, before: Callable[[str, Tensor, Tensor], None], after: Callable[[str, Tensor], None]) -> None:
        """Take what to call before an addition with the layer and both terms, and after it with layer and sum."""
        super().__init__()
        self._before, self._after = before, after
        self._waiting: dict[int, tuple[str, Tensor]] = {}

    def expect(self, layer: str, output: Tensor) -> None:
        """Wait for the addition of an output."""
        self._waiting[id(output)] = (layer, output)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if not self._waiting or not is_sum_of_two(func, args, kwargs):
            return func(*args, **kwargs)
        found = [self._waiting.pop(id(term), None) for term in args]
        for entry, other in zip(found, reversed(args), strict=True):
            if entry is not None:
                self._before(*entry, other)
        total = func(*args)
        for entry in found:
            if entry is not None:
                self._after(entry[0], total)
        return total
