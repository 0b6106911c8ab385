"""One pass over calibration data: the second moments of every reading layer's inputs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from envs.engine.network.batches import split
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.hooks import hooked
from envs.engine.network.kinds import kind_of
from envs.engine.network.modules import blocks_of, weight_of

POINTS_PER_IMAGE = 10
"""Output pixels sampled of every feature map, as in AMC's released code."""
BATCH_SIZE = 100
STRIPE = 512
"""Columns of a Gram matrix that are computed at once; its lower triangle is half the work of the whole."""


@dataclass
class InputMoments:
    """Running first and second moments of a layer's inputs.

    A sample is all that one output pixel reads: ``columns`` = input channels of a block x kernel elements.

    Attributes:
        count: samples so far.
        total: their sum, float64, shape ``(blocks, columns)``.
        gram: their sum of outer products, float64, shape ``(blocks, columns, columns)``, from the diagonal down;
            above it, only what lies in the same stripe is filled.
    """

    count: int
    total: Tensor
    gram: Tensor

    @classmethod
    def empty(cls, module: nn.Module) -> "InputMoments":
        """Start for the inputs of a convolution or linear layer."""
        weight, blocks = weight_of(module), blocks_of(module)
        total = torch.zeros(blocks, weight[0].numel(), dtype=torch.float64, device=weight.device)
        return cls(0, total, total.new_zeros(blocks, weight[0].numel(), weight[0].numel()))

    def add(self, samples: Tensor) -> None:
        """Add samples, shape ``(blocks, n, columns)``."""
        self.count += samples.shape[1]
        self.total += samples.sum(1, dtype=torch.float64)
        for left in range(0, samples.shape[2], STRIPE):
            stripe = samples[:, :, left : left + STRIPE]
            self.gram[:, left:, left : left + STRIPE] += samples[:, :, left:].transpose(1, 2) @ stripe

    @property
    def mean(self) -> Tensor:
        """Mean input, shape ``(blocks, columns)``."""
        return self.total / self.count

    def second_moment(self, centered: bool) -> Tensor:
        """Return the mean outer product, about the mean if ``centered``, shape ``(blocks, columns, columns)``."""
        moment = self.gram / self.count
        for left in range(0, moment.shape[2], STRIPE):
            right = left + STRIPE
            moment[:, left:right, right:] = moment[:, right:, left:right].transpose(1, 2)
        if centered:
            moment.baddbmm_(self.mean.unsqueeze(2), self.mean.unsqueeze(1), alpha=-1)
        return moment


def sample_inputs(module: nn.Module, inputs: Tensor, points: int, generator: torch.Generator) -> Tensor:
    """Return what randomly chosen outputs of a layer read.

    Args:
        module: a convolution or linear layer.
        inputs: its input, shape ``(n, channels, ...)`` for convolutions, ``(n, ..., features)`` for linear layers.
        points: output pixels an image; all where there are fewer. The images of a batch share them.
        generator: chooses the pixels.

    Returns:
        Samples, shape ``(blocks, n * points, columns)``, columns in the order of ``weight.flatten(1)``.

    Raises:
        TypeError: no row of ``LAYER_KINDS`` says how.
    """
    kind = kind_of(module)
    if kind is None or kind.product is None or kind.product.sample is None:
        raise TypeError(f"a {type(module).__name__} reads no windows of its input")
    return kind.product.sample(module, inputs, points, generator)


def collect_moments(
    model: nn.Module, names: Iterable[str], images: Inputs, seed: int, points: int = POINTS_PER_IMAGE
) -> dict[str, InputMoments]:
    """Run the dense network over calibration data once and return the input moments of the named layers.

    Memory does not grow with the number of images.

    Args:
        model: the dense network in eval mode.
        names: convolutions and linear layers, by module name.
        images: calibration inputs on the model's device, tensors of shape ``(n, ...)``.
        seed: chooses the sampled pixels.
        points: output pixels an image.
    """
    generator = torch.Generator().manual_seed(seed)
    moments = {name: InputMoments.empty(model.get_submodule(name)) for name in names}

    def add(name: str, module: nn.Module, inputs: Tensor) -> None:
        moments[name].add(sample_inputs(module, inputs.float(), points, generator))

    watch_inputs(model, moments, images, add)
    return moments


def watch_inputs(
    model: nn.Module, names: Iterable[str], images: Inputs, watch: Callable[[str, nn.Module, Tensor], None]
) -> None:
    """Run a network over calibration data once and show what the named layers read.

    Args:
        model: a network in eval mode.
        names: modules that it calls with a tensor.
        images: what it is called with, in batches.
        watch: called with the name, the module and its input, whenever one of them is called.
    """
    handles = (
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: watch(name, module, args[0].detach())
        )
        for name in names
    )
    with hooked(handles), torch.no_grad():
        for batch in split(images, BATCH_SIZE):
            forward(model, batch)
