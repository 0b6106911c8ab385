"""What becomes of a layer's output before the next layer reads it: a batch norm, an addition, a ReLU."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from envs.engine.network.calls import Inputs, flatten_outputs, forward
from envs.engine.network.hooks import hooked

ADDITIONS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__}
CLIPS = {
    *(functional.relu, torch.relu, Tensor.relu, functional.relu_, torch.relu_, Tensor.relu_),
    *(functional.relu6, functional.hardtanh, functional.hardtanh_),
}
FAR = 1e9


@dataclass(frozen=True)
class OutputPath:
    """Where a layer's output counts.

    Attributes:
        end: the batch norm behind the layer, or the layer itself: the module whose output counts.
        summed: whether one addition of two equal shapes alone reads that; then it is the sum that counts.
        bounds: between which values that is clipped before anything reads it, as by a ReLU; ``None`` if it is not.
    """

    end: str
    summed: bool = False
    bounds: tuple[float, float] | None = None


class _Readers(TorchFunctionMode):
    """Notes which functions read the tensors that it is shown.

    Attributes:
        functions: for every watched tensor what read it, a clip with its bounds; keys are a layer, and whether the
            tensor is the sum that the layer's output went into.
        additions: for every addition the layers that it adds up, the last called one last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[tuple[str, bool], list[object]] = defaultdict(list)
        self.additions: list[list[str]] = []
        self._watched: dict[int, list[tuple[str, bool]]] = {}
        self._order: list[str] = []
        self._held: list[object] = []  # or a later tensor might get the identity of an earlier one

    def watch(self, layer: str, tensor: Tensor) -> None:
        """Note from now on what reads an output."""
        self._order.append(layer)
        self._watched[id(tensor)] = [(layer, False)]
        self._held.append(tensor)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        made = flatten_outputs(result)
        self._held.append(result)
        read = flatten_outputs([*args, *kwargs.values()])
        keys = [key for tensor in read for key in self._watched.get(id(tensor), [])] if made else []
        added = _is_addition(func, args, kwargs, made)
        for key in keys:
            self.functions[key].append("addition" if added else _bounds(func, args, kwargs))
        for tensor in made:
            self._watched.pop(id(tensor), None)  # written over in place
        summed = sorted({layer for layer, is_sum in keys if not is_sum}, key=self._order.index)
        if added and summed:
            self.additions.append(summed)
            self._watched[id(made[0])] = [(layer, True) for layer in summed]
        return result


def is_sum_of_two(func: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a function call adds two tensors of one shape."""
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    return func in ADDITIONS and not kwargs and len(tensors) == 2 and tensors[0].shape == tensors[1].shape


def _is_addition(func: object, args: tuple[Any, ...], kwargs: Mapping[str, Any], made: list[Tensor]) -> bool:
    return is_sum_of_two(func, args, kwargs) and len(made) == 1 and args[0] is not args[1]


def _bounds(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float] | None:  # noqa: ANN401
    """Return the bounds of a function that clips, ``None`` for all others."""
    if func not in CLIPS:
        return None
    low, high = func(torch.tensor([-FAR, FAR]), *args[1:], **kwargs).tolist()
    return (low, high if high < FAR else float("inf"))


def find_output_paths(
    model: nn.Module, layers: Iterable[str], folds: Mapping[str, str], inputs: Inputs
) -> dict[str, OutputPath]:
    """Run a network once and return where the outputs of its layers count.

    Args:
        model: a network in eval mode; it is not touched.
        layers: those asked about, each called once in a forward pass.
        folds: the batch norm behind a layer, where it alone reads the layer.
        inputs: two samples or more, so that what is the same for all of them does not have their shape.
    """
    ends = {layer: folds.get(layer, layer) for layer in layers}
    readers = _Readers()
    with torch.no_grad(), hooked(watching(model, ends, readers.watch)), readers:
        forward(model, inputs)
    summed = set()
    for candidates in readers.additions:
        # Of two layers that are added up, the later makes up for the earlier's error, too.
        alone = [layer for layer in candidates if len(readers.functions[layer, False]) == 1]
        summed.update(alone[-1:])
    paths = {}
    for layer, end in ends.items():
        functions = readers.functions[layer, layer in summed]
        bounds = functions[0] if len(functions) == 1 and isinstance(functions[0], tuple) else None
        paths[layer] = OutputPath(end, layer in summed, bounds)
    return paths


def watching(
    model: nn.Module, ends: Mapping[str, str], show: Callable[[str, Tensor], None]
) -> Iterator[RemovableHandle]:
    """Have the output of every layer's end shown, see ``envs.engine.network.hooks.hooked``."""

    def hook(layer: str, _: nn.Module, __: Any, output: Any) -> None:  # noqa: ANN401
        if isinstance(output, Tensor):
            show(layer, output)

    for layer, end in ends.items():
        yield model.get_submodule(end).register_forward_hook(partial(hook, layer))
