"""The engine for real networks: prunes, repairs, scores."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from envs.engine.errors import NotKnown
from envs.engine.free_rounding import free_choices
from envs.engine.latency import LatencyModel
from envs.engine.network.batches import count_samples, device_of, take
from envs.engine.network.calls import Inputs, map_tensors
from envs.engine.network.isolation import copy_network
from envs.engine.network.kinds import add_layer_kinds
from envs.engine.network.memory_layout import layout_of
from envs.engine.network.samples import Loss, Samples
from envs.engine.pruners.block_pruner import BlockPruner
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.pruners.mask_pruner import MaskPruner
from envs.engine.pruners.pruner import Pruner, as_compact
from envs.engine.repair.adaptive_bn import recalibrate_batch_norms
from envs.engine.scoring.precision import choose_precision, running_in
from envs.engine.scoring.top1 import Score
from envs.engine.settings import EngineSettings
from envs.engine.surgery.granularity import GRANULARITIES
from envs.engine.threads import on_a_core_each
from envs.engine.types import Cost, Evaluation, Layer, NetworkLayer, Strategy

Result = TypeVar("Result")

ADAPTIVE_BATCH = 100
PRUNERS: dict[str, Callable[[nn.Module, Inputs, Samples, EngineSettings], Pruner]] = {
    "channel": ChannelPruner,
    **dict.fromkeys(("block", "channel_block"), BlockPruner),
    **dict.fromkeys(GRANULARITIES, MaskPruner),
}
"""What prunes in which granularity: ``(dense network, example inputs, calibration data, settings)``."""
NOT_KNOWN = {
    "unit_scores": "granularity={0.granularity} has no scores of whole units; take channel",
    "reconstruction_error": "reconstruct={0.reconstruct} leaves the reconstruction error unknown; take true",
}
"""Why an engine does not offer what others do."""


class TorchEngine:
    """Carries strategies out on a network and scores the result.

    ``evaluate`` is looked up where a strategy with the same numbers of units was scored before. It is a pure function
    of the strategy if ``score`` is one of the network; a ``RacingScorer`` is not, it goes by what it scored before. The
    network given is copied and never touched.

    Attributes:
        score: scores a network.
        model: the dense network.
        pruner: prunes it.
        precision: what candidates run in, ``fp32`` or ``bf16``.
        unit_scores: of a layer, see ``envs.engine.types.KnowsUnitScores``; not there where the pruner knows none.
        reconstruction_error: of a layer, see ``envs.engine.types.KnowsReconstructionError``; likewise.
    """

    unit_scores: Callable[[int], tuple[float, ...]]
    reconstruction_error: Callable[[int], tuple[float, ...]]

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Inputs,
        calibration: Inputs,
        score: Score,
        settings: EngineSettings | None = None,
        calibration_labels: Tensor | None = None,
        loss: Loss = cross_entropy,
        batch_norm_inputs: Inputs | None = None,
    ) -> None:
        """Trace the network and run the calibration pass.

        Args:
            model: the trained dense network, on the device that candidates are to run on.
            example_inputs: what the network is called with.
            calibration: calibration inputs on the same device, tensors of shape ``(n, ...)``.
            score: scores a network on the search split.
            settings: how to choose units and repair.
            calibration_labels: what ``loss`` compares outputs with, for criteria that look at gradients.
            loss: what the network was trained with: ``(outputs, labels) -> mean loss``.
            batch_norm_inputs: what batch norms are measured anew on: inputs as training shows them, shifted or cropped,
                which have other statistics than plain ones. By default ``calibration``.

        Raises:
            GraphError: the network cannot be traced, has nothing to prune, or nothing that the criterion goes by.
            ValueError: the criterion needs labels, and there are none.
        """
        self.settings, self.score = settings or EngineSettings(), score
        self.model = copy_network(model)
        lay_out = layout_of(self.model, calibration)
        samples = Samples(map_tensors(calibration, lay_out), calibration_labels, loss)
        add_layer_kinds(self.settings.layer_kinds)
        # One's own granularity masks weights.
        self.pruner = PRUNERS.get(self.settings.granularity, MaskPruner)(
            self.model, example_inputs, samples, self.settings
        )
        vars(self).update(self.pruner.knows)
        self._device = device_of(samples.inputs)
        self.precision = choose_precision(self.settings.precision, self.model, example_inputs, self._device)
        self._example = example_inputs
        self._shown = samples.inputs if batch_norm_inputs is None else map_tensors(batch_norm_inputs, lay_out)
        self._evaluations: dict[tuple[int, ...], Evaluation] = {}

    if not TYPE_CHECKING:  # it would let every name pass

        def __getattr__(self, name: str) -> NoReturn:
            """Say why something is not known.

            Raises:
                NotKnown: other settings know it.
                AttributeError: no engine has it.
            """
            if name in NOT_KNOWN:
                raise NotKnown(NOT_KNOWN[name].format(self.settings).replace("=False", "=false"))
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The steps of the MDP, in forward order."""
        return self.pruner.layers

    @property
    def dense_strategy(self) -> Strategy:
        """The strategy that prunes nothing."""
        return (1.0,) * len(self.layers)

    @property
    def unprunable(self) -> Mapping[str, str]:
        """Modules that keep everything, with the reason."""
        return self.pruner.unprunable

    @cached_property
    def network_layers(self) -> tuple[NetworkLayer, ...]:
        """Every layer of the network, searched or kept whole, see ``envs.engine.types.KnowsNetwork``."""
        return self.pruner.network_layers(self._example)

    def kept(self, strategy: Strategy) -> tuple[int, ...]:
        """Return the number of units that ``strategy`` keeps in every layer.

        Raises:
            ValueError: the strategy has not one ratio in (0, 1] for every layer.
        """
        ratios = zip(strategy, self.layers, strict=False)
        valid = all(0 < keep <= 1 or (keep == 0 and layer.is_block) for keep, layer in ratios)
        if len(strategy) != len(self.layers) or not valid:
            raise ValueError(f"strategy {strategy}: needs {len(self.layers)} keep ratios in (0, 1]")
        return tuple(layer.kept(keep) for layer, keep in zip(self.layers, strategy, strict=True))

    def cost(self, strategy: Strategy) -> Cost:
        """Return FLOPs, parameters and bytes of the network pruned by ``strategy``, for one sample."""
        return self.pruner.cost(self.kept(strategy))

    def predict_latency(self, model: LatencyModel, *, round_freely: bool = False) -> None:
        """Let costs hold the seconds that a table of this network's layers predicts.

        Args:
            model: predicts them.
            round_freely: leave out numbers of units that take as long as larger ones.

        Raises:
            NotKnown: weights are masked, and the network stays as large.
        """
        pruner = as_compact(self.pruner, self.settings.granularity, "a table of latencies")
        pruner.predict_latency(model)
        if round_freely:
            pruner.restrict(free_choices(self.layers, pruner.cost))

    def track_peak(self, example_inputs: Inputs) -> None:
        """Let costs hold the memory that a forward pass takes at its peak.

        Args:
            example_inputs: one sample.

        Raises:
            NotKnown: weights are masked, and the network stays as large.
        """
        as_compact(self.pruner, self.settings.granularity, "memory at the peak").track_peak(example_inputs)

    def evaluate(self, strategy: Strategy) -> Evaluation:
        """Prune, repair, make ready for inference and score."""
        kept = self.kept(strategy)
        return self._evaluations[kept] if kept in self._evaluations else self.score_again(strategy)

    @property
    def at_once(self) -> int:
        """How many strategies keep the cores busy: one each, if scores are pure and the device is the host."""
        is_pure = getattr(self.score, "is_pure", False)
        return torch.get_num_threads() if is_pure and self._device.type == "cpu" else 1

    def evaluate_many(self, strategies: Sequence[Strategy]) -> list[Evaluation]:
        """Evaluate strategies, as many side by side as ``at_once`` says; see ``envs.engine.types.EvaluatesMany``."""
        fresh = {self.kept(strategy): strategy for strategy in strategies}
        waiting = [strategy for kept, strategy in fresh.items() if kept not in self._evaluations]
        while len(waiting) > 1 and self.at_once > 1:
            together, waiting = waiting[: self.at_once], waiting[self.at_once :]
            # Least squares with all cores, as for one strategy: the last bits depend on how many there are.
            pruned = [self.pruner.prune(self.kept(strategy)) for strategy in together]
            for strategy, evaluation in zip(together, on_a_core_each(self._score_pruned, pruned), strict=True):
                self.remember(strategy, evaluation)
        return [self.evaluate(strategy) for strategy in strategies]

    def _score_pruned(self, pruned: nn.Module) -> Evaluation:
        return self.score_network(self._normalized(pruned, self.settings.compensates))

    def score_again(self, strategy: Strategy) -> Evaluation:
        """Evaluate a strategy whether it was scored before or not."""
        evaluation = self._score_pruned(self.pruner.prune(self.kept(strategy)))
        self.remember(strategy, evaluation)
        return evaluation

    def score_network(self, pruned: nn.Module) -> Evaluation:
        """Score a network that ``prune`` or ``finish`` returned."""
        return self.run(pruned, self.score)

    def run(self, pruned: nn.Module, work: Callable[[nn.Module], Result]) -> Result:
        """Return what ``work`` makes of a pruned or the dense network, ready and in the precision of candidates."""
        candidate = self.pruner.for_inference(pruned)
        with running_in(self.precision, self._device):
            return work(candidate)

    def remember(self, strategy: Strategy, evaluation: Evaluation) -> None:
        """Have ``evaluate`` return an evaluation that was made before, such as by a run that was cut short."""
        self._evaluations[self.kept(strategy)] = evaluation

    def forget(self) -> None:
        """Drop every remembered evaluation, such as when ``score`` was exchanged."""
        self._evaluations.clear()

    def prune(self, strategy: Strategy) -> nn.Module:
        """Return the pruned network as it is scored, but for folding: repaired as candidates are."""
        return self._normalized(self.pruner.prune(self.kept(strategy)), self.settings.compensates)

    def finish(self, strategy: Strategy) -> nn.Module:
        """Return the pruned network, repaired as well as the settings allow: what fine-tuning and export take."""
        return self._normalized(self.pruner.finish(self.kept(strategy)), self.settings.compensates_finally)

    def _normalized(self, pruned: nn.Module, compensated: bool) -> nn.Module:
        """Measure batch norms anew, in place."""
        images = take(self._shown, slice(self.settings.batch_norm_images(compensated)))
        if count_samples(images):
            with running_in(self.precision, self._device):
                recalibrate_batch_norms(pruned, images, ADAPTIVE_BATCH)
        return pruned
