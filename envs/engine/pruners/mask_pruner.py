"""Granularities finer than a channel: weights become zero and stay it; the network keeps its shape."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from torch import nn

from envs.engine.criteria.ranking import rank_units
from envs.engine.errors import nothing_to_prune
from envs.engine.network.calls import Call, Inputs
from envs.engine.network.modules import is_product, weight_of
from envs.engine.network.samples import Samples
from envs.engine.plugins import find
from envs.engine.pruners.network_table import Parts, network_layers
from envs.engine.pruners.pruned_weight import PrunedWeight, count_macs, prune_weight, unit_choices
from envs.engine.pruners.steps import describe
from envs.engine.repair.masked_least_squares import MaskedReconstruction
from envs.engine.settings import EngineSettings
from envs.engine.surgery.compaction import fold_batch_norms
from envs.engine.surgery.granularity import GRANULARITIES
from envs.engine.surgery.masking import mask_weight, without_masks
from envs.engine.tracing.graph import find_folds
from envs.engine.tracing.preflight import check_names, is_inside, screen
from envs.engine.types import Cost, Layer, NetworkLayer


class MaskPruner:
    """Prunes single weights, vectors, kernels or N of M weights; one step is one weight tensor.

    Every convolution and linear layer that is called has its weight pruned, depthwise layers and the classifier
    among them. A weight that several layers share is one step and pruned once; a layer that is called twice is one
    step and its FLOPs count twice.

    A network that has masks is pruned further: what a mask holds at zero stays zero, and units are those left.

    For granularity ``n_m`` a step's units are the ``m`` weights of a group: keeping 2 of 4 is 2:4.

    Attributes:
        layers: one a weight tensor, in the order in which they are first used.
        unprunable: convolutions and linear layers that cannot be pruned, with the reason.
    """

    def __init__(self, model: nn.Module, example_inputs: Inputs, samples: Samples, settings: EngineSettings) -> None:
        """Find the layers and rank their units.

        Args:
            model: the dense network in eval mode; it must not change afterwards.
            example_inputs: what it is called with.
            samples: calibration data on its device.
            settings: granularity and criterion.

        Raises:
            GraphError: the network fails, or has nothing to prune.
            ValueError: the criterion needs labels, and there are none.
        """
        check_names(model, settings.ignore)
        calls = screen(model, example_inputs, settings.ignore)
        macs = count_macs(model, example_inputs)
        self.unprunable = _unprunable(model, calls, settings.ignore)
        users = _users(model, calls, self.unprunable)
        if not users:
            raise nothing_to_prune(self.unprunable)
        cut = find("granularities", settings.granularity, GRANULARITIES)
        kernels = {first: tuple(weight_of(model.get_submodule(first)).shape[2:]) for first, *_ in users}
        cuts = {first: cut(kernel, settings.vector_size, settings.m) for first, kernel in kernels.items()}
        ranks = rank_units(model, cuts, samples, settings)
        self._model = model
        self._weights = tuple(
            prune_weight(model, names, cuts[names[0]], ranks[names[0]], sum(macs[name] for name in names))
            for names in users
        )
        self.layers = tuple(_layer(model, calls, weight) for weight in self._weights)
        self._dense_macs = sum(macs.values())
        self._parameters = sum(parameter.numel() for parameter in model.parameters())
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._bytes = sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *buffers))
        self._folds = find_folds(model, example_inputs, calls)
        self._inputs, self._settings = samples.inputs, settings

    def network_layers(self, inputs: Inputs) -> tuple[NetworkLayer, ...]:
        """Return every convolution and linear layer of the network, given what it is called with."""
        parts = {name: Parts(weight=step) for step, weight in enumerate(self._weights) for name in weight.modules}
        return network_layers(self._model, inputs, parts, self.unprunable, products_only=True)

    @property
    def knows(self) -> Mapping[str, Callable[[int], tuple[float, ...]]]:
        """What can be said of a layer beside: scores of its units, and the reconstruction error."""
        always = {"unit_scores": self.unit_scores}
        return always | ({"reconstruction_error": self.reconstruction_error} if self._settings.reconstruct else {})

    def unit_scores(self, step: int) -> tuple[float, ...]:
        """Return the criterion's scores of a weight's units, from the best on, the mean over groups."""
        return tuple(self._weights[step].scores.tolist())

    def reconstruction_error(self, step: int) -> tuple[float, ...]:
        """Return the share of their outputs' energy that the layers of a weight lose for each choice, not repaired."""
        weight = self._weights[step]
        module = self._model.get_submodule(weight.modules[0])
        masks = (weight.mask(count, module) for count in reversed(self.layers[step].choices))
        return tuple(self._reconstruction.errors(weight.modules[0], masks).tolist()[::-1])

    @cached_property
    def _reconstruction(self) -> MaskedReconstruction:
        """A calibration pass, made when it is first asked for."""
        measured_anew = self._settings.batch_norm_images(compensated=False) > 0
        norms = dict(self._folds) if measured_anew else {}
        users = [weight.modules for weight in self._weights]
        return MaskedReconstruction(self._model, users, norms, self._inputs, self._settings.seed)

    def cost(self, kept: Sequence[int]) -> Cost:
        """Return what is left with ``kept`` units in every weight, for one sample.

        FLOPs and parameters count the weights that stay. Memory is the network as it would be shipped: CSR, or values
        with their ranks for N:M (:mod:`envs.engine.costs.storage`), dense where that is smaller; all else is dense.
        """
        gone_macs, gone, gone_bytes = 0.0, 0.0, 0.0
        for weight, count in zip(self._weights, kept, strict=True):
            lost = weight.size - float(weight.values[count - 1])
            gone += lost
            gone_macs += lost * weight.macs
            gone_bytes += weight.size * weight.value_bytes - weight.stored_bytes(count)
        return Cost(self._dense_macs - gone_macs, self._parameters - gone, self._bytes - gone_bytes)

    def prune(self, kept: Sequence[int]) -> nn.Module:
        """Return a network of the dense one's shape whose pruned weights are zero and stay so in training.

        Those that stay are fitted to the dense layers' outputs, if the settings say so.
        """
        masked = copy.deepcopy(self._model).eval()
        for weight, layer, count in zip(self._weights, self.layers, kept, strict=True):
            if count < layer.units:
                first = weight.modules[0]
                mask = weight.mask(count, self._model.get_submodule(first))
                fitted = self._reconstruction.solve(first, count, mask) if self._settings.reconstruct else None
                if fitted is not None:
                    weight_of(masked.get_submodule(first)).copy_(fitted)
                for name in weight.modules:
                    mask_weight(masked.get_submodule(name), mask)
        return masked

    def finish(self, kept: Sequence[int]) -> nn.Module:
        """Do as ``prune``: there is nothing more to repair."""
        return self.prune(kept)

    def for_inference(self, model: nn.Module) -> nn.Module:
        """Return a copy without masks, its batch norms folded into the layers before them."""
        return fold_batch_norms(without_masks(model), self._folds)


def _unprunable(model: nn.Module, calls: Mapping[str, Call], ignore: Sequence[str]) -> dict[str, str]:
    """Return the convolutions and linear layers that cannot be pruned, with the reason."""
    layers = {name: module for name, module in model.named_modules() if is_product(module)}
    found = {}
    for name, module in layers.items():
        if is_inside(name, ignore):
            found[name] = "is ignored"
        elif "weight" not in dict(module.named_parameters(recurse=False)):
            found[name] = "computes its weight"
        elif name not in calls:
            found[name] = "is not called on the example input"
    # Parameters only: a computed weight is a new tensor each time it is read, and its id may be another's by then.
    weights = {name: layer._parameters.get("weight") for name, layer in layers.items()}
    frozen = {id(weights[name]): name for name in found if weights[name] is not None}
    sharing = {name: frozen[id(weight)] for name, weight in weights.items() if id(weight) in frozen}
    return {name: f"shares its weight with {other}, which is left whole" for name, other in sharing.items()} | found


def _users(model: nn.Module, calls: Mapping[str, Call], unprunable: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return for every weight tensor that is pruned the layers that use it, in the order of their calls."""
    users: dict[int, list[str]] = defaultdict(list)
    for name in sorted(calls, key=lambda name: calls[name].order):
        module = model.get_submodule(name)
        if is_product(module) and name not in unprunable:
            users[id(module.weight)].append(name)
    return [tuple(names) for names in users.values()]


def _layer(model: nn.Module, calls: Mapping[str, Call], weight: PrunedWeight) -> Layer:
    """Describe a weight by the first layer that uses it."""
    name = weight.modules[0]
    flops = weight.macs * float(weight.values[-1])
    return describe(name, model.get_submodule(name), calls[name], unit_choices(weight.units), flops)
