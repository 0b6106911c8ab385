"""Copies of networks: what ``copy_modules`` makes is what ``copy.deepcopy`` makes."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from envs.engine.network.isolation import copy_modules, copy_network


class Odd(nn.Module):
    """Holds modules where networks hold them, and where they should not."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Linear(4, 4)
        self.layers = nn.ModuleList([first, nn.BatchNorm1d(4), nn.ReLU()])
        self.again = self.layers[0]
        self.tied = nn.Linear(4, 4)
        self.tied.weight = first.weight
        self.listed: list[Any] = [self.layers[0], {"norm": self.layers[1]}]
        self.call = self.layers[1].forward
        self.plain = torch.ones(2)
        self.settings = {"sizes": [1, 2]}
        self.norm = parametrizations.weight_norm(nn.Linear(4, 4))
        self.recurrent = nn.GRU(4, 4)
        self.layers[0].register_forward_hook(self._note)
        self.seen = 0
        self.notes: list[int] = []
        vars(self.tied)["notes"] = self.notes

    def _note(self, *_: object) -> None:
        self.seen += 1

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return self.recurrent(self.norm(self.tied(self.call(inputs))))[0]


@pytest.mark.parametrize("copied_by", [copy_modules, copy.deepcopy])
def test_a_copy_says_the_same_and_shares_nothing(copied_by: Callable[[nn.Module], Any]) -> None:
    model = Odd().eval()
    copied = copied_by(model)
    inputs = torch.randn(3, 4)
    assert torch.equal(copied(inputs), model(inputs))
    assert (copied.seen, model.seen) == (1, 1)  # the hook is the copy's own
    assert copied.again is copied.layers[0] is copied.listed[0]
    assert copied.listed[1]["norm"] is copied.call.__self__ is copied.layers[1]
    assert copied.tied.weight is copied.layers[0].weight
    assert copied.notes is copied.tied.notes is not model.notes
    assert copied.settings == model.settings
    assert copied.settings["sizes"] is not model.settings["sizes"]
    ours = {id(tensor) for tensor in (*model.parameters(), *model.buffers(), model.plain)}
    assert not ours & {id(tensor) for tensor in (*copied.parameters(), *copied.buffers(), copied.plain)}
    assert not {id(module) for module in model.modules()} & {id(module) for module in copied.modules()}
    assert [*copied.state_dict()] == [*model.state_dict()]
    assert [(name, type(module)) for name, module in copied.named_modules()] == [
        (name, type(module)) for name, module in model.named_modules()
    ]


def test_a_module_that_copies_itself_does() -> None:
    class Own(nn.Linear):
        def __deepcopy__(self, _: dict[int, Any]) -> nn.Module:
            return nn.Identity()

    copied = copy_modules(nn.Sequential(Own(2, 2), nn.ReLU()))
    assert type(copied[0]) is nn.Identity


def test_a_copy_that_shares_has_gradients_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).requires_grad_(False)
    copied = copy_network(model, share=True).requires_grad_(True)
    copied(torch.ones(1, 2)).sum().backward()
    assert copied[0].weight.data_ptr() == model[0].weight.data_ptr()
    assert not model[0].weight.requires_grad
    assert model[0].weight.grad is None
    assert copied[1].running_mean.data_ptr() != model[1].running_mean.data_ptr()
