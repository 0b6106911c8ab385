"""Every layer of a network: which steps decide about it, why it is kept whole, and where the cost lies."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn

from envs.engine.network.calls import Inputs, batch_size, forward
from envs.engine.network.channels import ChannelGroup, GroupMember, Side
from envs.engine.network.hooks import hooked
from envs.engine.network.kinds import UNPRUNABLE, kind_of
from envs.engine.network.modules import is_product
from envs.engine.tracing.preflight import counting_flops
from envs.engine.types import LayerPart, NetworkLayer

BETWEEN = "multiplies what layers give it, and has no weights of its own"
NO_CHOICE = "has no channels that can go by themselves"


class Parts(NamedTuple):
    """The steps that decide about a layer, as ``NetworkLayer`` names them."""

    reads: tuple[LayerPart, ...] = ()
    writes: tuple[LayerPart, ...] = ()
    weight: int | None = None
    block: int | None = None


def parts_of_groups(groups: Sequence[ChannelGroup], steps: Sequence[int] | None = None) -> dict[str, Parts]:
    """Return by module what the groups of channels, one a step, decide about.

    Args:
        groups: the channel groups.
        steps: their numbers; 0, 1, ... if not given.
    """
    found: dict[str, Parts] = {}
    for step, group in zip(range(len(groups)) if steps is None else steps, groups, strict=True):
        for member in group.members:
            before, part = found.get(member.module, Parts()), (LayerPart(step, _channels(member)),)
            reads = part if member.side is not Side.OUT else ()
            writes = part if member.side is not Side.IN else ()
            found[member.module] = Parts(before.reads + reads, before.writes + writes)
    return found


def network_layers(
    model: nn.Module,
    inputs: Inputs,
    parts: Mapping[str, Parts],
    unprunable: Mapping[str, str],
    *,
    products_only: bool,
) -> tuple[NetworkLayer, ...]:
    """Describe every layer of a network, whether it is searched or not, in the order of their first calls.

    Args:
        model: the dense network in eval mode.
        inputs: what it is called with.
        parts: the steps that decide about a module, by name.
        unprunable: why modules are kept whole, by name.
        products_only: leave out what multiplies and is no convolution or linear layer, as the cost of masks does.
    """
    flops, order = own_flops(model, inputs)
    inside = tuple(name for name, module in model.named_modules() if _never_smaller(module))
    layers = []
    for name, module in sorted(model.named_modules(), key=lambda item: order.get(item[0], len(order))):
        product = is_product(module)
        if not (product or (not products_only and (name in flops or _never_smaller(module)))):
            continue
        if name not in order and any(name.startswith(f"{owner}.") for owner in inside):
            continue  # its owner uses its weights itself, and counts them
        described = _describe(module, parts.get(name, Parts()), unprunable.get(name, ""))
        params = _own_parameters(name, module, order)
        layers.append(described._replace(name=name or type(model).__name__, flops=flops.get(name, 0.0), params=params))
    return tuple(layers)


def _describe(module: nn.Module, parts: Parts, reason: str) -> NetworkLayer:
    kind = kind_of(module)
    widths = kind.widths(module) if kind is not None else {}
    both = widths.get(Side.BOTH, 0)
    decided = parts.writes or parts.weight is not None or parts.block is not None
    return NetworkLayer(
        name="",
        type=type(module).__name__,
        flops=0.0,
        params=0,
        inputs=widths.get(Side.IN, both),
        outputs=widths.get(Side.OUT, both),
        reads=parts.reads,
        writes=parts.writes,
        weight=parts.weight,
        block=parts.block,
        whole="" if decided else reason or (NO_CHOICE if is_product(module) else BETWEEN),
    )


def _own_parameters(name: str, module: nn.Module, order: Mapping[str, int]) -> int:
    """Count a module's parameters, and of one that never gets smaller those inside that it uses without a call."""
    inner = module.named_modules() if _never_smaller(module) else [("", module)]
    owners = [each for path, each in inner if not path or _path(name, path) not in order]
    return sum(parameter.numel() for each in owners for parameter in each.parameters(recurse=False))


def own_flops(model: nn.Module, inputs: Inputs) -> tuple[dict[str, float], dict[str, int]]:
    """Return what modules multiply, and the order in which all are first called, by name.

    The multiply-accumulates are those of one sample, without those of the modules inside, and only modules that
    multiply anything are named.
    """
    order: dict[str, int] = {}

    def note(name: str) -> None:
        order.setdefault(name, len(order))

    handles = (
        module.register_forward_pre_hook(lambda _, __, name=name: note(name)) for name, module in model.named_modules()
    )
    with hooked(handles), counting_flops() as counter:
        forward(model, inputs)
    root, samples = type(model).__name__, 2 * batch_size(inputs)
    counted = {name: sum(each.values()) / samples for name, each in counter.get_flop_counts().items()}
    found = {}
    for name, module in model.named_modules():
        rest = counted.get(_path(root, name), 0.0) - _inside(module, _path(root, name), counted)
        if rest > 0:
            found[name] = rest
    return found, order


def _inside(module: nn.Module, path: str, counted: Mapping[str, float]) -> float:
    """Return what the nearest modules inside a module multiply; lists of modules are not called themselves."""
    total = 0.0
    for name, child in module.named_children():
        inner = _path(path, name)
        total += counted[inner] if inner in counted else _inside(child, inner, counted)
    return total


def _path(*names: str) -> str:
    return ".".join(name for name in names if name)


def _channels(member: GroupMember) -> int:
    return int((member.unit >= 0).sum())


def _never_smaller(module: nn.Module) -> bool:
    return isinstance(module, tuple(UNPRUNABLE)) and kind_of(module) is None
