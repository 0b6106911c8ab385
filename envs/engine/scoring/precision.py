"""The number format that candidates run in: bfloat16 where the hardware has it and the network bears it; not timed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from envs.engine.network.calls import Inputs, flatten_outputs, forward

TOLERANCE = 0.05
"""How far outputs in bfloat16 may be from those in float32: norm of the difference, relative to that of the latter."""


def running_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that networks run in, ``fp32`` or ``bf16``; weights and statistics stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def full_precision() -> Iterator[None]:
    """Leave whatever reduced precision is on."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, and does not emulate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Older releases of torch cannot tell.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose_precision(wanted: str, model: nn.Module, inputs: Inputs, device: torch.device) -> str:
    """Return ``fp32`` or ``bf16``; for ``auto`` bf16 if the device has it and the network's outputs hardly notice.

    What the network gains by it is not measured: a small one may gain nothing.

    Args:
        wanted: one of ``envs.engine.choices.PRECISIONS``.
        model: the dense network in eval mode, on the device.
        inputs: what it can be called with.
        device: where candidates are to run.
    """
    if wanted != "auto":
        return wanted
    if not has_native_bf16(device):
        return "fp32"
    with torch.inference_mode():
        exact = flatten_outputs(forward(model, inputs))
        with running_in("bf16", device):
            rough = flatten_outputs(forward(model, inputs))
    # A detector may return another number of boxes: then nothing can be said, and nothing is risked.
    agree = [each.shape for each in rough] == [each.shape for each in exact] and all(
        float((a.float() - b.float()).norm()) <= TOLERANCE * float(b.float().norm())
        for a, b in zip(rough, exact, strict=True)
    )
    return "bf16" if agree else "fp32"
