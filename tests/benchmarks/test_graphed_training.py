"""Steps that a GPU replays do what steps of training do."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from amc.config.recipe import Recipe
from amc.training.sgd import Descent
from amc.zoo.data.dataset import Normalization, Split, Splits
from benchmarks.graphed_training import batches_of, nesterov, replayed

COUNT, SIZE, STEPS = 50, 8, 20


def splits() -> Splits:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (COUNT, 3, 6, 5), generator=generator, dtype=torch.uint8)
    split = Split(images, torch.arange(COUNT))
    mean, std = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1), torch.tensor([2.0, 3.0, 4.0]).view(1, 3, 1, 1)
    return Splits(split, split, split, split, COUNT, Normalization(mean, std))


def by_hand(image: Tensor, top: int, left: int, shift: int, *, mirrored: bool) -> Tensor:
    _, height, width = image.shape
    moved = pad(image, (shift,) * 4)[:, top : top + height, left : left + width]
    return moved.flip(-1) if mirrored else moved


@pytest.mark.parametrize(("shift", "flip"), [(0, False), (2, False), (0, True), (2, True)])
def test_batches_are_images_shifted_mirrored_and_normalised(shift: int, flip: bool) -> None:
    data = splits()
    recipe = Recipe(epochs=1, batch_size=SIZE, shift=shift, flip=flip)
    batches = batches_of(data, recipe, STEPS, 3, torch.device("cpu"))
    seen = []
    for step in range(STEPS):
        inputs, labels = batches.at(torch.tensor([step]))
        seen.extend(labels.tolist())
        for place, (image, label) in enumerate(zip(inputs, labels.tolist(), strict=True)):
            top, left = batches.corners[step, :, place].tolist()
            mirrored = flip and bool(batches.mirrored[step, place])
            expected = data.normalize(by_hand(data.train.images[label], top, left, shift, mirrored=mirrored)[None])
            torch.testing.assert_close(image, expected[0])
    an_epoch = COUNT // SIZE * SIZE
    for begin in range(0, STEPS * SIZE - an_epoch, an_epoch):
        assert len(set(seen[begin : begin + an_epoch])) == an_epoch


def test_steps_are_those_of_training() -> None:
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, lr=0.05, weight_decay=0.1, warm_up=0.0)
    trained = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    same = copy.deepcopy(trained)
    descent, descend = Descent(trained, recipe, 10**6), nesterov(same, recipe)
    for _ in range(5):
        inputs = torch.randn(16, 4)
        descent.step(trained(inputs).square().mean())
        same.zero_grad(set_to_none=True)
        same(inputs).square().mean().backward()
        descend(torch.tensor(recipe.lr))
    for mine, theirs in zip(same.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_step_replayed_is_a_step() -> None:
    torch.manual_seed(0)
    recipe = Recipe(epochs=1, lr=0.05, batch_size=SIZE)
    device = torch.device("cuda")
    batches = batches_of(splits(), recipe, STEPS, 3, device)
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(48, COUNT))]
    networks[0].cuda()
    networks.append(copy.deepcopy(networks[0]))
    for network, times in zip(networks, (STEPS, 1), strict=True):
        counter = torch.zeros(1, dtype=torch.int64, device=device)
        descend = nesterov(network, recipe)

        def step(network: nn.Module = network, counter: Tensor = counter, descend: Any = descend) -> None:  # noqa: ANN401
            inputs, labels = batches.at(counter)
            nn.functional.cross_entropy(network(inputs), labels).backward()
            descend(torch.full((), recipe.lr, device=device))
            counter.add_(1)

        for _ in range(STEPS // times):
            network.zero_grad(set_to_none=True)
            replayed(step, times, network)
    for mine, theirs in zip(networks[0].state_dict().values(), networks[1].state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
