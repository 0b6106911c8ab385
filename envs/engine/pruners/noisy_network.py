"""A network with noise on its weights and inputs, so that nothing hides what removing channels does to its outputs."""

import torch
from torch import Tensor, nn

from envs.engine.network.calls import Inputs, flatten_outputs, forward, map_tensors
from envs.engine.network.isolation import copy_modules
from envs.engine.network.modules import BatchNorm

NOISE, SMALL = 0.1, 0.3
PERIOD = 65_537
"""A prime number: drawing a value for each of many millions of weights takes longer than all else."""


def with_noise(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, Inputs]:
    """Return network and input with as much noise as the network stands without failing or overflowing."""
    candidate = with_noisy_weights(model)
    for example in (map_tensors(inputs, _with_noise), inputs):
        try:
            with torch.no_grad():
                outputs = flatten_outputs(forward(candidate, example))
        except Exception:  # noqa: S112  the network may accept certain values only
            continue
        if not any(bool(output.isnan().any()) for output in outputs):
            return candidate, example
    return model, inputs


def _with_noise(tensor: Tensor) -> Tensor:
    """Make an example input of zeros or ones show more."""
    if not tensor.is_floating_point():
        return tensor
    return tensor + NOISE * _noise(tensor, torch.Generator().manual_seed(0))


def with_noisy_weights(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` with noise on all weights and statistics.

    A fault shows in the output only if nothing hides it: branches that start at zero, fresh batch norms to which a
    channel of zeros and an absent one are the same, biases of zero.
    """
    generator = torch.Generator().manual_seed(0)
    plain = (each for each in model.parameters() if type(each) is nn.Parameter and each.is_floating_point())
    made = {id(each): nn.Parameter(_noisy(each.detach(), generator), each.requires_grad) for each in plain}
    noisy = copy_modules(model, dict(made))
    others = (each for each in noisy.parameters() if type(each) is not nn.Parameter and each.is_floating_point())
    with torch.no_grad():
        for tensor in others:
            tensor.copy_(_noisy(tensor, generator))
        for module in noisy.modules():
            if isinstance(module, BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.add_(module.running_var.sqrt() * _noise(module.running_mean, generator))
                module.running_var.mul_(1 + _noise(module.running_var, generator).abs())
    return noisy


def _noisy(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return a tensor with noise; that of a large one repeats itself, which no layer's width divides."""
    if not tensor.numel():
        return tensor.clone()
    scale, result = _noise_scale(tensor), torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    noise = torch.randn(min(tensor.numel(), PERIOD), generator=generator).to(tensor)
    values, flat = tensor.flatten(), result.view(-1)
    whole = len(values) // len(noise) * len(noise)
    torch.add(values[:whole].view(-1, len(noise)), noise, alpha=scale, out=flat[:whole].view(-1, len(noise)))
    torch.add(values[whole:], noise[: len(values) - whole], alpha=scale, out=flat[whole:])
    return result


def _noise_scale(tensor: Tensor) -> float:
    """Return a tenth of the size that a weight usually has, or has; all of it where it is far smaller.

    Attention of small weights attends to everything alike, whatever its heads are.
    """
    usual = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 1.0
    size = float(torch.linalg.vector_norm(tensor.float())) * tensor.numel() ** -0.5
    return usual if tensor.ndim > 1 and 0.0 < size < SMALL * usual else NOISE * max(usual, size)


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return noise in the shape of a tensor."""
    return torch.randn(like.shape, generator=generator).to(like)
