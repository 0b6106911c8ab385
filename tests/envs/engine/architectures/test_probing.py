from typing import cast

import pytest
import torch
from attention_nets import ATTENTION
from convolutional_nets import CONVOLUTIONAL
from torch import Tensor, nn

from envs.engine.network.isolation import copy_network
from envs.engine.tracing.graph import NetworkGraph, Way, group_by_nan_probing, trace

CASES = {**CONVOLUTIONAL, **ATTENTION}


def units(graph: NetworkGraph) -> set[frozenset[tuple[str, str, int]]]:
    """Return what goes together, as sets of (module, side, channel)."""
    return {
        frozenset(
            (member.module, member.side.name, int(channel))
            for member in group.members
            for channel in (member.unit == unit).nonzero().flatten()
        )
        for group in graph.groups
        for unit in range(group.units)
    }


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"auxiliary_head"}))  # probing sees no training
def test_labels_and_experiment_find_the_same_units(name: str) -> None:
    model, inputs = CASES[name].model(), CASES[name].example()
    graph = trace(model, inputs)
    assert graph.found_by is Way.LABELS
    assert units(group_by_nan_probing(copy_network(model), inputs, graph.calls, graph.flops, ())) == units(graph)


def test_coupled_skips_are_tied_through_concatenations() -> None:
    """Channel i of ``a + b`` and of ``a`` stand at i and 16 + i of a concatenation, to which c is added."""
    model, inputs = CASES["complex_skip"].model(), CASES["complex_skip"].example()
    graph = trace(model, inputs)
    found = units(group_by_nan_probing(copy_network(model), inputs, graph.calls, graph.flops, ()))
    for i in range(16):
        unit = next(unit for unit in found if ("a.0", "OUT", i) in unit)
        assert {channel for module, side, channel in unit if (module, side) == ("c.0", "IN")} == {i, 16 + i}
        assert {channel for module, side, channel in unit if (module, side) == ("c.0", "OUT")} == {i, 16 + i}
        assert {channel for module, side, channel in unit if (module, side) == ("b.0", "OUT")} == {i}


class TwoStages(nn.Module):
    """Looks again at the places that score well. Of NaN none does, which is fewer than the recorded outputs are of."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        body = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
        self.body, self.score = nn.Sequential(*body), nn.Conv2d(8, 1, 1)
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        places = features.movedim(1, -1)[self.score(features)[:, 0] > -1e9]
        return cast(Tensor, self.head(places) + torch.arange(len(places))[:, None])


def test_marks_that_break_a_detector_count_as_an_output() -> None:
    model, image = TwoStages().eval(), torch.randn(1, 3, 6, 6)
    graph = trace(model, image)
    found = group_by_nan_probing(copy_network(model), image, graph.calls, graph.flops, ())
    cut = {(module, side) for unit in units(found) for module, side, _ in unit}
    assert ("body.0", "OUT") in cut
    assert ("head.0", "OUT") in cut
    assert ("score", "OUT") not in cut
    assert ("head.2", "OUT") not in cut
