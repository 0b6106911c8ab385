"""What transformers are pruned with today: torch-pruning's rankings of heads and hidden channels.

Which layers go together is written down here. torch-pruning's graph does not end on rotary positions: halves of heads
that change places couple every channel with every other.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import Dependency, Group, Node

from envs.engine.tracing.preflight import count_flops

GRID = 200
"""In how many steps the share that goes is looked for with which a network is within the target."""
LARGEST = 0.9
"""Of its units no layer loses more, as with ``min_keep=0.1``."""
RANKINGS = ("local", "global")
"""Every layer loses the same share of its heads and hidden channels, or what ranks lowest in all of them goes."""
OUT, IN = torch_pruning.prune_linear_out_channels, torch_pruning.prune_linear_in_channels


class Units(NamedTuple):
    """Heads, or hidden channels, of one layer.

    Attributes:
        name: of the module that they are in.
        writers: names of the layers in it that write them.
        reader: of the layer that reads them.
        number: how many there are.
    """

    name: str
    writers: tuple[str, ...]
    reader: str
    number: int

    def layers(self, network: nn.Module) -> list[tuple[nn.Linear, Callable[..., Any]]]:
        """Return the layers, and by what torch-pruning prunes them."""
        module: Any = network.get_submodule(self.name)
        return [(getattr(module, name), OUT) for name in self.writers] + [(getattr(module, self.reader), IN)]


def units_of(network: nn.Module) -> dict[str, list[Units]]:
    """Return the heads of a network's attentions, each with all queries of its key, and the channels of its MLPs."""
    modules: dict[str, Any] = dict(network.named_modules())
    projections = ("q_proj", "k_proj", "v_proj")
    found: dict[str, list[Units]] = {"heads": [], "hidden": []}
    for name, module in modules.items():
        if hasattr(module, "k_proj"):
            found["heads"].append(Units(name, projections, "o_proj", module.k_proj.out_features // module.head_dim))
        elif hasattr(module, "down_proj"):
            found["hidden"].append(Units(name, ("gate_proj", "up_proj"), "down_proj", module.down_proj.in_features))
        elif hasattr(module, "fc2"):
            found["hidden"].append(Units(name, ("fc1",), "fc2", module.fc2.in_features))
    return found


def torch_pruned(
    model: nn.Module,
    example: Mapping[str, Tensor],
    loss: Callable[[nn.Module], Tensor],
    ranking: str,
    target: float,
) -> nn.Module:
    """Return a network of Hugging Face pruned by torch-pruning's Taylor expansion.

    Widths of the residual stream stay, as they do for the search.

    Args:
        model: the dense network, a Llama or a ViT.
        example: what it is called with.
        loss: of a network on what it calibrates on.
        ranking: one of ``RANKINGS``.
        target: fraction of the multiply-accumulates that may be kept.

    Raises:
        ValueError: the ranking does not come to the target.
    """
    units = units_of(model)
    loss(model).backward()
    importance = torch_pruning.importance.GroupTaylorImportance()
    scores = {
        kind: [importance(_group(model, each))[: each.number] for each in of_kind] for kind, of_kind in units.items()
    }
    model.zero_grad(set_to_none=True)
    most = target * count_flops(model, example)
    low, high, small = 0, int(LARGEST * GRID), None
    while low < high:
        middle = (low + high) // 2
        network = _without(model, units, scores, ranking, middle / GRID)
        if count_flops(network, example) <= most:
            high, small = middle, network
        else:
            low = middle + 1
    if small is None:
        raise ValueError(f"target={target}: torch-pruning's {ranking} ranking leaves more")
    return small


def _group(network: nn.Module, units: Units) -> Group:
    """Return units as torch-pruning has them: by layer its channels, and which unit each belongs to."""
    group = Group()
    for layer, prune in units.layers(network):
        width = layer.out_features if prune is OUT else layer.in_features
        node = Node(layer, None)
        group.add_dep(Dependency(prune, prune, node, node), list(range(width)))
        group[len(group) - 1].root_idxs = [channel * units.number // width for channel in range(width)]
    return group


def _without(
    model: nn.Module,
    units: Mapping[str, Sequence[Units]],
    scores: Mapping[str, Sequence[Tensor]],
    ranking: str,
    ratio: float,
) -> nn.Module:
    """Return a copy that has lost a share of its heads and of its hidden channels."""
    small = copy.deepcopy(model).eval()
    for kind, of_kind in units.items():
        together = torch.cat(list(scores[kind])).sort().values
        threshold = together[int(ratio * len(together))]
        for each, its in zip(of_kind, scores[kind], strict=True):
            count = int((its < threshold).sum()) if ranking == "global" else int(ratio * len(its))
            gone = its.argsort()[: min(count, int(LARGEST * len(its)))]
            for layer, prune in each.layers(small):
                width = layer.out_features if prune is OUT else layer.in_features
                channels = torch.arange(width).view(each.number, -1)[gone].flatten().tolist()
                if channels:
                    prune(layer, channels)
    return small


def widths(network: nn.Module) -> dict[str, list[int]]:
    """Return how many heads and hidden channels a network's layers have."""
    return {kind: [each.number for each in of_kind] for kind, of_kind in units_of(network).items()}
