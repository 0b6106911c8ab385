"""Give the layers of a dense network the shapes that a pruned network's tensors have."""

from collections.abc import Mapping
from functools import singledispatch

import torch
from torch import Size, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

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
            resize_layer(module, own)
        except ValueError as error:
            raise ValueError(f"layer {path}: {error}") from error
        for name, shape in own.items():
            _replace(module, name, tensors[name], shape)


@singledispatch
def resize_layer(module: nn.Module, shapes: Shapes) -> None:
    """Change the sizes that ``module`` remembers, such as ``in_channels``, to fit its tensors' new ``shapes``."""
    raise ValueError(f"a {type(module).__name__} with pruned {', '.join(shapes)} cannot be rebuilt")


@resize_layer.register
def _(module: _ConvNd, shapes: Shapes) -> None:
    first, second, *kernel = shapes["weight"]
    if tuple(kernel) != tuple(module.kernel_size):
        raise ValueError(f"kernel {kernel} instead of {list(module.kernel_size)}")
    if module.groups > 1 and module.groups == module.in_channels:
        # Depthwise: one group an input channel, before and after.
        multiplier = module.out_channels // module.groups
        module.groups = first if module.transposed else max(first // multiplier, 1)
    if module.transposed:
        module.in_channels, module.out_channels = first, second * module.groups
    else:
        module.out_channels, module.in_channels = first, second * module.groups
    if module.in_channels % module.groups or module.out_channels % module.groups:
        raise ValueError(f"{module.in_channels} to {module.out_channels} channels in {module.groups} groups")


@resize_layer.register
def _(module: nn.Linear, shapes: Shapes) -> None:
    module.out_features, module.in_features = shapes["weight"]


@resize_layer.register
def _(module: nn.Embedding, shapes: Shapes) -> None:
    module.num_embeddings, module.embedding_dim = shapes["weight"]


@resize_layer.register
def _(module: _NormBase, shapes: Shapes) -> None:
    # Without affine weights the running statistics give the size.
    module.num_features = shapes["weight" if "weight" in shapes else "running_mean"][0]


@resize_layer.register
def _(module: nn.GroupNorm, shapes: Shapes) -> None:
    # Groups stay as wide as they were; whole ones go.
    width, channels = module.num_channels // module.num_groups, shapes["weight"][0]
    if channels % width:
        raise ValueError(f"{channels} channels in groups of {width}")
    module.num_channels, module.num_groups = channels, channels // width


@resize_layer.register
def _(module: nn.LayerNorm, shapes: Shapes) -> None:
    module.normalized_shape = tuple(shapes["weight"])


@resize_layer.register
def _(module: nn.PReLU, shapes: Shapes) -> None:
    module.num_parameters = shapes["weight"][0]


def _replace(module: nn.Module, name: str, old: torch.Tensor, shape: Size) -> None:
    new = torch.empty(shape, dtype=old.dtype, device=old.device)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    setattr(module, name, new)
