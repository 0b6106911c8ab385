import copy
import io

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from amc.weights.export import ExportError, onnx_bytes, pt2_bytes, weights_bytes
from amc.weights.metadata import Header
from amc.zoo.models.registry import build_model
from envs.engine.surgery.masking import mask_weight, without_masks

EXAMPLE = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Branching(nn.Module):
    """Chooses its path by the values it sees, which no graph can hold."""

    def forward(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    network = build_model("resnet20", 10, 1, 0.5).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as training leaves it
    return network


def test_weights_in_channels_last_are_kept(model: nn.Module) -> None:
    written = load(weights_bytes(model, Header((1, 1, 8, 8))))
    assert written.keys() == model.state_dict().keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in model.state_dict().items())


@pytest.fixture
def masked(model: nn.Module) -> nn.Module:
    """A network with masks that somebody wrote over."""
    network = copy.deepcopy(model)
    layer = network.get_submodule("blocks.0.conv1")
    mask_weight(layer, torch.rand(layer.weight.shape) < 0.5)
    layer.weight.detach().add_(1.0)
    return network


def test_masks_are_folded_into_what_is_written(masked: nn.Module, model: nn.Module) -> None:
    written = load(weights_bytes(masked, Header((1, 1, 8, 8))))
    layer = masked.get_submodule("blocks.0.conv1")
    assert written.keys() == model.state_dict().keys()
    assert torch.equal(written["blocks.0.conv1.weight"] == 0, ~layer.weight_mask)
    program = torch.export.load(io.BytesIO(pt2_bytes(masked, EXAMPLE))).module()
    torch.testing.assert_close(program(EXAMPLE), without_masks(masked)(EXAMPLE))
    assert torch.equal(program.state_dict()["blocks.0.conv1.weight"], written["blocks.0.conv1.weight"])
    assert not torch.equal(layer.weight, written["blocks.0.conv1.weight"])  # the network given stays as it is


def test_shared_weights_are_written_twice() -> None:
    layer = nn.Linear(3, 3)
    written = load(weights_bytes(nn.Sequential(layer, layer), Header((1, 3))))
    assert torch.equal(written["0.weight"], written["1.weight"])


def test_an_exported_program_takes_any_batch(model: nn.Module) -> None:
    program = torch.export.load(io.BytesIO(pt2_bytes(model, EXAMPLE))).module()
    for number in (1, 5):
        images = torch.randn(number, 1, 8, 8)
        torch.testing.assert_close(program(images), model(images))


def test_what_cannot_be_captured_is_refused_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"torch\.export cannot take Branching") as refused:
        pt2_bytes(Branching(), EXAMPLE)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_an_onnx_graph_takes_any_batch(model: nn.Module) -> None:
    reference = pytest.importorskip("onnx.reference")
    graph = pytest.importorskip("onnx").load_from_string(onnx_bytes(model, EXAMPLE))
    images = torch.randn(3, 1, 8, 8)
    (logits,) = reference.ReferenceEvaluator(graph).run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(images).detach(), rtol=1e-3, atol=1e-4)
