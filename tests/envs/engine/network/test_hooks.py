from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from envs.engine.network.hooks import hooked


def test_hooks_are_there_inside_the_block_alone() -> None:
    layer = nn.Identity()
    seen: list[int] = []
    with hooked(layer.register_forward_hook(lambda *_: seen.append(1)) for _ in range(2)):
        layer(torch.zeros(1))
    layer(torch.zeros(1))
    assert len(seen) == 2
    assert not layer._forward_hooks


def test_an_error_inside_takes_them_away() -> None:
    layer = nn.Identity()
    with pytest.raises(RuntimeError, match="inside"), hooked([layer.register_forward_pre_hook(lambda *_: None)]):
        raise RuntimeError("inside")
    assert not layer._forward_pre_hooks


def test_an_error_while_hooks_are_set_takes_away_those_before_it() -> None:
    layer = nn.Identity()

    def failing() -> Iterator[RemovableHandle]:
        yield layer.register_forward_hook(lambda *_: None)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), hooked(failing()):
        pass
    assert not layer._forward_hooks
