from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from amc.config.recipe import Recipe
from amc.errors import RefusedInput
from amc.training.augmentation import augment
from amc.training.dense import cache_key, load_weights, save_weights
from amc.training.sgd import fit
from amc.zoo.data.dataset import RawData, Split, Splits, make_splits

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=2, batch_size=8, bf16=False)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def tiny_splits(seed: int = 0) -> Splits:
    """Dark images are class 0, bright ones class 1."""
    labels = torch.arange(80) % 2
    images = torch.randint(0, 100, (80, 1, 4, 4), generator=torch.Generator().manual_seed(seed))
    split = Split((images + 150 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)
    return make_splits(RawData(split, split, 2), calibration=5, search=16, seed=0)


def test_the_key_follows_everything_that_changes_the_weights() -> None:
    wider = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1))
    keys = [
        cache_key(network(), tiny_splits(), RECIPE, 0, CPU),
        cache_key(network(1), tiny_splits(), RECIPE, 0, CPU),
        cache_key(wider, tiny_splits(), RECIPE, 0, CPU),
        cache_key(network(), tiny_splits(1), RECIPE, 0, CPU),
        cache_key(network(), tiny_splits(), replace(RECIPE, lr=0.2), 0, CPU),
        cache_key(network(), tiny_splits(), RECIPE, 1, CPU),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key(network(), tiny_splits(), RECIPE, 0, CPU) == keys[0]


def test_training_learns_and_follows_its_seed() -> None:
    splits = tiny_splits()
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit(model, splits, replace(RECIPE, epochs=5), seed, "cpu")
    first, again, other = (model[4].weight for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    predicted = models[0](splits.normalize(splits.search.images)).argmax(1)
    assert (predicted == splits.search.labels).double().mean() > 0.9
    assert not models[0].training


def test_no_epoch_changes_nothing() -> None:
    model = network()
    fit(model, tiny_splits(), replace(RECIPE, epochs=0), 0, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


def test_a_part_of_an_epoch_is_as_many_of_its_steps() -> None:
    steps = []
    splits = tiny_splits()
    whole = len(splits.train.labels) // RECIPE.batch_size
    fit(network(), splits, replace(RECIPE, epochs=1.5), 0, "cpu", lambda *told: steps.append(told[:2]))
    assert steps == [(step, round(1.5 * whole)) for step in range(1, round(1.5 * whole) + 1)]


def test_every_image_is_shifted_on_its_own() -> None:
    images = torch.zeros(64, 1, 5, 5)
    images[:, :, 2, 2] = 1
    moved = augment(images, Recipe(epochs=1, shift=1, flip=False), torch.Generator().manual_seed(0))
    assert moved.sum() == 64
    places = {tuple(place) for place in moved.nonzero()[:, 2:].tolist()}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}


def test_flipping_mirrors_about_half_of_the_images() -> None:
    images = torch.zeros(200, 1, 2, 2)
    images[..., 0] = 1
    flipped = augment(images, Recipe(epochs=1, shift=0, flip=True), torch.Generator().manual_seed(0))
    mirrored = (flipped[..., 1] == 1).all((1, 2)).sum()
    assert 70 < mirrored < 130
    assert flipped.sum() == images.sum()


def test_weights_come_back(tmp_path: Path) -> None:
    save_weights(tmp_path / "new" / "net", network(3), "key", {})
    model = network()
    load_weights(tmp_path / "new" / "net", model, "key")
    expected = network(3).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("damage", ["short", "other key", "other shape", "not finite", "folder"])
def test_weights_that_do_not_fit_are_refused(damage: str, tmp_path: Path) -> None:
    path, saved = tmp_path / "net", network()
    if damage == "other shape":
        saved = nn.Sequential(nn.Conv2d(1, 5, 3))
    if damage == "not finite":
        saved[4].weight.data[0, 0] = float("nan")
    save_weights(path, saved, "other" if damage == "other key" else "key", {})
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    if damage == "folder":
        path = tmp_path
    model = network(5)
    with pytest.raises(RefusedInput, match=str(path)):
        load_weights(path, model, "key")
    assert torch.equal(model[4].weight, network(5)[4].weight)
