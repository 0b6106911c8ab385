"""Convolutions and linear layers that compute their weight in every pass, made plain ones that hold it.

So do weight norm and spectral norm, parametrizations, and convolutions that standardise their weights. The outputs are
the same; what the weight was computed from is no longer there. Linear layers that store their weight transposed, as
GPT-2's, become torch's.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from envs.engine.network.kinds import kind_of
from envs.engine.network.kinds.convolutions import PLAIN, TRANSPOSED

PRODUCTS: dict[Any, type[nn.Module]] = {
    **{getattr(functional, f"conv{n}d"): PLAIN[n - 1] for n in (1, 2, 3)},
    **{getattr(functional, f"conv_transpose{n}d"): TRANSPOSED[n - 1] for n in (1, 2, 3)},
    functional.linear: nn.Linear,
}
"""torch's functions that multiply with a weight, and the classes of the layers that call them."""
RECORD = "_amc_plain"
ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    **dict.fromkeys(PLAIN, ("bias", "stride", "padding", "dilation", "groups")),
    **dict.fromkeys(TRANSPOSED, ("bias", "stride", "padding", "output_padding", "groups", "dilation")),
    nn.Linear: ("bias",),
}
"""What these functions are called with behind inputs and weight, by the names of the layers' attributes."""


def make_plain(model: nn.Module) -> list[str]:
    """Put plain layers in the place of those that compute their weight and do nothing else of their own, in place.

    Returns:
        The layers that were replaced, by name.
    """
    replaced = []
    for name, module in list(model.named_modules()):
        plain = _plain(module) if name and _may_compute(module) else _as_linear(module)
        if plain is not None:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, plain)
            replaced.append(name)
    if replaced:
        setattr(model, RECORD, True)
    return replaced


def is_made_plain(model: nn.Module) -> bool:
    """Whether a network, or the one that it was cut from, had layers replaced."""
    return bool(getattr(model, RECORD, False))


def computed_tensors(model: nn.Module) -> Iterator[Tensor]:
    """Yield attributes of modules that are results of a computation and no parameters, as hooks leave them."""
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, Tensor) and value.grad_fn is not None)


class _Product(NamedTuple):
    """A call of one of torch's functions."""

    function: Any
    arguments: tuple[Any, ...]
    output: Any


class _Products(TorchFunctionMode):
    """Notes what is multiplied with a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Product] = []

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        output = func(*args, **(kwargs or {}))
        if func in PRODUCTS:
            self.calls.append(_Product(func, (*args, *(kwargs or {}).values()), output))
        return output


@torch.no_grad()
def _as_linear(module: Any) -> nn.Module | None:  # noqa: ANN401  any module
    """Return the linear layer that a ``Conv1D`` of Hugging Face's is, whose weight is stored the other way round."""
    if (type(module).__module__, type(module).__name__) != ("transformers.pytorch_utils", "Conv1D"):
        return None
    with torch.device("meta"):
        plain = nn.Linear(*module.weight.shape)
    plain.weight = nn.Parameter(module.weight.detach().T.contiguous(), module.weight.requires_grad)
    plain.bias = nn.Parameter(module.bias.detach().clone(), module.bias.requires_grad)
    return plain.train(module.training)


def _may_compute(module: nn.Module) -> bool:
    """Whether a layer multiplies with a weight and is of a class of its own, or has hooks: torch's own ones do not."""
    kind = kind_of(module)
    if kind is None or kind.product is None:
        return False
    return type(module) not in ARGUMENTS or "weight" not in module._parameters


@torch.no_grad()
def _plain(module: Any) -> nn.Module | None:  # noqa: ANN401  any layer
    """Return a plain layer that computes what ``module`` does, ``None`` where there is none or it is plain itself."""
    layer: Any = next((layer for layer in ARGUMENTS if isinstance(module, layer)), None)
    if layer is None or module._forward_hooks or not all(map(_computes, module._forward_pre_hooks.values())):
        return None
    generator = torch.Generator().manual_seed(0)
    try:
        products = [_only_product(module, _example(module, layer, generator)) for _ in range(2)]
    except Exception:  # it wants something else than one input
        return None
    weights = [None if product is None else _weight(module, layer, product) for product in products]
    if weights[0] is None or weights[1] is None or not torch.equal(weights[0], weights[1]):
        return None  # it does more, or its weight depends on its input
    with torch.device("meta"):  # no values are drawn
        plain = layer(*_sizes(module), bias=module.bias is not None, **_settings(module, layer))
    if plain.weight.shape != weights[0].shape:
        return None
    trained = any(parameter.requires_grad for parameter in module.parameters())
    plain.weight = nn.Parameter(weights[0].detach().clone(), trained)
    if module.bias is not None:
        plain.bias = nn.Parameter(module.bias.detach().clone(), trained)
    return plain.train(module.training)


def _computes(hook: Any) -> bool:  # noqa: ANN401
    """Whether a hook is torch's own that computes a weight."""
    return type(hook).__module__ in ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm")


def _sizes(module: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return module.in_channels, module.out_channels, module.kernel_size


def _settings(module: Any, layer: type[nn.Module]) -> dict[str, Any]:  # noqa: ANN401
    return {name: getattr(module, name) for name in ARGUMENTS[layer] if name != "bias"}


def _example(module: Any, layer: type[nn.Module], generator: torch.Generator) -> Tensor:  # noqa: ANN401
    if layer is nn.Linear:
        shape = (2, module.in_features)
    else:
        reach = ((size - 1) * spread + 1 for size, spread in zip(module.kernel_size, module.dilation, strict=True))
        shape = (1, module.in_channels, *(2 * size + 1 for size in reach))
    like = next(module.parameters())
    return torch.randn(shape, generator=generator).to(like)


def _only_product(module: nn.Module, example: Tensor) -> _Product | None:
    """Return the one product that a layer makes of its input and hands on as it is; none where it does more."""
    with _Products() as products:
        output = module(example)
    call = products.calls[0] if len(products.calls) == 1 else None
    return call if call is not None and call.arguments[0] is example and call.output is output else None


def _weight(module: Any, layer: type[nn.Module], product: _Product) -> Tensor | None:  # noqa: ANN401
    """Return the weight of a product if it is computed and all else is as a plain layer has it."""
    weight, further = product.arguments[1], product.arguments[2:]
    own = [getattr(module, name) for name in ARGUMENTS[layer]]
    if (
        PRODUCTS[product.function] is not layer
        or weight is module._parameters.get("weight")
        or len(further) != len(own)
    ):
        return None
    return weight if all(map(_same, further, own)) else None


def _same(found: Any, own: Any) -> bool:  # noqa: ANN401  a setting or a bias
    if isinstance(found, Tensor) and isinstance(own, Tensor):
        return torch.equal(found, own)
    return bool(found == own)
