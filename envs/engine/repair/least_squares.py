"""Repair without training: least squares for every layer that reads fewer channels.

The arithmetic is that of :mod:`envs.engine.repair.layer_solver`. Here a network's layers are solved together, and what
was solved once is remembered.
"""

from collections.abc import Mapping, Sequence

import torch
from cachetools import LRUCache
from torch import Tensor, nn

from envs.engine.network.calls import Inputs
from envs.engine.network.modules import is_reconstructible
from envs.engine.repair.calibration import collect_moments
from envs.engine.repair.layer_solver import LayerSolver, Solution, ranked_columns
from envs.engine.repair.readers import Reader, find_readers
from envs.engine.tracing.graph import NetworkGraph

__all__ = [
    "LayerSolver",
    "Reader",
    "Reconstruction",
    "Solution",
    "build_reconstruction",
    "find_readers",
]

CACHE_BYTES = 1 << 30


class Reconstruction:
    """The solvers of a network, and every solution asked for so far."""

    def __init__(self, solvers: Mapping[str, LayerSolver], folds: Mapping[str, str]) -> None:
        """Keep the solvers by layer name; ``folds`` names the batch norm behind a layer."""
        self._solvers = solvers
        self._folds = folds
        self._solutions: LRUCache[tuple[str, tuple[int, ...]], Solution] = LRUCache(CACHE_BYTES, _solution_bytes)

    def solve(self, kept: Sequence[int]) -> dict[str, Solution]:
        """Return the solutions of all layers that lose inputs, for ``kept`` units in every group."""
        solutions = {}
        for name, solver in self._solvers.items():
            counts = tuple(kept[group] for group in solver.reader.groups)
            if all(count == len(rank) for count, rank in zip(counts, solver.reader.ranks, strict=True)):
                continue
            key = (name, counts)
            if key not in self._solutions:
                self._solutions[key] = solver.solve(counts)
            solutions[name] = self._solutions[key]
        return solutions

    def errors(self, name: str, group: int) -> Tensor:
        """Return the share of a layer's output energy that is lost with 0 ... units left of one group."""
        return self._solvers[name].errors(group)

    def shift_outputs(self, small: nn.Module, name: str, shift: Tensor) -> None:
        """Add ``shift`` to the outputs of a layer of ``small``: to its bias, else against the norm behind it."""
        layer = small.get_submodule(name)
        with torch.no_grad():
            if isinstance(layer.bias, Tensor):
                layer.bias += shift
                return
            norm = small.get_submodule(self._folds[name])
            norm.running_mean -= shift  # type: ignore[operator]


def _solution_bytes(solution: Solution) -> int:
    return solution.weight.numel() * solution.weight.element_size()


def build_reconstruction(
    model: nn.Module, graph: NetworkGraph, ranks: Sequence[Tensor], images: Inputs, seed: int
) -> Reconstruction:
    """Run the calibration pass and factor every layer that reads a channel group.

    Args:
        model: the dense network in eval mode.
        graph: its groups.
        ranks: for every group its units from most to least important.
        images: calibration inputs.
        seed: chooses the sampled pixels.
    """
    readers = {
        name: reader
        for name, reader in find_readers(graph.groups, ranks).items()
        if is_reconstructible(model.get_submodule(name))
    }
    orders = {name: ranked_columns(model.get_submodule(name), reader) for name, reader in readers.items()}
    moments = collect_moments(model, readers, images, seed, orders=orders)
    folds = {
        layer: norm
        for layer, norm in graph.folds
        if getattr(model.get_submodule(norm), "running_mean", None) is not None
    }
    solvers = {}
    for name, reader in readers.items():
        module = model.get_submodule(name)
        intercept = isinstance(module.bias, Tensor) or name in folds
        # Taken out, so that its memory is free for the next layer's factor.
        solvers[name] = LayerSolver(module, reader, moments.pop(name), intercept)
    return Reconstruction(solvers, folds)
