"""2:4 patterns on kernels that skip their zeros, where the machine has them; and what a pattern is worth without.

torch multiplies 2:4 matrices through cuSPARSELt on NVIDIA GPUs from Ampere on, in half precision. Convolutions get
there as matrices: unfolded inputs times the flattened weight, whose columns are what granularity ``n_m`` cuts.

References:
    Mishra et al., 2021, "Accelerating Sparse Deep Neural Networks", arXiv 2104.08378.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, unfold

from envs.engine.choices import SMALLER
from envs.engine.surgery.masking import without_masks

KEPT, AMONG = 2, 4


class SparseNetwork(NamedTuple):
    """A network on sparse kernels.

    Attributes:
        model: takes float32 inputs, computes in half precision.
        layers: names of the layers that run on sparse kernels; the others keep dense ones.
    """

    model: nn.Module
    layers: tuple[str, ...]


class InHalf(nn.Module):
    """A network in half precision that takes and returns float32.

    Args:
        network: is copied, not changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).half()

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits."""
        return self.network(images.half()).float()


class UnfoldedConvolution(nn.Module):
    """A 2-D convolution in one block as a product with its flattened weight.

    Args:
        convolution: its weight is shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.kernel_size, self.stride = convolution.kernel_size, convolution.stride
        self.dilation = convolution.dilation
        self.padding = list(convolution._reversed_padding_repeated_twice)
        self.weight = nn.Parameter(convolution.weight.detach().flatten(1), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(n, inputs, h, w)`` to ``(n, outputs, h', w')``."""
        padded = pad(images, self.padding)
        sizes = zip(padded.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True)
        height, width = ((size - spread * (kernel - 1) - 1) // step + 1 for size, kernel, step, spread in sizes)
        columns = unfold(padded, self.kernel_size, self.dilation, 0, self.stride).transpose(1, 2)
        columns = columns.contiguous()  # the sparse product takes it by ``view``
        return linear(columns, self.weight, self.bias).transpose(1, 2).unflatten(2, (height, width))


def is_two_of_four(matrix: Tensor) -> bool:
    """Whether of every four consecutive columns at most two are not zero."""
    if matrix.shape[1] % AMONG:
        return False
    filled = (matrix.unflatten(1, (-1, AMONG)) != 0).sum(2)
    return bool((filled <= KEPT).all())


def has_sparse_kernels(device: torch.device) -> bool:
    """Whether the device multiplies 2:4 matrices faster than dense ones."""
    return (
        device.type == "cuda"
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and torch.backends.cusparselt.is_available()
    )


def kernel_note(granularity: str, m: int, device: torch.device) -> str:
    """Return, in one line, whether the kernels that this machine runs gain anything from what is removed."""
    if granularity in SMALLER:
        return f"granularity={granularity} makes the network smaller: dense kernels get faster"
    note = f"granularity={granularity} keeps layers their size: dense kernels do not skip zeros and get no faster"
    if granularity != "n_m" or m != AMONG:
        return note
    has = "has, and they are timed beside" if has_sparse_kernels(device) else "lacks"
    return f"{note}; sparse kernels for 2:4 are what this device ({device}) {has}"


def on_sparse_kernels(model: nn.Module) -> SparseNetwork:
    """Return a copy whose layers with a 2:4 pattern run on sparse kernels, for inference.

    Layers without the pattern, in several blocks, or of a shape that the kernels refuse stay dense.

    Args:
        model: a pruned network in eval mode, on a device with :func:`has_sparse_kernels`.
    """
    half = InHalf(without_masks(model)).eval()
    layers = []
    for name, module in list(half.network.named_modules()):
        matrix = _product_of(module)
        if matrix is None or not is_two_of_four(matrix.weight.detach()):
            continue
        try:
            sparse = torch.sparse.to_sparse_semi_structured(matrix.weight.detach().contiguous())
        except RuntimeError:  # NotImplementedError is one
            continue
        matrix.weight = nn.Parameter(sparse, requires_grad=False)
        parent, _, child = f"network.{name}".rstrip(".").rpartition(".")  # the network may be a layer itself
        setattr(half.get_submodule(parent), child, matrix)
        layers.append(name)
    return SparseNetwork(half, tuple(layers))


def _product_of(module: nn.Module) -> nn.Linear | UnfoldedConvolution | None:
    if isinstance(module, nn.Linear):
        return module
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
        return UnfoldedConvolution(module)
    return None
