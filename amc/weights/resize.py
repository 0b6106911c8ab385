"""Give the layers of a dense network the shapes that a pruned network's tensors have."""

from collections.abc import Mapping

import torch
from torch import Size, nn

from envs.engine.network.kinds import kind_of

Shapes = Mapping[str, Size]


def resize(model: nn.Module, shapes: Shapes) -> None:
    """Set every layer of ``model`` to ``shapes``, in place; the new tensors are not initialised.

    Args:
        model: the dense network.
        shapes: wanted shape of each parameter and buffer, named as in ``model.state_dict()``.

    Raises:
        ValueError: a layer of this type, or of this kind of change, is not known.
    """
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        tensors = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
        own = {name: shapes[prefix + name] for name in tensors if prefix + name in shapes}
        if all(tensors[name].shape == shape for name, shape in own.items()):
            continue
        try:
            _set_widths(module, own)
        except ValueError as error:
            raise ValueError(f"layer {path}: {error}") from error
        for name, shape in own.items():
            _replace(module, name, tensors[name], shape)


def _set_widths(module: nn.Module, shapes: Shapes) -> None:
    """Change the sizes that ``module`` remembers, such as ``in_channels``, to fit its tensors' new ``shapes``."""
    kind = kind_of(module)
    if kind is None:
        raise ValueError(f"a {type(module).__name__} with pruned {', '.join(shapes)} cannot be rebuilt")
    kind.set_widths(module, kind.widths_from(module, shapes))


def _replace(module: nn.Module, name: str, old: torch.Tensor, shape: Size) -> None:
    new = torch.empty(shape, dtype=old.dtype, device=old.device)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(module, name, new)
