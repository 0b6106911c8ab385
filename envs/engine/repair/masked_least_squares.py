"""Least squares for a layer whose weights are masked: those that stay make up for those that are zero.

With X what the layer reads, W its dense weights and M the mask, what keeps its outputs best is

    W' = argmin || X (W - W')^T ||^2 + ridge ||W' - W o M||^2    over all W' that are zero where M is.

Every row has its own zeros and so its own equations, whose matrix is a part of G = X^T X / n. Solving them one by one
takes rows times columns cubed; conjugate gradients take one product with G for all rows together a step, and ten steps
are enough. (Frantar and Alistarh's SparseGPT, for such layers in language models, goes over the columns instead.)

References:
    Hestenes and Stiefel, 1952, "Methods of conjugate gradients for solving linear systems"; Frantar and Alistarh, 2023,
    "SparseGPT", arXiv 2301.00774; He, Zhang and Sun, 2017, arXiv 1707.06168, for least squares of what stays.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from cachetools import LRUCache
from torch import Tensor, nn

from envs.engine.network.calls import Inputs
from envs.engine.network.modules import blocks_of, is_reconstructible, weight_of
from envs.engine.network.weight_matrix import by_block
from envs.engine.repair.calibration import collect_moments
from envs.engine.repair.masking_error import lost_shares

STEPS = 10
"""A hundred end no better (``benchmarks/repair.md``)."""
RIDGE = 0.1
"""Relative to the mean variance of a block's inputs."""
CACHE_BYTES = 1 << 30


class MaskedReconstruction:
    """The second moments of what every layer of a network reads, and every solution asked for so far."""

    def __init__(
        self, model: nn.Module, users: Sequence[Sequence[str]], norms: Mapping[str, str], inputs: Inputs, seed: int
    ) -> None:
        """Run the dense network over calibration data once.

        Args:
            model: the dense network in eval mode; it must not change afterwards.
            users: for every weight that is to be fitted the layers that use it; those that are not linear in windows of
                their inputs are left out.
            norms: the batch norm behind a layer, where it is measured anew: it takes constants away, so moments are
                about the mean.
            inputs: calibration inputs on the model's device.
            seed: chooses the sampled pixels.

        Raises:
            ValueError: the moments are not finite.
        """
        self._model = model
        solved = [names for names in users if all(is_reconstructible(model.get_submodule(name)) for name in names)]
        moments = collect_moments(model, [name for names in solved for name in names], inputs, seed)
        if not all(moment.finite for moment in moments.values()):
            raise ValueError("the calibration data makes the network's activations infinite or NaN")
        self._grams: dict[str, Tensor] = {}
        for names in solved:
            dtype = torch.promote_types(weight_of(model.get_submodule(names[0])).dtype, torch.float32)
            parts = [(moments.pop(name), name in norms) for name in names]
            count = sum(moment.count for moment, _ in parts)
            grams = [moment.second_moment(centered, dtype) * (moment.count / count) for moment, centered in parts]
            self._grams[names[0]] = torch.stack(grams).sum(0)
        self._solutions: LRUCache[tuple[str, int], Tensor] = LRUCache(CACHE_BYTES, lambda weight: weight.nbytes)

    def errors(self, name: str, masks: Iterable[Tensor]) -> Tensor:
        """Return the share of their outputs' energy that the layers of a weight lose with each mask, not repaired.

        Of layers that are not linear in windows of their inputs it is the share of the squared weights, what it were
        with white inputs. See ``envs.engine.repair.masking_error.lost_shares``.

        Args:
            name: of the first layer that uses the weight.
            masks: in its shape, from the one that keeps most.
        """
        module = self._model.get_submodule(name)
        weight, gram = weight_of(module), self._grams.get(name)
        return lost_shares(weight.to(weight.dtype if gram is None else gram.dtype), masks, gram, blocks_of(module))

    def solve(self, name: str, kept: int, mask: Tensor) -> Tensor | None:
        """Return a weight, what stays of it fitted to the dense layer's outputs; ``None`` where that cannot be done.

        Args:
            name: of the first layer that uses it.
            kept: units that stay, which say what the mask is.
            mask: which weights stay, bool in the weight's shape.
        """
        gram = self._grams.get(name)
        if gram is None:
            return None
        fitted = self._solutions.get((name, kept))
        if fitted is None:
            module = self._model.get_submodule(name)
            weight = weight_of(module)
            dense, stays = (by_block(values, blocks_of(module)) for values in (weight.to(gram.dtype), mask))
            fitted = refit(dense, stays, gram).reshape(weight.shape).to(weight.dtype)
            if fitted.nbytes <= CACHE_BYTES:
                self._solutions[name, kept] = fitted
        return fitted


def refit(weight: Tensor, mask: Tensor, gram: Tensor, ridge: float = RIDGE, steps: int = STEPS) -> Tensor:
    """Return the weights that stay, fitted to the dense layer's outputs.

    Args:
        weight: dense weights, shape ``(blocks, outputs of a block, columns)``.
        mask: which of them stay, bool, of that shape.
        gram: second moments of what they read, shape ``(blocks, columns, columns)``.
        ridge: towards the weights that are there, relative to the mean variance of a block's inputs.
        steps: of conjugate gradients, preconditioned by the diagonal.

    Returns:
        Weights of that shape, zero where the mask is.
    """
    diagonal = gram.diagonal(dim1=1, dim2=2).unsqueeze(1)
    ridge_of = ridge * diagonal.mean(2, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
    scale = diagonal + ridge_of
    change = torch.zeros_like(weight)
    left = ((weight * ~mask) @ gram) * mask  # what the equations are off by
    direction = left / scale
    size = (left * direction).sum(2, keepdim=True)
    for _ in range(steps):
        product = (direction @ gram + ridge_of * direction) * mask
        curvature = (direction * product).sum(2, keepdim=True)
        step = torch.where(curvature > 0, size / curvature, 0)
        change += step * direction
        left -= step * product
        next_direction = left / scale
        before, size = size, (left * next_direction).sum(2, keepdim=True)
        direction = next_direction + torch.where(before > 0, size / before, 0) * direction
    return weight * mask + change
