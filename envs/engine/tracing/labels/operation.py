"""An operation on tensors of which some have labels."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from envs.engine.tracing.labels.label_tensors import Pairs


class Operation(NamedTuple):
    """An operation on tensors of which some have labels.

    Attributes:
        args: its arguments, with labels in the places of tensors of values, ``None`` where these have none.
        values: the arguments as they are.
        kwargs: the arguments by name.
        shapes: of its outputs.
        pairs: what it ties.
    """

    func: Any
    args: tuple[Any, ...]
    values: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: list[torch.Size]
    pairs: Pairs

    def argument(self, name: str, otherwise: Any = None) -> Any:  # noqa: ANN401  an argument of any operator
        """Return an argument by its name."""
        if name in self.kwargs:
            return self.kwargs[name]
        names = [argument.name for argument in self.func._schema.arguments]
        number = names.index(name) if name in names else len(self.values)
        return self.values[number] if number < len(self.values) else otherwise

    @property
    def labels(self) -> list[Tensor]:
        """The labels of all arguments that have some."""
        return list(_flat(self.args))


def _flat(values: Any) -> Iterator[Tensor]:  # noqa: ANN401
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _flat(value)


def is_float(value: Any) -> bool:  # noqa: ANN401  an output of any operator
    """Whether a value can carry labels: numbers that say where, such as those of a maximum, carry none."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def outputs_of(outputs: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return the outputs of an operator one by one."""
    return outputs if isinstance(outputs, list | tuple) else [outputs]
