import pytest
import torch
from torch import Tensor, nn

from envs.engine.network.batches import concatenate, count_samples, split, take
from envs.engine.network.calls import Inputs
from envs.engine.network.samples import Samples
from envs.engine.repair.calibration import collect_moments
from envs.engine.scoring.top1 import Top1Scorer

ONE = torch.arange(14.0).view(7, 2)
KINDS: list[Inputs] = [ONE, (ONE, ONE[:, 0]), {"x": ONE, "y": ONE[:, :1]}]


def tensors(inputs: Inputs) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, dict) else list(inputs)


@pytest.mark.parametrize("inputs", KINDS)
def test_batches_put_together_are_the_whole(inputs: Inputs) -> None:
    parts = list(split(inputs, 3))
    assert [count_samples(part) for part in parts] == [3, 3, 1]
    whole = concatenate(parts)
    assert type(whole) is type(inputs)
    assert all(torch.equal(a, b) for a, b in zip(tensors(whole), tensors(inputs), strict=True))
    second = take(inputs, slice(1, 2))
    assert all(torch.equal(a, b[1:2]) for a, b in zip(tensors(second), tensors(inputs), strict=True))


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match=r"\(7, 2\), \(3, 2\): the first dimension"):
        count_samples((ONE, ONE[:3]))
    with pytest.raises(ValueError, match="no tensor"):
        count_samples(())
    with pytest.raises(ValueError, match="batch 1 has other inputs"):
        concatenate([{"x": ONE}, {"y": ONE}])
    with pytest.raises(ValueError, match="batch 1 has other inputs"):
        concatenate([ONE, (ONE,)])
    with pytest.raises(ValueError, match="hold a bool"):
        concatenate([(ONE, True)])
    with pytest.raises(ValueError, match="different shapes"):
        concatenate([ONE, ONE[:, :1]])


class Sum(nn.Module):
    """One linear layer on the sum of two inputs, that may be given by name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.linear(left + right)


@pytest.mark.parametrize("by_name", [False, True])
def test_the_engine_sees_what_it_would_with_one_tensor(by_name: bool) -> None:
    torch.manual_seed(0)
    two = Sum().eval()
    left, right, labels = torch.randn(250, 2), torch.randn(250, 2), torch.randint(3, (250,))
    inputs: Inputs = {"right": right, "left": left} if by_name else (left, right)
    found = collect_moments(two, ["linear"], inputs, seed=0)["linear"]
    expected = collect_moments(two.linear, [""], left + right, seed=0)[""]
    assert torch.allclose(found.second_moment(True), expected.second_moment(True))
    score, alone = Top1Scorer(inputs, labels)(two), Top1Scorer(left + right, labels)(two.linear)
    assert score.metric == alone.metric
    assert score.loss == pytest.approx(alone.loss)
    batches = list(Samples(inputs, labels).batches(size=100, most=120))
    assert [(count_samples(part), len(targets)) for part, targets in batches] == [(100, 100), (20, 20)]
