"""Residual blocks: modules that return what they read with something added, so that they can go altogether.

They are found by experiment, whatever their code is. A block whose parameters are all zero adds nothing: a module that
then returns what it reads, to the last bit, and does something else with its own parameters, is one. Of those inside
each other, as a stage of blocks, the innermost counts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from envs.engine.errors import first_line
from envs.engine.network.calls import Inputs, batch_size, flatten_outputs, forward
from envs.engine.network.hooks import around, hooked
from envs.engine.network.isolation import copy_structure
from envs.engine.network.modules import is_product
from envs.engine.surgery.passing_on import Passed, pass_on, stream_of
from envs.engine.tracing.graph import ResidualBlock
from envs.engine.tracing.preflight import counting_flops, is_inside


def find_blocks(
    model: nn.Module, inputs: Inputs, ignore: Sequence[str] = ()
) -> tuple[tuple[ResidualBlock, ...], dict[str, str]]:
    """Return a network's residual blocks, in the order of their calls, and those that have to stay, with the reason.

    Args:
        model: the network in eval mode, with weights that hide nothing; it is as before afterwards.
        inputs: what it is called with.
        ignore: names of modules that keep everything, and all modules inside them.
    """
    calls = _record(model, _candidates(model, ignore), inputs)
    names = [name for name, call in calls.items() if _hands_on(model.get_submodule(name), call)]
    inner = [name for name in names if not any(is_inside(other, [name]) for other in names if other != name)]
    flops = _flops_inside(model, inputs)
    blocks = [ResidualBlock(name, tuple(calls[name].stream.shape), calls[name].values, flops[name]) for name in inner]
    return _sound(model, inputs, blocks)


def _candidates(model: nn.Module, ignore: Sequence[str]) -> list[str]:
    """Return the modules with layers inside and parameters that nothing else uses, of which none is to be ignored."""
    everywhere = _users(model)
    candidates = []
    for name, module in model.named_modules():
        ignored = is_inside(name, ignore) or any(is_inside(other, [name]) for other in ignore)
        inside = _users(module)
        alone = all(everywhere[parameter] == users for parameter, users in inside.items())
        if name and alone and not ignored and any(each is not module and is_product(each) for each in module.modules()):
            candidates.append(name)
    return candidates


def _users(model: nn.Module) -> Counter[int]:
    """Return how many modules use every parameter, by its identity."""
    return Counter(id(each) for module in model.modules() for each in module.parameters(recurse=False))


@dataclass
class _Call:
    """How a module was called, and what it returned.

    Attributes:
        args: positional arguments, the stream among them copied, as modules may change it.
        kwargs: the others.
        stream: what it may add to.
        values: see ``Passed``.
        changes: whether it returned a tensor of the stream's shape that differs from it, and no other.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    stream: Tensor
    values: int = 0
    changes: bool = False


def _record(model: nn.Module, names: Sequence[str], inputs: Inputs) -> dict[str, _Call]:
    """Return the calls of those modules that are called once and change a tensor, in their order."""
    calls: dict[str, _Call] = {}
    counts: Counter[str] = Counter()

    def before(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counts[name] += 1
        stream = stream_of(args, kwargs)
        if stream is not None and counts[name] == 1:
            calls[name] = _Call(*_with_stream_copied(stream, args, kwargs), stream.clone())

    def after(name: str, output: Any) -> None:  # noqa: ANN401  whatever a module returns
        if name in calls:
            call, found = calls[name], _sum_of(output)
            call.values = len(output) if isinstance(output, tuple) else 0
            call.changes = (
                found is not None and found.shape == call.stream.shape and not torch.equal(found, call.stream)
            )

    with hooked(around(model, names, before, after)), torch.no_grad():
        forward(model, inputs)
    return {name: call for name, call in calls.items() if counts[name] == 1 and call.changes}


def _with_stream_copied(
    stream: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    copied = stream.clone()
    return (
        tuple(copied if value is stream else value for value in args),
        {name: copied if value is stream else value for name, value in kwargs.items()},
    )


def _sum_of(output: Any) -> Tensor | None:  # noqa: ANN401  whatever a module returns
    """Return the tensor that a module returns, by itself or with nothing but ``None`` behind it in a tuple."""
    if isinstance(output, tuple) and output and all(value is None for value in output[1:]):
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _hands_on(module: nn.Module, call: _Call) -> bool:
    """Whether a module returns what it reads once its parameters are zero."""
    try:
        with _zeroed(module), torch.no_grad():
            output = _sum_of(module(*call.args, **call.kwargs))
    except Exception:  # whatever the user's forward raises on weights of zero
        return False
    return output is not None and output.shape == call.stream.shape and torch.equal(output, call.stream)


@contextmanager
def _zeroed(*modules: nn.Module) -> Iterator[None]:
    """Have all parameters of modules be zero inside the block."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    before = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.data = torch.zeros_like(parameter.data)
        yield
    finally:
        for parameter, data in zip(parameters, before, strict=True):
            parameter.data = data


def _flops_inside(model: nn.Module, inputs: Inputs) -> dict[str, float]:
    """Return the multiply-accumulates inside of modules for one sample, by name."""
    with counting_flops() as counter:
        forward(model, inputs)
    root, samples = type(model).__name__, 2 * batch_size(inputs)
    counts = counter.get_flop_counts()
    return {name: sum(counts.get(f"{root}.{name}", {}).values()) / samples for name, _ in model.named_modules()}


def _sound(
    model: nn.Module, inputs: Inputs, blocks: Sequence[ResidualBlock]
) -> tuple[tuple[ResidualBlock, ...], dict[str, str]]:
    """Return the blocks without which a network does what it does with zeros for their weights, and what others do."""
    if not _fault(model, inputs, blocks):
        return tuple(blocks), {}
    faults = {block.name: _fault(model, inputs, [block]) for block in blocks}
    sound = [block for block in blocks if not faults[block.name]]
    if fault := _fault(model, inputs, sound):
        return (), {block.name: faults[block.name] or fault for block in blocks}
    return tuple(sound), {name: fault for name, fault in faults.items() if fault}


@torch.no_grad()
def _fault(model: nn.Module, inputs: Inputs, blocks: Sequence[ResidualBlock]) -> str:
    """Return what is wrong with taking blocks out, or nothing."""
    small = copy_structure(model)
    pass_on(small, {block.name: Passed(values=block.values) for block in blocks})
    with _zeroed(*(model.get_submodule(block.name) for block in blocks)):
        expected = flatten_outputs(forward(model, inputs))
    try:
        found = flatten_outputs(forward(small, inputs))
    except Exception as error:  # whatever the user's forward raises
        return f"fails without it ({first_line(error)})"
    same = len(found) == len(expected) and all(map(torch.equal, found, expected))
    return "" if same else "does more than add to what it reads"
