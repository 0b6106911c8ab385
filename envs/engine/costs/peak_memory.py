"""The memory that inference takes at its peak: weights, and the activations that are alive at the same time.

A forward pass says it itself: every tensor that it makes is seen when it is made and when it is dropped. On torch's
device ``meta`` tensors have shapes and no content, so that this costs neither memory nor arithmetic.
"""

import copy
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from envs.engine.network.calls import Inputs, flatten_outputs, forward, map_tensors


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, for as long as they are alive.

    Attributes:
        live: bytes now.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type for it
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Run an operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in flatten_outputs(made):
            self.hold(tensor)
        return made

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage until nothing refers to it any more; views and results in place have one already."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


class KnownPeaks:
    """Peaks of networks by what is kept of them; each takes milliseconds, once.

    Args:
        make: returns a network as it is run.
        example_inputs: one sample.
    """

    def __init__(self, make: Callable[[Sequence[int]], nn.Module], example_inputs: Inputs) -> None:
        self._make, self._example = make, example_inputs
        self._known: dict[tuple[int, ...], float] = {}

    def of(self, kept: Sequence[int]) -> float:
        """Return the bytes of a forward pass at its peak."""
        key = tuple(kept)
        if key not in self._known:
            self._known[key] = peak_bytes(self._make(kept), self._example)
        return self._known[key]


@torch.no_grad()
def peak_bytes(network: nn.Module, inputs: Inputs) -> float:
    """Return the bytes of weights, buffers, inputs and live activations of a forward pass at its peak.

    Args:
        network: in eval mode, as it is run.
        inputs: what it is called with.
    """
    held = sum(tensor.numel() * tensor.element_size() for tensor in (*network.parameters(), *network.buffers()))
    try:
        return held + _peak(copy.deepcopy(network).to("meta"), map_tensors(inputs, lambda tensor: tensor.to("meta")))
    except (RuntimeError, NotImplementedError):
        # A network that makes tensors of its own, or looks at values, runs where these are.
        return held + _peak(network, inputs)


def _peak(network: nn.Module, inputs: Inputs) -> float:
    counted = LiveBytes()
    for tensor in (*network.parameters(), *network.buffers()):
        counted._seen.add(tensor.untyped_storage()._cdata)
    given = sum(tensor.numel() * tensor.element_size() for tensor in flatten_outputs(inputs))
    for tensor in flatten_outputs(inputs):
        counted._seen.add(tensor.untyped_storage()._cdata)
    with counted:
        forward(network, inputs)
    return float(given + counted.peak)
