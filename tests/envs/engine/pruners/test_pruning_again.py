"""A network that was pruned is pruned further: what went stays gone, and what is left is what is counted."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from envs.engine.network.samples import Samples
from envs.engine.pruners.channel_pruner import ChannelPruner
from envs.engine.pruners.mask_pruner import MaskPruner
from envs.engine.pruners.pruner import Pruner
from envs.engine.settings import EngineSettings

MASKED = [("element", "l1"), ("vector", "random"), ("kernel", "l2"), ("n_m", "random")]


def pruner_of(model: nn.Module, images: Tensor, granularity: str, criterion: str = "l1") -> Pruner:
    settings = EngineSettings(granularity=granularity, criterion=criterion, reconstruct=False)
    kind = ChannelPruner if granularity == "channel" else MaskPruner
    return kind(model.eval(), images[:1], Samples(images), settings)


def share(pruner: Pruner, keep: float) -> list[int]:
    return [layer.kept(keep) for layer in pruner.layers]


def train(model: nn.Module, images: Tensor) -> nn.Module:
    optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    for _ in range(3):
        outputs = model(images)
        loss = sum(output.square().mean() for output in (outputs if isinstance(outputs, tuple) else (outputs,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def masked_layers(model: nn.Module) -> dict[str, Tensor]:
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    return {name: module.weight.detach() for name, module in layers.items()}


def macs_of(model: nn.Module, images: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        model(images[:1])
    return counter.get_total_flops() / 2


def test_channels_left_by_one_pruning_are_those_of_the_next(network: nn.Module, images: Tensor) -> None:
    first = pruner_of(network, images, "channel")
    kept = share(first, 0.6)
    small = train(first.prune(kept), images)
    second = pruner_of(small, images, "channel")
    # Of one unit there is nothing to choose.
    left = [(layer.name, count) for layer, count in zip(first.layers, kept, strict=True) if count > 1]
    assert [(layer.name, layer.units) for layer in second.layers] == left
    again = share(second, 0.5)
    smaller = second.prune(again)
    for pruner, counts, model in ((second, [layer.units for layer in second.layers], small), (second, again, smaller)):
        cost = pruner.cost(counts)
        assert cost.flops == macs_of(model, images)
        assert cost.params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("granularity", "criterion"), MASKED)
def test_zeros_stay_zeros_and_are_counted(granularity: str, criterion: str, network: nn.Module, images: Tensor) -> None:
    total, dense_macs = sum(parameter.numel() for parameter in network.parameters()), macs_of(network, images)
    before = masked_layers(network)
    model, gone = network, {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in before.items()}
    left: dict[str, int] = {}
    for keep in (0.75, 0.6, 0.5):
        pruner = pruner_of(model, images, granularity, criterion)
        assert all(left.get(layer.name, layer.units) == layer.units for layer in pruner.layers)
        everything = pruner.cost([layer.units for layer in pruner.layers])
        assert everything.params == total - sum(int(zeros.sum()) for zeros in gone.values())
        kept = share(pruner, keep)
        left = {layer.name: count for layer, count in zip(pruner.layers, kept, strict=True)}
        model = train(pruner.prune(kept), images)
        now = {name: weight == 0 for name, weight in masked_layers(model).items()}
        assert all(bool((now[name] >= gone[name]).all()) for name in gone)
        assert sum(int(zeros.sum()) for zeros in now.values()) > sum(int(zeros.sum()) for zeros in gone.values())
        gone, cost = now, pruner.cost(kept)
        assert cost.params == total - sum(int(zeros.sum()) for zeros in gone.values())
        assert cost.flops == pytest.approx(dense_macs - macs_of_zeros(model, images, gone))
        assert cost.memory is not None
        assert cost.memory <= (everything.memory or 0)


def macs_of_zeros(model: nn.Module, images: Tensor, zeros: dict[str, Tensor]) -> float:
    """Every weight multiplies once a pixel of its layer's output."""
    pixels = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name: pixels.update({name: output[0].numel() // output.shape[1]})
        )
        for name in zeros
    ]
    model(images[:1])
    for handle in handles:
        handle.remove()
    return float(sum(int(gone.sum()) * pixels[name] for name, gone in zeros.items()))


def test_n_of_m_keeps_its_groups() -> None:
    layer = nn.Linear(8, 3, bias=False)
    first = pruner_of(layer, torch.randn(2, 8), "n_m")
    once = first.prune([3])
    second = pruner_of(once, torch.randn(2, 8), "n_m")
    assert [(step.units, step.choices) for step in second.layers] == [(3, (1, 2, 3))]
    twice = second.prune([2])
    assert (twice.weight.reshape(-1, 4) != 0).sum(1).tolist() == [2] * 6
    assert second.cost([2]).memory == 12 * 4 + 12 * 2 / 8
    assert torch.equal(second.prune([3]).weight, once.weight)
