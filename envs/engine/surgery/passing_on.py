"""Residual blocks that went altogether: what stands in their place hands on what it is given, times a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Passed:
    """What stands where a residual block was.

    Attributes:
        scale: that what the block read is multiplied by, as ``envs.engine.repair.block_scale`` finds it.
        values: how many values the block returned, the sum first and ``None`` for the others; 0 for the sum by itself.
    """

    scale: float = 1.0
    values: int = 0


class PassedOn(nn.Module):
    """Returns the first tensor that it is called with, times a number, in the form in which a block returned it.

    It has no weights, and the plain attributes of the block: code around blocks may ask for them.
    """

    def __init__(self, block: nn.Module, passed: Passed) -> None:
        super().__init__()
        vars(self).update({name: value for name, value in vars(block).items() if not name.startswith("_")})
        self.passed = passed

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  whatever the block was called with
        """Hand on what a block would have added to."""
        stream = stream_of(args, kwargs)
        if stream is not None and self.passed.scale != 1:
            stream = stream * self.passed.scale
        return (stream, *[None] * (self.passed.values - 1)) if self.passed.values else stream


def stream_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return what a residual block adds to: the first tensor that it is called with; ``None`` where there is none."""
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)


def pass_on(model: nn.Module, blocks: Mapping[str, Passed]) -> None:
    """Take residual blocks out of a network, in place.

    Args:
        model: the network.
        blocks: what stands in their places, by module.

    Raises:
        ValueError: the network has no such module.
    """
    modules = dict(model.named_modules())
    for name, passed in blocks.items():
        if not name or name not in modules:
            raise ValueError(f"no block {name} that could go")
        parent, _, child = name.rpartition(".")
        modules[parent].register_module(child, PassedOn(modules[name], passed))


def passed_of(model: nn.Module) -> dict[str, Passed]:
    """Return what stands where blocks were, by module."""
    return {name: module.passed for name, module in model.named_modules() if isinstance(module, PassedOn)}
