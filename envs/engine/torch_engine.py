"""The engine for real networks: prunes channels, repairs, scores."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from envs.engine.calls import Inputs
from envs.engine.channels import ChannelGroup, Place, Side
from envs.engine.compact import compact, fold_batch_norms, kept_channels, mask_inputs
from envs.engine.criteria import CRITERIA, ranking, reading_rows
from envs.engine.door import keep_removable
from envs.engine.errors import GraphError
from envs.engine.graph import NetworkGraph, trace
from envs.engine.reconstruction import build_reconstruction, recalibrate_batch_norms
from envs.engine.resources import ResourceModel, multiply_accumulates
from envs.engine.scoring import Score
from envs.engine.types import Cost, Evaluation, Layer, Strategy

ADAPTIVE_BATCH = 100
COARSEST, FEWEST_CHOICES = 8, 8


@dataclass(frozen=True)
class EngineSettings:
    """How channels are chosen and pruned networks repaired.

    Attributes:
        criterion: name in ``CRITERIA``.
        round_to: kept channels are a multiple of this; ``None`` takes 8, less for layers too narrow to have
            eight choices then.
        ignore: modules that keep all their channels.
        reconstruct: fit the remaining weights by least squares.
        adaptive_bn: calibration images on which batch norms are measured anew; 0 leaves them alone.
        seed: chooses the pixels that least squares sees.

    Raises:
        ValueError: a value is out of range.
    """

    criterion: str = "l1"
    round_to: int | None = None
    ignore: tuple[str, ...] = ()
    reconstruct: bool = True
    adaptive_bn: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise ValueError(f"criterion={self.criterion!r}: choose one of {', '.join(CRITERIA)}")
        if self.round_to is not None and self.round_to < 1:
            raise ValueError(f"round_to={self.round_to}: the channel multiple must be 1 or more")
        if self.adaptive_bn < 0:
            raise ValueError(f"adaptive_bn={self.adaptive_bn}: the number of images must be 0 or more")


def channel_choices(units: int, round_to: int | None) -> tuple[int, ...]:
    """Return the numbers of units that may stay: multiples of ``round_to``, and all."""
    multiple = round_to
    if multiple is None:
        multiple = COARSEST
        while multiple > 1 and units < multiple * FEWEST_CHOICES:
            multiple //= 2
    return (*range(multiple, units, multiple), units)


class TorchEngine:
    """Carries strategies out on a network and scores the result; one step is one channel group.

    ``evaluate`` is a pure function of the strategy, and looked up where a strategy with the same numbers of
    channels was scored before. The network given is copied and never touched.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Inputs,
        calibration: Tensor,
        score: Score,
        settings: EngineSettings | None = None,
    ) -> None:
        """Trace the network and run the calibration pass.

        Args:
            model: the trained dense network, on the device that candidates are to run on.
            example_inputs: what the network is called with.
            calibration: calibration inputs on the same device, shape ``(n, ...)``.
            score: scores a network on the search split.
            settings: how to choose channels and repair.

        Raises:
            GraphError: the network cannot be traced or has nothing to prune.
        """
        self.settings = settings or EngineSettings()
        self.score = score
        self.model = copy.deepcopy(model).eval()
        graph = keep_removable(self.model, trace(self.model, example_inputs, self.settings.ignore), example_inputs)
        self.graph = _without_single_choices(graph, self.settings.round_to)
        self.layers = tuple(
            _layer(group, self.graph, self.model, self.settings.round_to) for group in self.graph.groups
        )
        self.resources = ResourceModel(self.model, self.graph)
        criterion = CRITERIA[self.settings.criterion]
        self.ranks = [ranking(criterion(reading_rows(self.model, group))).cpu() for group in self.graph.groups]
        self.calibration = calibration[: self.settings.adaptive_bn]
        self.reconstruction = (
            build_reconstruction(self.model, self.graph, self.ranks, calibration, self.settings.seed)
            if self.settings.reconstruct
            else None
        )
        self._evaluations: dict[tuple[int, ...], Evaluation] = {}

    @property
    def left_whole(self) -> dict[str, str]:
        """Modules that keep all their output channels, with the reason."""
        return self.graph.left_whole

    def kept(self, strategy: Strategy) -> tuple[int, ...]:
        """Return the number of units that ``strategy`` keeps in every layer.

        Raises:
            ValueError: the strategy has not one ratio in (0, 1] for every layer.
        """
        if len(strategy) != len(self.layers) or not all(0 < keep <= 1 for keep in strategy):
            raise ValueError(f"strategy {strategy}: needs {len(self.layers)} keep ratios in (0, 1]")
        return tuple(layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True))

    def cost(self, strategy: Strategy) -> Cost:
        """Return FLOPs, parameters and bytes of the network pruned by ``strategy``, for one sample."""
        return self.resources.cost(self.kept(strategy))

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Prune, repair, fold and score."""
        kept = self.kept(strategy)
        if kept not in self._evaluations:
            self._evaluations[kept] = self.score(fold_batch_norms(self._repaired(kept), self.graph.folds))
        return self._evaluations[kept]

    def prune(self, strategy: Strategy) -> nn.Module:
        """Return the smaller network, repaired and not folded: what fine-tuning and export take."""
        return self._repaired(self.kept(strategy))

    def mask(self, strategy: Strategy) -> nn.Module:
        """Return a dense-sized network that reads zero for the channels that go, not repaired."""
        return mask_inputs(self.model, self._channels(self.kept(strategy)))

    def _channels(self, kept: Sequence[int]) -> dict[Place, Tensor]:
        masks = []
        for rank, count in zip(self.ranks, kept, strict=True):
            mask = torch.zeros(len(rank), dtype=torch.bool)
            mask[rank[:count]] = True
            masks.append(mask)
        return kept_channels(self.graph.groups, masks)

    def _repaired(self, kept: Sequence[int]) -> nn.Module:
        channels = self._channels(kept)
        solutions = self.reconstruction.solve(kept) if self.reconstruction is not None else {}
        small = compact(self.model, channels, {name: solution.weight for name, solution in solutions.items()})
        for name, solution in solutions.items():
            if solution.shift is not None and self.reconstruction is not None:
                outputs = channels.get((name, Side.OUT), slice(None))
                self.reconstruction.shift_outputs(small, name, solution.shift[outputs])
        if len(self.calibration):
            recalibrate_batch_norms(small, self.calibration, ADAPTIVE_BATCH)
        return small


def _without_single_choices(graph: NetworkGraph, round_to: int | None) -> NetworkGraph:
    """Drop groups that rounding leaves no choice.

    Raises:
        GraphError: no group is left.
    """
    left_whole = dict(graph.left_whole)
    groups = []
    for group in graph.groups:
        if len(channel_choices(group.units, round_to)) > 1:
            groups.append(group)
            continue
        reason = f"has {group.units} channels to choose from, too few for round_to={round_to}"
        left_whole.update({site.module: reason for site in group.sites if site.side is not Side.IN})
    if not groups:
        reasons = (
            "; ".join(f"{name} {reason}" for name, reason in left_whole.items()) or "it has no layers with weights"
        )
        raise GraphError(f"the model has nothing to prune: {reasons}")
    return replace(graph, groups=tuple(groups), left_whole=left_whole)


def _layer(group: ChannelGroup, graph: NetworkGraph, model: nn.Module, round_to: int | None) -> Layer:
    """Describe a group by the first layer that reads it."""
    name = min((site.module for site in group.at(Side.IN)), key=lambda name: graph.calls[name].order)
    module, call = model.get_submodule(name), graph.calls[name]
    linear = isinstance(module, nn.Linear)
    pixels = (1, 1) if linear else (1, *call.inputs[2:])[-2:]
    return Layer(
        name=name,
        units=group.units,
        choices=channel_choices(group.units, round_to),
        outputs=int(module.out_features if linear else module.out_channels),  # type: ignore[arg-type]
        inputs=int(module.in_features if linear else module.in_channels),  # type: ignore[arg-type]
        height=pixels[0],
        width=pixels[1],
        stride=1 if linear else int(module.stride[-1]),  # type: ignore[index]
        kernel=1 if linear else int(module.kernel_size[-1]),  # type: ignore[index]
        flops=multiply_accumulates(module, call),
    )
