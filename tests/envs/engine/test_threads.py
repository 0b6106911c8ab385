import pytest
import torch

from envs.engine.threads import torch_threads


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(RuntimeError, match="inside"), torch_threads(before + 1):
        raise RuntimeError("inside")
    assert torch.get_num_threads() == before
