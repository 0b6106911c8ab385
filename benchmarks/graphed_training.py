"""Fine-tuning of a network on a GPU by a CUDA graph: small networks are otherwise nothing but waiting for launches.

A step, from picking its images to writing the weights, is recorded once and replayed. What differs from step to step,
which images, how they are shifted and mirrored and the learning rate, lies on the GPU for all steps and is picked by a
counter there. Steps do the same as ``amc.training.sgd`` does, on other random images.

References:
    Nguyen et al., 2021, "Accelerating PyTorch with CUDA Graphs", pytorch.org/blog.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from amc.config.recipe import Recipe
from amc.training.augmentation import mirrored, shifted
from amc.training.finetune import FineTuner
from amc.training.schedule import rate_factor
from amc.training.sgd import batch_loss, make_optimizer
from amc.zoo.data.dataset import Normalization, Splits
from envs.engine.network.memory_layout import lay_out

WARM_UP = 4
"""Steps that are taken one kernel after the other, before one is recorded: libraries choose kernels in them."""


@dataclass(frozen=True)
class Batches:
    """The batches of all steps, on the GPU.

    Attributes:
        images: of the train split, ``(n, c, h, w)`` bytes.
        labels: their classes.
        order: which images, ``(steps, batch)``.
        corners: by which they are shifted, ``(steps, 2, batch)``, see ``amc.training.augmentation.shifted``.
        mirrored: which are mirrored, ``(steps, batch)``.
        normalize: turns bytes into inputs.
        shift: pixels that images move by at most; 0 for none.
        flip: whether any are mirrored.
    """

    images: Tensor
    labels: Tensor
    order: Tensor
    corners: Tensor
    mirrored: Tensor
    normalize: Normalization
    shift: int
    flip: bool

    def at(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and labels of a step, whose number is a tensor of one element."""
        order = self.order.index_select(0, step)[0]
        images = self.images.index_select(0, order)
        if self.shift:
            images = shifted(images, self.corners.index_select(0, step)[0], self.shift)
        if self.flip:
            images = mirrored(images, self.mirrored.index_select(0, step)[0])
        return self.normalize(images), self.labels.index_select(0, order)


def batches_of(splits: Splits, recipe: Recipe, steps: int, seed: int, device: torch.device) -> Batches:
    """Draw the batches of all steps: every epoch sees every image once, in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    size, count = recipe.batch_size, len(splits.train.labels)
    an_epoch = count // size
    epochs = -(-steps // an_epoch)
    order = torch.cat(
        [torch.randperm(count, generator=generator)[: an_epoch * size].view(an_epoch, size) for _ in range(epochs)]
    )[:steps]
    return Batches(
        images=splits.train.images.to(device),
        labels=splits.train.labels.to(device),
        order=order.to(device),
        corners=torch.randint(0, 2 * recipe.shift + 1, (steps, 2, size), generator=generator).to(device),
        mirrored=(torch.rand(steps, size, generator=generator) < 0.5).to(device),
        normalize=Normalization(*(each.to(device) for each in splits.normalize)),
        shift=recipe.shift,
        flip=recipe.flip,
    )


def train_by_graph(tuner: FineTuner, network: nn.Module, steps: int) -> None:
    """Fine-tune in place, on the network's GPU, for so many steps on a schedule of their own; see ``FineTuner``."""
    device = tuner.data.device
    recipe = tuner.recipe_of(steps)
    layout = lay_out(network.to(device), tuner.data.example())
    distillation = tuner.distillation
    batches = batches_of(tuner.data.splits, recipe, steps, tuner.seed, device)
    rates = torch.tensor([recipe.lr * rate_factor(step, steps, recipe.warm_up) for step in range(steps)], device=device)
    counter = torch.zeros(1, dtype=torch.int64, device=device)
    descend = nesterov(network, recipe)

    def step() -> None:
        images, labels = batches.at(counter)
        batch_loss(network, layout(images), labels, distillation, bf16=recipe.bf16).backward()
        descend(rates.index_select(0, counter)[0])
        counter.add_(1)

    network.train()
    replayed(step, steps, network)
    network.zero_grad(set_to_none=True)
    network.eval()


def replayed(step: Callable[[], None], times: int, network: nn.Module) -> None:
    """Take a step so many times, all but the first by replaying a graph."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(min(WARM_UP, times)):
            network.zero_grad(set_to_none=True)
            step()
    torch.cuda.current_stream().wait_stream(aside)
    if times <= WARM_UP:
        return
    network.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()
    for _ in range(times - WARM_UP):
        graph.replay()
    torch.cuda.synchronize()


def nesterov(network: nn.Module, recipe: Recipe) -> Callable[[Tensor], None]:
    """Return SGD with Nesterov momentum, as ``amc.training.sgd`` has it, at a rate that lies on the GPU."""
    groups = make_optimizer(network, recipe).param_groups
    velocities = [[torch.zeros_like(parameter) for parameter in group["params"]] for group in groups]

    @torch.no_grad()
    def descend(rate: Tensor) -> None:
        for group, velocity in zip(groups, velocities, strict=True):
            parameters, decay = group["params"], group["weight_decay"]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            if decay:
                gradients = list(torch._foreach_add(gradients, parameters, alpha=decay))
            torch._foreach_mul_(velocity, recipe.momentum)
            torch._foreach_add_(velocity, gradients)
            ahead = torch._foreach_add(gradients, velocity, alpha=recipe.momentum)
            torch._foreach_mul_(ahead, -rate)
            torch._foreach_add_(parameters, ahead)

    return descend
