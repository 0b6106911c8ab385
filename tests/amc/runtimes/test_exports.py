"""A network in another format, compared with torch before it is kept."""

import warnings

import pytest
import torch
from torch import nn

from amc.errors import ModelError
from amc.runtimes.exports import export_network


def network(weight: float) -> nn.Module:
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, weight)
    return layer.eval()


def test_what_is_written_is_compared_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = export_network(network(0.5), "pt2", torch.ones(2, 3))
    assert exported.difference == 0


def test_outputs_that_are_no_numbers_are_not_taken_for_equal() -> None:
    with pytest.raises(ModelError, match="differ from torch's by nan"):
        export_network(network(float("nan")), "pt2", torch.ones(2, 3))
