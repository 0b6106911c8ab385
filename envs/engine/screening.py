"""What stands in the way of pruning and can be seen by running a network a few times."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from envs.engine.calls import Call, Inputs, batch_size, flatten_outputs, forward, map_tensors, record_calls
from envs.engine.errors import GraphError
from envs.engine.isolation import first_line

READS = ("aten._local_scalar_dense", "aten.is_nonzero", "aten.equal")
"""Operations by which Python code learns the value of a tensor."""
FACTORS = (-1.0, 100.0, 0.01)


@dataclass
class Values(TorchDispatchMode):
    """Records the tensor values that Python code reads, each with the module that reads it.

    Attributes:
        path: names of the modules being called, outermost first.
        read: (module, value) in order.
    """

    path: list[str] = field(default_factory=list)
    read: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if str(func).startswith(READS):
            self.read.append((self.path[-1], float(result)))
        return result


def screen(model: nn.Module, inputs: Inputs, ignore: Sequence[str] = ()) -> dict[str, Call]:
    """Run a network on its example input and on variations of it, and return how its modules are called.

    Args:
        model: the network, in eval mode.
        inputs: its example input.
        ignore: modules that stay whole; what these make of values is theirs.

    Raises:
        GraphError: the forward pass fails, gives no tensor or NaN, is random, or takes another path on other values.
    """
    values, calls, outputs = _observed(model, inputs)
    if not outputs:
        raise GraphError("the model returns no tensor on the example input: return tensors, in tuples, lists or dicts")
    if any(bool(output.isnan().any()) for output in outputs):
        raise GraphError("the model returns NaN on the example input: give an input like those it was trained on")
    _, _, again = _observed(model, inputs)
    if any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(outputs, again, strict=True)):
        raise GraphError("two forward passes in eval mode differ: make the model deterministic in eval mode")
    for other in _variations(inputs):
        try:
            read, called, _ = _observed(model, other)
        except GraphError:  # an input that the network does not accept says nothing about its path
            continue
        _check_same_path(calls, called, values, read, ignore)
    return calls


def count_flops(model: nn.Module, inputs: Inputs) -> float:
    """Return all multiply-accumulates of one sample, functional ones too."""
    # With gradients, as without them torch fuses whole transformer layers into one operation that is not counted.
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        forward(model, inputs)
    return counter.get_total_flops() / 2 / batch_size(inputs)


def _observed(model: nn.Module, inputs: Inputs) -> tuple[Values, dict[str, Call], list[Tensor]]:
    values = Values()
    try:
        with _followed(model, values.path), values:
            calls, outputs = record_calls(model, inputs)
    except Exception as error:  # whatever the user's forward raises
        name = values.path[-1] if values.path and values.path[-1] else type(model).__name__
        raise GraphError(f"the model fails on the example input: {name}: {first_line(error)}") from error
    return values, calls, outputs


@contextmanager
def _followed(model: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep the names of the modules being called in ``path``; after an error the last is the one that failed."""
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(lambda _, __, name=name: path.append(name)))
        handles.append(module.register_forward_hook(lambda _, __, ___: path.__delitem__(-1)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _variations(inputs: Inputs) -> Iterable[Inputs]:
    """Yield inputs of the same shapes with quite other values."""
    tensors = flatten_outputs(inputs)
    if any(tensor.is_floating_point() for tensor in tensors):
        for factor in FACTORS:
            yield map_tensors(inputs, partial(_scaled, factor=factor))
    if any(not tensor.is_floating_point() for tensor in tensors):
        yield map_tensors(inputs, lambda t: t if t.is_floating_point() else torch.zeros_like(t))
        yield map_tensors(inputs, lambda t: t if t.is_floating_point() else t.flip(t.ndim - 1) if t.ndim else t)


def _scaled(tensor: Tensor, factor: float) -> Tensor:
    return tensor * factor if tensor.is_floating_point() else tensor


def _check_same_path(
    calls: dict[str, Call], called: dict[str, Call], values: Values, read: Values, ignore: Sequence[str]
) -> None:
    for name in sorted(calls.keys() | called.keys()):
        if not is_inside(name, ignore) and (
            name not in calls or name not in called or calls[name].count != called[name].count
        ):
            raise GraphError(
                f"{name} is called on some inputs only: the path depends on the data; ignore=[{name!r}] leaves it whole"
            )
    before, after = ([item for item in v.read if not is_inside(item[0], ignore)] for v in (values, read))
    if before != after:
        name = next((a[0] for a, b in zip(before, after, strict=False) if a != b), (before or after)[0][0])
        where = name or "the model's own forward"
        advice = f"ignore=[{name!r}] leaves it whole" if name else "move that into a module of its own and ignore it"
        raise GraphError(f"{where} reads values of tensors (if, item()), its path depends on the data; {advice}")


def is_inside(name: str, modules: Sequence[str]) -> bool:
    """Whether a module is one of ``modules`` or inside one of them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
