"""Which channels go together according to torch-pruning's dependency graph."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE, module2type

from envs.engine.network.calls import Call, Inputs
from envs.engine.network.channels import ChannelDim, ChannelTies, Side
from envs.engine.network.kinds import kind_of, layer_kinds
from envs.engine.network.modules import BatchNorm, is_plain, is_product, multiplier_of

PASSIVE = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.UNBIND, OPTYPE.EXPAND, OPTYPE.SLICE)
MOST_STEPS = 3000
"""DenseNet-121, whose groups are the largest here that end in good time, takes up to 1,296."""
OWN_PARAMETER = "a parameter of its own"
STUCK_TO_PARAMETER = f"is coupled to {OWN_PARAMETER}, which cannot be made smaller"
"""Of channels that meet a parameter outside of layers, which need not mean that it has to follow."""
Folds = tuple[tuple[str, str], ...]


class GroupIsEndless(Exception):
    """A group took more steps than any that ended in good time."""


@dataclass
class _Steps:
    """Steps taken for a group: torch-pruning's time for one grows with their square."""

    taken: int = 0


class _Counted(list[Any]):
    """What depends on a node; going through it is a step.

    Raises:
        GroupIsEndless: when it was one too many.
    """

    def __init__(self, dependencies: Iterable[Any], steps: _Steps) -> None:
        super().__init__(dependencies)
        self._steps = steps

    def __iter__(self) -> Iterator[Any]:
        self._steps.taken += 1
        if self._steps.taken > MOST_STEPS:
            raise GroupIsEndless
        return super().__iter__()


def tie_by_autograd(ties: ChannelTies, model: nn.Module, inputs: Inputs, calls: dict[str, Call]) -> Folds:
    """Tie channels that torch-pruning couples, in place, and return the batch norms that can be folded.

    torch-pruning reads autograd's graph and takes operations that it does not know for elementwise ones, so its
    groups have to be checked. It raises whatever its own code and the user's raise, and may not end.
    """
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        # It goes on for a long time then, and guesses.
        warnings.filterwarnings("error", "Maximum recursive depth")
        example = [inputs] if isinstance(inputs, Tensor) else inputs
        dependencies = torch_pruning.DependencyGraph().build_dependency(model, example, verbose=False)
        names = {module: name for name, module in model.named_modules()}
        steps = _Steps()
        for node in dependencies.module2node.values():
            node.dependencies = _Counted(node.dependencies, steps)
        for group in dependencies.get_all_groups(root_module_types=_roots()):
            _tie_group(ties, group, names)
            steps.taken = 0
    return _foldable(dependencies, names, calls)


def knows_kind(module: nn.Module) -> bool:
    """Whether torch-pruning knows how channels pass a module; what it does not know it takes for elementwise."""
    return module2type(module) is not OPTYPE.ELEMENTWISE


def _roots() -> tuple[type[nn.Module], ...]:
    """Return the classes of layers that write channels of their own."""
    return tuple(layer for kind in layer_kinds() if Side.OUT in kind.sides and not kind.reader for layer in kind.types)


def _tie_group(ties: ChannelTies, group: Any, names: dict[nn.Module, str]) -> None:  # noqa: ANN401
    """Tie what one group of torch-pruning couples; freeze it where it reaches what is unprunable."""
    members: dict[int, list[tuple[ChannelDim, int]]] = {}
    reason = ""
    for item in group:
        node = item.dep.target
        dim = _channel_dim_of(item.dep, names)
        if dim is not None and dim in ties.widths:
            multiplier = multiplier_of(node.module) if item.dep.handler.__name__ == "prune_in_channels" else 1
            for root, index in zip(item.root_idxs, item.idxs, strict=True):
                members.setdefault(root, []).append((dim, index * multiplier))
        elif node.type not in PASSIVE and node.type is not OPTYPE.OUTPUT:
            stuck = f"is coupled to {_describe(node.module, names)}, which cannot be made smaller"
            reason = stuck if reason in ("", STUCK_TO_PARAMETER) else reason  # what else there is says more
        reads = dim is not None and dim[1] is Side.IN
        if not reads and (node.type is OPTYPE.OUTPUT or not node.outputs):
            reason = "is an output of the network"
    for channels in members.values():
        ties.tie(channels)
        if reason:
            ties.freeze(ties.numbers(channels[0][0])[channels[0][1:]], reason)


def _describe(module: Any, names: dict[nn.Module, str]) -> str:  # noqa: ANN401
    if module in names:
        return f"{names[module]} ({type(module).__name__})"
    return OWN_PARAMETER if isinstance(module, nn.Parameter) else type(module).__name__


def _channel_dim_of(dep: Any, names: dict[nn.Module, str]) -> ChannelDim | None:  # noqa: ANN401
    """Return the channel dimension that a dependency of torch-pruning prunes, ``None`` without parameters."""
    module = dep.target.module
    if not isinstance(module, nn.Module) or module not in names:
        return None
    kind = kind_of(module)
    if kind is None or Side.BOTH in kind.sides:
        return names[module], Side.BOTH
    return names[module], Side.OUT if dep.handler.__name__ == "prune_out_channels" else Side.IN


def _foldable(
    dependencies: Any,  # noqa: ANN401
    names: dict[nn.Module, str],
    calls: dict[str, Call],
) -> Folds:
    pairs = []
    for module, node in dependencies.module2node.items():
        if not isinstance(module, BatchNorm) or not is_plain(module) or len(node.inputs) != 1:
            continue
        source = node.inputs[0]
        foldable = isinstance(source.module, nn.Module) and is_product(source.module) and is_plain(source.module)
        direct = foldable and len(source.outputs) == 1
        if direct and calls[names[module]].count == calls[names[source.module]].count == 1:
            pairs.append((names[source.module], names[module]))
    return tuple(pairs)
