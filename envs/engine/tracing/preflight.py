"""What stands in the way of pruning and can be seen by running a network a few times."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.hooks import RemovableHandle

from envs.engine.errors import GraphError, first_line
from envs.engine.network.calls import Call, Inputs, batch_size, failing_module, flatten_outputs, forward, record_calls
from envs.engine.network.hooks import hooked

READS = frozenset(
    {"__bool__", "__complex__", "__contains__", "__float__", "__index__", "__int__"}
    | {"allclose", "equal", "is_nonzero", "item", "numpy", "tolist"}
)
"""Functions by which Python code learns the values of a tensor."""


class ValueReads(TorchFunctionMode):
    """Follows what is computed from a network's inputs, and notes which modules turn its values into Python's.

    Args:
        inputs: the network's inputs.
        path: names of the modules being called, kept up to date by someone else.
    """

    def __init__(self, inputs: Inputs, path: Sequence[str]) -> None:
        super().__init__()
        self.modules: list[str] = []
        self._path = path
        # What is padding may be looked at, as Hugging Face's networks do to leave out masks of nothing.
        followed = (
            {name: value for name, value in inputs.items() if "mask" not in name}
            if isinstance(inputs, Mapping)
            else inputs
        )
        # By identity, and kept alive so that no identity is used again.
        self._derived = {id(tensor): tensor for tensor in flatten_outputs(followed)}

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if any(id(value) in self._derived for value in _tensors((args, kwargs))):
            self._derived.update({id(value): value for value in _tensors(result)})
            if getattr(func, "__name__", "") in READS:
                self.modules.append(self._path[-1] if self._path else "")
        return result


def _tensors(values: Any) -> Iterator[Tensor]:  # noqa: ANN401  whatever a function takes or returns
    """Yield the tensors in a structure; those of usual ones faster than torch does."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))
    elif not isinstance(values, str | int | float | None):
        yield from (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def screen(
    model: nn.Module,
    inputs: Inputs,
    ignore: Sequence[str] = (),
    run: Callable[[dict[str, Call]], Sequence[Tensor] | None] = lambda _: None,
) -> dict[str, Call]:
    """Run a network on its example input a few times and return how its modules are called.

    Args:
        model: the network, in eval mode.
        inputs: its example input.
        ignore: modules that are not pruned; these may depend on values.
        run: runs the network once more, as its caller needs it, and returns the outputs; ``None`` where it could not.

    Raises:
        GraphError: the forward pass fails, gives no tensor or NaN, is random, or its path depends on values.
    """
    path: list[str] = []
    reads = ValueReads(inputs, path)
    try:
        calls, outputs = record_calls(model, inputs)
        _check(outputs)
        with hooked(_follow(model, path)), reads:
            again = run(calls)
            if again is None:
                path.clear()
                again = _run(model, inputs)
        if not _equal(outputs, again):  # torch takes other kernels while it is watched
            again = _run(model, inputs)
    except Exception as error:  # whatever the user's forward raises
        if isinstance(error, GraphError):
            raise
        name = failing_module(error, model) or type(model).__name__
        raise GraphError(f"the model fails on the example input: {name}: {first_line(error)}") from error
    if not _equal(outputs, again):
        raise GraphError("two forward passes in eval mode differ: make the model deterministic in eval mode")
    for name in reads.modules:
        if not is_inside(name, ignore):
            raise GraphError(_reads_values(name))
    return calls


@torch.no_grad()
def _run(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    return flatten_outputs(forward(model, inputs))


def _check(outputs: Sequence[Tensor]) -> None:
    """Check what a network returns.

    Raises:
        GraphError: there is nothing, or NaN.
    """
    if not outputs:
        raise GraphError("the model returns no tensor on the example input: return tensors, in tuples, lists or dicts")
    if any(bool(output.isnan().any()) for output in outputs):
        raise GraphError("the model returns NaN on the example input: give an input like those it was trained on")


def _equal(outputs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return [a.shape for a in outputs] == [b.shape for b in others] and all(map(torch.equal, outputs, others))


class FlopCount(TorchDispatchMode):
    """Counts what is multiplied in all; where that is says torch's own counter, which takes longer than many a network.

    Attributes:
        total: a multiply-accumulate counts two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Call an operation, and count."""
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += int(count(*args, **(kwargs or {}), out_val=result))
        return result


@contextmanager
def written_out() -> Iterator[None]:
    """Have torch do inside the block what is counted.

    Without gradients it fuses whole transformer layers into one operation that is not counted, and before torch 2.15
    attention's fused kernel for the CPU is not counted either: written out, it is two products of matrices.
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def counting_flops() -> Iterator[FlopCounterMode]:
    """Count what is multiplied inside the block, functional operations too; a multiply-accumulate counts two."""
    with FlopCounterMode(display=False) as counter, written_out():
        yield counter


def count_flops(model: nn.Module, inputs: Inputs) -> float:
    """Return all multiply-accumulates of one sample, functional ones too."""
    with FlopCount() as counter, written_out():
        forward(model, inputs)
    return counter.total / 2 / batch_size(inputs)


def check_names(model: nn.Module, ignore: Sequence[str]) -> None:
    """Check that all modules to ignore are there.

    Raises:
        GraphError: one is not.
    """
    modules = dict(model.named_modules())
    for name in ignore:
        if name not in modules:
            raise GraphError(f"ignore names {name!r}, which is no module of {type(model).__name__}")


def is_inside(name: str, modules: Sequence[str]) -> bool:
    """Whether a module is one of ``modules`` or inside one of them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _reads_values(name: str) -> str:
    where = name or "the model's own forward"
    advice = f"ignore=[{name!r}] leaves it unpruned" if name else "move that into a module of its own and ignore it"
    return f"{where} makes Python values of tensors (if, item(), ...), so that its path depends on the data: {advice}"


def _follow(model: nn.Module, path: list[str]) -> Iterator[RemovableHandle]:
    """Keep the names of the modules being called in ``path``; after an error the last is the one that failed."""
    for name, module in model.named_modules():
        yield module.register_forward_pre_hook(lambda _, __, name=name: path.append(name))
        yield module.register_forward_hook(lambda _, __, ___: path.__delitem__(-1))
