import pytest
import torch
from torch import Tensor, nn

from amc.config.recipe import Recipe
from amc.training.sgd import fit
from amc.zoo.data.dataset import Normalization, Split, Splits
from envs.engine.network.hooks import hooked
from envs.engine.network.memory_layout import channels_last, contiguous_where_narrow, lay_out
from envs.engine.scoring.top1 import Top1Scorer
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine


class Inputs(list[Tensor]):
    """What a module reads, behind the hooks that were there before."""

    def __call__(self, _: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.extend(args)


@pytest.mark.parametrize(
    ("layer", "guarded"),
    [
        (nn.Conv2d(4, 8, 1, 2), True),
        (nn.Conv2d(1, 8, 1, 2), True),
        (nn.Conv2d(8, 16, 1, 2, groups=2), True),
        (nn.Conv2d(8, 16, 1, 2), False),
        (nn.Conv2d(4, 8, 1), False),
        (nn.Conv2d(4, 8, 3, 2), False),
    ],
)
def test_narrow_projections_read_contiguous_images(layer: nn.Conv2d, guarded: bool) -> None:
    """The gradient against a product written out; where this is not guarded, AVX2 aborts the process."""
    torch.manual_seed(0)
    network: nn.Module = nn.Sequential(layer)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(128, layer.in_channels, 16, 16).to(memory_format=torch.channels_last)
    seen = Inputs()
    with hooked(contiguous_where_narrow(network)), hooked([layer.register_forward_pre_hook(seen)]):
        outputs = network(images)
        if guarded:
            towards = torch.randn_like(outputs)
            outputs.backward(towards)
    assert (seen[0].stride() == torch.empty(images.shape).stride()) is guarded
    assert torch.equal(seen[0], images)
    if guarded:
        read = images[:, :, ::2, ::2].double().unflatten(1, (layer.groups, -1))
        wanted = torch.einsum("ngchw,ngkhw->gkc", read, towards.double().unflatten(1, (layer.groups, -1))).flatten(0, 1)
        assert layer.weight.grad is not None
        torch.testing.assert_close(layer.weight.grad[:, :, 0, 0].double(), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_layers_pass_channels_last_on_also_from_images_of_one_channel(channels: int) -> None:
    images = torch.randn(2, channels, 6, 5)
    laid_out = channels_last(images)
    outputs = nn.Conv2d(channels, 4, 3)(laid_out)
    assert torch.equal(laid_out, images)
    assert outputs.stride() == torch.empty(outputs.shape).contiguous(memory_format=torch.channels_last).stride()


class Viewing(nn.Module):
    """As people write it who never had their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())
        self.classifier = nn.Linear(5 * 4 * 4, 2)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(images).view(-1, 5 * 4 * 4))
        return scores


def test_a_network_that_cannot_read_channels_last_is_left_as_it_is() -> None:
    network, images = Viewing().eval(), torch.randn(2, 3, 8, 8)
    layout = lay_out(network, channels_last(images))
    assert layout(images) is images
    network(layout(channels_last(images)))
    assert network.features[0].weight.is_contiguous()
    flattening = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval()
    assert lay_out(flattening, images) is channels_last
    assert flattening[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_network_that_cannot_read_channels_last_is_pruned_and_trained() -> None:
    torch.manual_seed(0)
    network = Viewing().eval()
    images, labels = torch.randn(20, 3, 8, 8), torch.randint(2, (20,))
    scorer = Top1Scorer(images, labels, batch_size=8)
    engine = TorchEngine(network, images[:1], channels_last(images), scorer, EngineSettings())
    assert engine.evaluate((0.5,) * len(engine.layers)).n_samples == 20
    small = engine.finish((0.5,) * len(engine.layers))
    split = Split(images, labels)
    splits = Splits(split, split, split, split, 2, Normalization(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)))
    fit(small, splits, Recipe(1, 0.1, batch_size=10, bf16=False), seed=0, device="cpu")
    assert all(bool(parameter.isfinite().all()) for parameter in small.parameters())
