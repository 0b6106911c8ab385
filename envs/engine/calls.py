"""How a forward pass calls the modules of a network: shapes, order and counts, seen by hooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.errors import GraphError

Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""What a network is called with: one tensor, positional arguments or keyword arguments."""


@dataclass(frozen=True)
class Call:
    """One module's part in a forward pass.

    Attributes:
        order: position of its (first) call among all calls.
        count: how often it was called.
        inputs: shape of its first input, with the batch.
        outputs: shape of its output, with the batch.
    """

    order: int
    count: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def forward(model: nn.Module, inputs: Inputs) -> Any:  # noqa: ANN401
    """Call ``model`` the way the type of ``inputs`` asks for."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def flatten_outputs(outputs: Any) -> list[Tensor]:  # noqa: ANN401
    """Return the tensors of a network's output, whatever tuples, lists and mappings they come in."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for output in outputs for tensor in flatten_outputs(output)]
    return []


def record_calls(model: nn.Module, inputs: Inputs) -> tuple[dict[str, Call], list[Tensor]]:
    """Run one forward pass and return the calls of every leaf module by name, and the output tensors."""
    calls: dict[str, Call] = {}

    def hook(name: str, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        shape = tuple(args[0].shape) if args and isinstance(args[0], Tensor) else ()
        out = tuple(output.shape) if isinstance(output, Tensor) else ()
        seen = calls.get(name)
        calls[name] = Call(len(calls), 1, shape, out) if seen is None else _once_more(seen)

    leaves = [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]
    handles = [
        module.register_forward_hook(lambda _, args, output, name=name: hook(name, args, output))
        for name, module in leaves
    ]
    try:
        with torch.no_grad():
            outputs = flatten_outputs(forward(model, inputs))
    finally:
        for handle in handles:
            handle.remove()
    return calls, outputs


def _once_more(call: Call) -> Call:
    return Call(call.order, call.count + 1, call.inputs, call.outputs)


def check_repeatable(model: nn.Module, inputs: Inputs) -> dict[str, Call]:
    """Run two forward passes, demand equal outputs, and return the calls.

    Raises:
        GraphError: the forward pass fails, gives no tensor, or is random.
    """
    try:
        calls, first = record_calls(model, inputs)
        _, second = record_calls(model, inputs)
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraphError(f"the model fails on the example input: {message}") from error
    if not first:
        raise GraphError("the model returns no tensor on the example input")
    if any(not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise GraphError("two forward passes in eval mode differ: make the model deterministic in eval mode")
    return calls
