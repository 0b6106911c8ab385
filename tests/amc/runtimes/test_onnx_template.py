"""Weights exchanged in one ONNX graph, and files compared with torch; slow, as exports are."""

import pytest
import torch

from amc.measurement.on_device import open_session
from amc.measurement.onnx_graph import model_bytes
from amc.runtimes.onnx_template import OnnxTemplate, differences
from amc.runtimes.request import bare, make_request, random_counts
from amc.zoo.models.registry import build_model
from envs.engine.settings import EngineSettings
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

pytestmark = pytest.mark.slow
SETTINGS = EngineSettings(reconstruct=False, adaptive_bn=0, round_to=2)


@pytest.fixture(scope="module", params=["mobilenet_v2", "resnet20"])
def engine(request: pytest.FixtureRequest) -> TorchEngine:
    torch.manual_seed(0)
    images = torch.randn(8, 1, 16, 16)
    network = build_model(request.param, 10, 1, 0.25)
    for _ in range(3):
        network(images)
    return TorchEngine(network.eval(), images, images, lambda _: Evaluation(0, 0, 1), SETTINGS)


@pytest.fixture(scope="module")
def template(engine: TorchEngine) -> OnnxTemplate:
    return OnnxTemplate(engine.pruner.for_inference(engine.model), torch.randn(1, 1, 16, 16))


def test_a_filled_graph_computes_what_the_pruned_network_does(engine: TorchEngine, template: OnnxTemplate) -> None:
    for kept in random_counts(engine, 4, seed=1):
        small = bare(engine, kept)
        assert differences(template.filled(small), small, torch.randn(3, 1, 16, 16)) < 1e-4


def test_a_described_graph_runs_and_has_the_shapes_of_the_network(engine: TorchEngine, template: OnnxTemplate) -> None:
    request = make_request(engine, template, torch.zeros(1, 1, 16, 16), batch=2, threads=1)
    content = model_bytes(request["network"], request["variants"][3]["shapes"])
    session = open_session(content, 1)
    (found,) = session.run(None, {session.get_inputs()[0].name: torch.randn(2, 1, 16, 16).numpy()})
    assert found.shape == (2, 10)
    small = bare(engine, request["variants"][3]["kept"])
    weights = sorted(tuple(shape) for shape in request["variants"][3]["shapes"].values())
    assert weights == sorted(tuple(tensor.shape) for tensor in small.state_dict().values() if tensor.ndim)
