import pytest
import torch
from torch import Tensor, nn

from envs.engine.network.modules import blocks_of
from envs.engine.repair.compensating.sampling import choose_places, inputs_at, outputs_at

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1), (5, 4, 9)),
    "2d": (nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1)), (5, 4, 9, 8)),
    "3d": (nn.Conv3d(4, 6, 2), (3, 4, 3, 4, 5)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (5, 4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, padding=1), (5, 4, 5, 5)),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (5, 4, 5, 5)),
    "features": (nn.Linear(4, 6), (5, 4)),
    "tokens": (nn.Linear(4, 6), (5, 3, 2, 4)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("most", [4, 10_000])
def test_a_layer_makes_of_the_inputs_at_a_place_its_output_there(kind: str, most: int) -> None:
    layer, shape = LAYERS[kind]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    outputs: Tensor = layer(inputs).detach()
    places = choose_places(layer, outputs, most, torch.Generator().manual_seed(1))
    assert len(places) == min(most, outputs.numel() // 6 if kind != "depthwise" else outputs.numel() // 8)
    weight = layer.weight.detach().flatten(1).unflatten(0, (blocks_of(layer), -1))
    products = torch.einsum("bnc,boc->nbo", inputs_at(layer, inputs, places), weight).flatten(1) + layer.bias.detach()
    torch.testing.assert_close(products, outputs_at(layer, outputs, places))


def test_places_follow_from_their_generator_and_do_not_repeat() -> None:
    layer, outputs = nn.Conv2d(4, 6, 1), torch.zeros(5, 6, 4, 4)
    first, again, other = (choose_places(layer, outputs, 30, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique()) == 30
    assert 0 <= int(first.min()) <= int(first.max()) < 80
