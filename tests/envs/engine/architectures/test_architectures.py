import copy
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attention_nets import ATTENTION
from convolutional_nets import CONVOLUTIONAL
from net_builder import Case
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import amc
from amc.weights.export import WEIGHTS_FILE, weights_bytes
from amc.weights.metadata import Header
from envs.constraint import ResourceBudget, uniform_ratio
from envs.engine.network.calls import flatten_outputs, forward
from envs.engine.scoring.top1 import metric_scorer
from envs.engine.torch_engine import EngineSettings, TorchEngine
from envs.engine.types import Strategy

CASES: dict[str, Case] = {**CONVOLUTIONAL, **ATTENTION}
MIN_KEEP = 0.1


@cache
def pruned(name: str) -> tuple[TorchEngine, Strategy, nn.Module]:
    """Prune a network of the table by uniform ratios to its target, without repair."""
    case = CASES[name]
    settings = EngineSettings(round_to=1, reconstruct=False, adaptive_bn=0)
    engine = TorchEngine(case.model(), case.example(), torch.zeros(1), metric_scorer(lambda _: 0.5), settings)
    budget = ResourceBudget(engine, "flops", case.target, MIN_KEEP)
    ratio = uniform_ratio(budget)
    strategy = tuple(budget.execute(step, ratio) for step in range(len(engine.layers)))
    return engine, strategy, engine.prune(strategy)


@torch.no_grad()
def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:  # noqa: ANN401
    return flatten_outputs(forward(model, inputs))


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_uniform_ratios_reach_the_target(name: str) -> None:
    engine, strategy, _ = pruned(name)
    fraction = engine.cost(strategy).flops / engine.cost((1.0,) * len(strategy)).flops
    assert CASES[name].target - 0.15 < fraction <= CASES[name].target


def test_masked_and_compact_networks_agree(name: str) -> None:
    engine, strategy, small = pruned(name)
    inputs = CASES[name].example(batch=3, seed=2)
    found, masked = outputs(small, inputs), outputs(engine.pruner.mask(engine.kept(strategy)), inputs)
    assert [a.shape for a in found] == [b.shape for b in outputs(engine.model, inputs)]
    for a, b in zip(found, masked, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * max(1.0, float(b.abs().max())), rtol=0.0)


def test_folding_batch_norms_changes_nothing(name: str) -> None:
    engine, _, small = pruned(name)
    inputs = CASES[name].example(batch=3, seed=2)
    for found, expected in zip(
        outputs(engine.pruner.for_inference(small), inputs), outputs(small, inputs), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4 * max(1.0, float(expected.abs().max())), rtol=0.0)


def test_costs_equal_an_independent_counter(name: str) -> None:
    engine, strategy, small = pruned(name)
    cost = engine.cost(strategy)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        forward(small, CASES[name].example())
    assert cost.flops == pytest.approx(counter.get_total_flops() / 2, rel=1e-9)
    assert cost.params == sum(parameter.numel() for parameter in small.parameters())


def test_what_stays_whole_is_listed_with_the_reason(name: str) -> None:
    engine, _, small = pruned(name)
    for module, reason in CASES[name].whole:
        assert reason in engine.unprunable[module]
    for module, reason in engine.unprunable.items():
        weight, dense = (m.get_submodule(module).state_dict().get("weight") for m in (small, engine.model))
        assert "\n" not in reason
        if weight is not None and dense is not None:
            axis = 1 if isinstance(small.get_submodule(module), nn.Embedding | nn.ConvTranspose2d) else 0
            assert weight.shape[axis] == dense.shape[axis], (module, reason)


def test_the_small_network_trains(name: str) -> None:
    small = copy.deepcopy(pruned(name)[2]).train()
    optimizer = torch.optim.SGD(small.parameters(), lr=0.01)
    loss = sum(output.square().mean() for output in flatten_outputs(forward(small, CASES[name].example(batch=4))))
    loss.backward()
    for path, parameter in small.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.isfinite().all(), path
    before = [parameter.detach().clone() for parameter in small.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, small.parameters(), strict=True))


def test_a_saved_network_comes_back(name: str, tmp_path: Path) -> None:
    small, inputs = pruned(name)[2], CASES[name].example()
    shape = tuple(inputs.shape) if isinstance(inputs, Tensor) and inputs.is_floating_point() else ()
    (tmp_path / WEIGHTS_FILE).write_bytes(weights_bytes(small, Header(shape)))
    loaded = amc.load(tmp_path, model=CASES[name].model())
    for a, b in zip(outputs(loaded, inputs), outputs(small, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_a_trial_leaves_no_trace(name: str) -> None:
    """Search with repair: model, modes, hooks and random states stay as they were."""
    case = CASES[name]
    model, example = case.model(), case.example(batch=2)
    model.register_forward_hook(lambda *_: None)
    next(iter(model.children())).train()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(5)
    before = snapshot(model)
    repaired = isinstance(example, Tensor)
    settings = EngineSettings(round_to=1, reconstruct=repaired, adaptive_bn=8 if repaired else 0)
    calibration = case.example(batch=8, seed=3) if repaired else torch.zeros(1)

    def finite(candidate: nn.Module) -> float:
        return float(all(bool(output.isfinite().all()) for output in outputs(candidate, example)))

    engine = TorchEngine(model, example, calibration, metric_scorer(finite), settings)
    strategy = tuple(0.5 for _ in engine.layers)
    assert engine.evaluate(strategy).metric == 1.0
    engine.prune(strategy)
    after = snapshot(model)
    assert before.keys() == after.keys()
    for key, value in before.items():
        same = torch.equal(value, after[key]) if isinstance(value, Tensor) else value == after[key]
        assert same, key


def snapshot(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    for path, module in model.named_modules():
        found[f"{path} mode"] = module.training
        found[f"{path} hooks"] = (len(module._forward_hooks), len(module._forward_pre_hooks))
    for path, parameter in model.named_parameters():
        found[f"{path} gradient"] = (parameter.requires_grad, parameter.grad is None)
    numpy_state = np.random.get_state()  # noqa: NPY002  the state that must not change
    return found | {"python": random.getstate(), "numpy": str(numpy_state), "torch": torch.get_rng_state()}


def test_attention_heads_go_as_whole_units() -> None:
    engine, strategy, small = pruned("separate_projections")
    assert [layer.units for layer in engine.layers] == [4, 4]
    for layer, keep in zip(engine.layers, strategy, strict=True):
        block = small.get_submodule(layer.name.rpartition(".")[0])
        heads = layer.kept(keep)
        assert block.query.out_features == block.key.out_features == block.value.out_features == 4 * heads
        assert block.out.in_features == 4 * heads


def test_a_key_and_value_take_their_queries_with_them() -> None:
    engine, _, _ = pruned("grouped_queries")
    assert [layer.units for layer in engine.layers] == [3, 40, 3, 40]
    small = engine.prune((2 / 3, 0.5, 1.0, 1.0))
    block = small[1]
    assert (block.key.out_features, block.value.out_features) == (8, 8)
    assert (block.query.out_features, block.out.in_features) == (16, 16)
