"""From a network and an example input to its channel groups, through torch-pruning's dependency graph."""

import copy
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from envs.engine.calls import Call, Inputs, check_repeatable
from envs.engine.channels import ChannelGroup, ChannelTies, Place, Side
from envs.engine.errors import GraphError
from envs.engine.modules import BatchNorm, Convolution, is_depthwise, places_of

PASSIVE = (OPTYPE.CONCAT, OPTYPE.SPLIT, OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.UNBIND, OPTYPE.EXPAND, OPTYPE.SLICE)


@dataclass(frozen=True)
class NetworkGraph:
    """What pruning has to know about a network.

    Attributes:
        groups: the channel groups, in the order in which their channels are first read.
        calls: how the leaf modules are called on the example input, by name.
        folds: (convolution or linear layer, batch norm) pairs where the norm alone reads the layer directly.
        left_whole: modules that keep all their output channels, with the reason.
    """

    groups: tuple[ChannelGroup, ...]
    calls: dict[str, Call]
    folds: tuple[tuple[str, str], ...]
    left_whole: dict[str, str]


def trace(model: nn.Module, example_inputs: Inputs, ignore: Sequence[str] = ()) -> NetworkGraph:
    """Find what can be pruned in ``model`` and what each removal takes with it.

    Args:
        model: the network, which is not touched.
        example_inputs: what it is called with; the batch may be one.
        ignore: names of modules that keep all their channels, and all modules inside them.

    Raises:
        GraphError: the network cannot be traced, or ``ignore`` names a module that it does not have.
    """
    model = copy.deepcopy(model).eval().requires_grad_(True)
    modules = dict(model.named_modules())
    for name in ignore:
        if name not in modules:
            raise GraphError(f"ignore names {name!r}, which is no module of {type(model).__name__}")
    calls = check_repeatable(model, example_inputs)
    dependencies = _build_dependencies(model, example_inputs)
    names = {module: name for name, module in modules.items()}
    places = {}
    for name in sorted(calls, key=lambda name: calls[name].order):
        places.update(places_of(name, modules[name]))
    ties = ChannelTies(places)
    for name, reason in _unsafe_modules(model, calls, ignore):
        for place in places_of(name, modules[name]):
            ties.freeze(place, reason)
    _tie_grouped_convolutions(ties, modules)
    for group in dependencies.get_all_groups():
        _tie_group(ties, group, names)
    groups, left_whole = ties.groups()
    readable = [group for group in groups if group.at(Side.IN)]
    ordered = sorted(readable, key=lambda group: min(calls[site.module].order for site in group.at(Side.IN)))
    return NetworkGraph(tuple(ordered), calls, _foldable(dependencies, names, calls), left_whole)


def _build_dependencies(model: nn.Module, example_inputs: Inputs) -> Any:  # noqa: ANN401
    inputs = [example_inputs] if isinstance(example_inputs, Tensor) else example_inputs
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(model, inputs, verbose=False)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GraphError(f"cannot trace {type(model).__name__}: {reason}") from error


def _unsafe_modules(model: nn.Module, calls: dict[str, Call], ignore: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Yield modules whose channels must stay whole, with the reason."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name, module in model.named_modules(remove_duplicate=False):
        if name not in calls:
            continue
        if any(name == skipped or name.startswith(f"{skipped}.") for skipped in ignore):
            yield name, "is ignored"
        elif calls[name].count > 1:
            yield name, f"is called {calls[name].count} times"
        elif any(uses[id(parameter)] > 1 for parameter in module.parameters(recurse=False)):
            yield name, "shares its weights with another module"


def _tie_grouped_convolutions(ties: ChannelTies, modules: dict[str, nn.Module]) -> None:
    for name, side in ties.widths:
        module = modules[name]
        if side is not Side.BOTH and isinstance(module, Convolution) and module.groups > 1:
            ties.tie_positions((name, side), module.groups)


def _tie_group(ties: ChannelTies, group: Any, names: dict[nn.Module, str]) -> None:  # noqa: ANN401
    """Tie what one group of torch-pruning couples; freeze it where it reaches what must stay whole."""
    members: dict[int, list[tuple[Place, int]]] = {}
    root_place = _place_of(group[0].dep, names)
    reason = ""
    for item in group:
        node = item.dep.target
        place = _place_of(item.dep, names)
        if place is not None and place in ties.widths:
            for root, index in zip(item.root_idxs, item.idxs, strict=True):
                members.setdefault(root, []).append((place, index))
        elif node.type not in PASSIVE and node.type is not OPTYPE.OUTPUT:
            reason = reason or f"is coupled to {type(node.module).__name__}, which cannot be made smaller"
        reads = place is not None and place[1] is Side.IN
        if not reads and (node.type is OPTYPE.OUTPUT or not node.outputs):
            reason = "is an output of the network"
    for channels in members.values():
        ties.tie(channels)
    if reason and root_place in ties.widths:
        ties.freeze(root_place, reason)


def _place_of(dep: Any, names: dict[nn.Module, str]) -> Place | None:  # noqa: ANN401
    """Return the place that a dependency of torch-pruning prunes, ``None`` for operations without parameters."""
    module = dep.target.module
    if not isinstance(module, nn.Module) or module not in names:
        return None
    name = names[module]
    if is_depthwise(module):
        return name, Side.BOTH
    if isinstance(module, Convolution | nn.Linear):
        return name, Side.OUT if dep.handler.__name__ == "prune_out_channels" else Side.IN
    return name, Side.BOTH


def _foldable(
    dependencies: Any,  # noqa: ANN401
    names: dict[nn.Module, str],
    calls: dict[str, Call],
) -> tuple[tuple[str, str], ...]:
    pairs = []
    for module, node in dependencies.module2node.items():
        if not isinstance(module, BatchNorm) or len(node.inputs) != 1:
            continue
        source = node.inputs[0]
        direct = isinstance(source.module, Convolution | nn.Linear) and len(source.outputs) == 1
        if direct and calls[names[module]].count == calls[names[source.module]].count == 1:
            pairs.append((names[source.module], names[module]))
    return tuple(pairs)
