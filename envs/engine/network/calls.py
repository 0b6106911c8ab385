"""How a forward pass calls the modules of a network: shapes, order and counts, seen by hooks."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from traceback import walk_tb
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from envs.engine.network.hooks import hooked
from envs.engine.network.modules import channel_dims_of


class BatchObject(Protocol):
    """A batch as some loaders make it: an object that holds tensors, moves by ``to`` and is a single argument."""

    def to(self, device: Any, /) -> Any:  # noqa: ANN401  what it returns is the loader's
        """Return the batch on a device."""
        ...


Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any] | BatchObject
"""What a network is called with: one tensor, positional or keyword arguments, or an object that holds tensors."""

MAIN_OUTPUTS = ("logits", "out")
"""Names of the output that matters: in Hugging Face's networks, and in torchvision's for segmentation."""


@dataclass(frozen=True)
class Call:
    """One module's part in a forward pass.

    Attributes:
        order: position of its (first) call among all calls.
        count: how often it was called.
        inputs: shape of its first input, with the batch.
        outputs: shape of its output, with the batch.
        batch: samples in the network's input; a layer's own first dimension may be another.
    """

    order: int
    count: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: int = 1


def forward(model: nn.Module, inputs: Inputs) -> Any:  # noqa: ANN401
    """Call ``model`` the way the type of ``inputs`` asks for."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def failing_module(error: Exception, model: nn.Module) -> str:
    """Return the innermost module in whose code an error came up, by name; empty for none."""
    names = {id(module): name for name, module in model.named_modules()}
    frames = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    return next((names[id(each)] for each in reversed(list(frames)) if id(each) in names), "")


def flatten_outputs(outputs: Any) -> list[Tensor]:  # noqa: ANN401
    """Return the tensors of a network's output, whatever tuples, lists, mappings and dataclasses they come in."""
    if isinstance(outputs, Tensor):
        return [outputs]
    outputs = outputs if (fields := fields_of(outputs)) is None else fields
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, list | tuple):
        return [tensor for output in outputs for tensor in flatten_outputs(output)]
    return []


def fields_of(value: Any) -> dict[str, Any] | None:  # noqa: ANN401  whatever a network takes or returns
    """Return what a dataclass or a batch object holds, by attribute; ``None`` for anything else."""
    if isinstance(value, Tensor | Mapping | tuple | list | nn.Module | type):
        return None
    holds = is_dataclass(value) or callable(getattr(value, "to", None))
    return getattr(value, "__dict__", None) if holds else None


def main_output(outputs: Any) -> Any:  # noqa: ANN401  whatever a network returns
    """Return what scores and losses of a network go by, where that is plain.

    That is a tensor; what is called ``logits`` or ``out``; the only tensor; the first of a tuple or list. Anything else
    is returned as it is.
    """
    if isinstance(outputs, Tensor):
        return outputs
    for name in MAIN_OUTPUTS:
        found = outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(outputs, tuple | list) and outputs and isinstance(outputs[0], Tensor):
        return outputs[0]
    tensors = flatten_outputs(outputs)
    return tensors[0] if len(tensors) == 1 else outputs


def described(value: Any) -> str:  # noqa: ANN401  whatever a network takes or returns
    """Say in a few words what a network was called with, or has returned."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of {', '.join(map(str, value))}"
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, tuple | list) else "")


def map_tensors(inputs: Inputs, function: Callable[[Tensor], Tensor]) -> Inputs:
    """Apply ``function`` to every tensor among the inputs of a network.

    Raises:
        ValueError: they are nothing that a network can be called with.
    """

    def mapped(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: function(value) if isinstance(value, Tensor) else value for name, value in values.items()}

    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, tuple):
        return tuple(function(value) if isinstance(value, Tensor) else value for value in inputs)
    if isinstance(inputs, Mapping):
        return mapped(inputs)
    if (fields := fields_of(inputs)) is None:
        raise ValueError(
            f"inputs are a {type(inputs).__name__}: a tensor, or a tuple, mapping or object of some is needed"
        )
    return cast(Inputs, with_fields(inputs, mapped(fields)))


def with_fields(value: Any, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401  an object of anyone's class
    """Return a copy of a batch object that holds something else."""
    made = copy.copy(value)
    vars(made).update(fields)
    return made


def batch_size(inputs: Inputs) -> int:
    """Return the first dimension of the first tensor among the inputs of a network."""
    return next((len(tensor) for tensor in flatten_outputs(inputs) if tensor.ndim), 1)


def record_calls(model: nn.Module, inputs: Inputs) -> tuple[dict[str, Call], list[Tensor]]:
    """Run one forward pass and return the calls of modules by name, and the output tensors.

    They are those of all modules without children, and of those with that channels can be removed from, such as a batch
    norm that holds its activation.
    """
    calls: dict[str, Call] = {}
    batch = batch_size(inputs)

    def hook(name: str, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        shape = tuple(args[0].shape) if args and isinstance(args[0], Tensor) else ()
        output = output[0] if isinstance(output, tuple) and output else output
        out = tuple(output.shape) if isinstance(output, Tensor) else ()
        seen = calls.get(name)
        calls[name] = Call(len(calls), 1, shape, out, batch) if seen is None else _once_more(seen)

    leaves = [
        (name, module)
        for name, module in model.named_modules()
        if channel_dims_of(name, module) or not any(True for _ in module.children())
    ]
    handles = (
        module.register_forward_hook(lambda _, args, output, name=name: hook(name, args, output))
        for name, module in leaves
    )
    with hooked(handles), torch.no_grad():
        outputs = flatten_outputs(forward(model, inputs))
    return calls, outputs


def _once_more(call: Call) -> Call:
    return replace(call, count=call.count + 1)
