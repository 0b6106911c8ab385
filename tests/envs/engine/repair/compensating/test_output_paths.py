import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from envs.engine.repair.compensating.output_paths import OutputPath, find_output_paths


class Paths(nn.Module):
    """A block whose two branches are added up: what follows is up to ``ending``."""

    def __init__(self, ending: str = "relu") -> None:
        super().__init__()
        self.stem, self.main, self.side = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.six, self.ending = nn.ReLU6(), ending

    def forward(self, images: Tensor) -> Tensor:
        features = self.six(self.stem(images))
        main = self.norm(self.main(features))
        if self.ending == "in place":
            main += features
            return functional.relu(main, inplace=True) + 1
        if self.ending == "two readers":
            return (main + features).relu() + main
        if self.ending == "scaled":
            return torch.add(main, features, alpha=2).relu()
        if self.ending == "position":
            return (main + features[:1]).relu()
        if self.ending == "sum read twice":
            total = main + features
            return total.relu() + total
        if self.ending == "two branches":
            return (self.side(features) + main).relu()
        return (main + features).relu()


RELU, RELU6 = (0.0, math.inf), (0.0, 6.0)
EXPECTED = {
    "relu": OutputPath("norm", True, RELU),
    "in place": OutputPath("norm", True, RELU),
    "two readers": OutputPath("norm"),
    "scaled": OutputPath("norm"),
    "position": OutputPath("norm"),
    "sum read twice": OutputPath("norm", True),
}


def paths_of(model: nn.Module, *layers: str) -> dict[str, OutputPath]:
    return find_output_paths(model.eval(), layers, {"main": "norm"}, torch.randn(2, 3, 5, 5))


@pytest.mark.parametrize("ending", EXPECTED)
def test_what_becomes_of_an_output(ending: str) -> None:
    assert paths_of(Paths(ending), "stem", "main") == {
        "stem": OutputPath("stem", False, RELU6),
        "main": EXPECTED[ending],
    }


def test_of_two_layers_that_are_added_up_the_later_makes_up_for_both() -> None:
    found = paths_of(Paths("two branches"), "main", "side")
    assert found == {"main": OutputPath("norm"), "side": OutputPath("side", True, RELU)}
