"""When candidates run in bfloat16: on hardware that has it, by the operating system's word, if the network bears it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from envs.engine.scoring.precision import choose_precision, running_in

CPU = torch.device("cpu")
CPUINFO = Path("/proc/cpuinfo")
INPUTS = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))


class Cancelling(nn.Module):
    """The small difference of two large products, which eight bits of mantissa cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(32, 4, bias=False)
        self.second = nn.Linear(32, 4, bias=False)
        with torch.no_grad():
            self.second.weight.copy_(self.first.weight + 1e-4 * torch.randn(4, 32))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.first(inputs) - self.second(inputs)


@pytest.fixture(scope="module")
def multiplies_bfloat16() -> bool:
    if not CPUINFO.exists() or not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("the system or this release of torch does not say what the processor can do")
    flags = CPUINFO.read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_asked_for_is_taken(wanted: str) -> None:
    assert choose_precision(wanted, Cancelling().eval(), INPUTS, CPU) == wanted


def test_auto_is_bfloat16_where_the_processor_multiplies_it(multiplies_bfloat16: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    assert choose_precision("auto", network, INPUTS, CPU) == ("bf16" if multiplies_bfloat16 else "fp32")


def test_auto_is_float32_for_a_network_that_does_not_bear_less() -> None:
    torch.manual_seed(0)
    assert choose_precision("auto", Cancelling().eval(), INPUTS, CPU) == "fp32"


class Detector(nn.Module):
    """Returns as many boxes as it finds, which rounding decides."""

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        exact = (inputs + 1e-4).to(
            torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype
        )
        return {"boxes": inputs[exact.float()[:, 0] > inputs[:, 0]]}


def test_a_network_whose_number_of_outputs_differs_runs_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.engine.scoring.precision.has_native_bf16", lambda _: True)
    assert len(Detector()(INPUTS)["boxes"]) == 8
    assert choose_precision("auto", Detector(), INPUTS, CPU) == "fp32"


def test_weights_stay_in_float32() -> None:
    layer = nn.Linear(32, 4)
    with running_in("bf16", CPU):
        assert layer(INPUTS).dtype is torch.bfloat16
    assert layer.weight.dtype is torch.float32
    with running_in("fp32", CPU):
        assert layer(INPUTS).dtype is torch.float32
