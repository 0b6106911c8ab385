"""One pass over calibration data: the second moments of every reading layer's inputs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from envs.engine.network.batches import count_samples, split
from envs.engine.network.calls import Inputs, forward
from envs.engine.network.hooks import hooked
from envs.engine.network.kinds import kind_of
from envs.engine.network.modules import blocks_of, weight_of

POINTS_PER_IMAGE = 10
"""Output pixels sampled of every feature map, as in AMC's released code."""
ENOUGH_SAMPLES, SAMPLES_A_COLUMN = 10_000, 4
"""Samples that a layer needs, whatever its size, and for each of its columns: with many images fewer pixels of each."""
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
        stripes: their sum of outer products, in stripes of columns from the diagonal down, shape
            ``(blocks, columns - left, STRIPE)``; float32 for a network of that precision.
        order: of the columns in ``stripes``, shape ``(columns,)``; ``None`` for that of ``total``.
    """

    count: int
    total: Tensor
    stripes: list[Tensor]
    order: Tensor | None = None

    @classmethod
    def empty(cls, module: nn.Module, order: Tensor | None = None) -> "InputMoments":
        """Start for the inputs of a convolution or linear layer."""
        weight, blocks = weight_of(module), blocks_of(module)
        columns = weight[0].numel()
        total = torch.zeros(blocks, columns, dtype=torch.float64, device=weight.device)
        widths = [(columns - left, min(STRIPE, columns - left)) for left in range(0, columns, STRIPE)]
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return cls(0, total, [total.new_zeros(blocks, *shape, dtype=dtype) for shape in widths], order)

    def add(self, samples: Tensor) -> None:
        """Add samples, shape ``(blocks, n, columns)``."""
        self.count += samples.shape[1]
        self.total += samples.sum(1, dtype=torch.float64)
        if self.order is not None:
            samples = samples[:, :, self.order.to(samples.device)]
        # A batch's products are summed in the samples' precision anyway; a few dozen batches more add next to nothing
        # to that error, and half of what these matrices take is most of what a wide network takes.
        for number, stripe in enumerate(self.stripes):
            left = number * STRIPE
            stripe += samples[:, :, left:].transpose(1, 2) @ samples[:, :, left : left + STRIPE]

    @property
    def finite(self) -> bool:
        """Whether no sample was infinite or NaN, nor so large that its square is."""
        return all(bool(stripe.sum(dtype=torch.float64).isfinite()) for stripe in self.stripes)

    @property
    def mean(self) -> Tensor:
        """Mean input, shape ``(blocks, columns)``."""
        return self.total / self.count

    def second_moment(self, centered: bool, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return the mean outer product, about the mean if ``centered``, shape ``(blocks, columns, columns)``."""
        blocks, columns = self.total.shape
        mean = (self.mean if self.order is None else self.mean[:, self.order.to(self.total.device)]).to(dtype)
        moment = self.total.new_empty(blocks, columns, columns, dtype=dtype)
        for number, stripe in enumerate(self.stripes):
            left, right = number * STRIPE, number * STRIPE + stripe.shape[2]
            below = moment[:, left:, left:right].copy_(stripe).div_(self.count)
            if centered:
                below.baddbmm_(mean[:, left:].unsqueeze(2), mean[:, left:right].unsqueeze(1), alpha=-1)
            moment[:, left:right, right:] = below[:, right - left :].transpose(1, 2)
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


def points_needed(columns: int, images: int, most: int = POINTS_PER_IMAGE) -> int:
    """Return how many output pixels of every image give a layer as many samples as it needs, ``most`` at the most.

    Every image is seen: pixels of one image are more alike than those of two.

    Args:
        columns: of the layer.
        images: of the calibration data.
        most: pixels an image.
    """
    return min(most, max(1, ceil(max(ENOUGH_SAMPLES, SAMPLES_A_COLUMN * columns) / images)))


def collect_moments(
    model: nn.Module,
    names: Iterable[str],
    images: Inputs,
    seed: int,
    points: int = POINTS_PER_IMAGE,
    orders: Mapping[str, Tensor | None] | None = None,
) -> dict[str, InputMoments]:
    """Run the dense network over calibration data once and return the input moments of the named layers.

    Memory does not grow with the number of images.

    Args:
        model: the dense network in eval mode.
        names: convolutions and linear layers, by module name.
        images: calibration inputs on the model's device, tensors of shape ``(n, ...)``.
        seed: chooses the sampled pixels.
        points: output pixels an image, at the most: where there are many images fewer do.
        orders: of the columns of some of the layers.
    """
    generator = torch.Generator().manual_seed(seed)
    orders, count = orders or {}, count_samples(images)
    moments = {name: InputMoments.empty(model.get_submodule(name), orders.get(name)) for name in names}
    enough = {name: points_needed(moment.total.shape[1], count, points) for name, moment in moments.items()}

    def add(name: str, module: nn.Module, inputs: Tensor) -> None:
        moments[name].add(sample_inputs(module, inputs.float(), enough[name], generator))

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
