"""Fine-tuned networks that many runs ask for, kept so that each is trained once."""

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from amc.errors import RefusedInput
from amc.store.cache import filling
from amc.training.dense import keep_weights, load_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkCache:
    """A folder of trained networks.

    Attributes:
        folder: where they are.
        name: of the networks, for people who look into it.
    """

    folder: Path
    name: str

    def fill(self, model: nn.Module, key: str, what: str, train: Callable[[], None]) -> None:
        """Give a network, in place, the weights kept under a key; where there are none, train it and keep them.

        Jobs side by side that ask for the same network wait for the first of them. A damaged file is replaced.

        Args:
            model: the untrained network, on any device.
            key: a digest of all that the weights depend on.
            what: is trained, for log lines.
            train: trains the network in place.

        Raises:
            StorageError: the folder can be neither written nor read.
        """
        path = self.folder / f"{self.name}-{key[:16]}.safetensors"
        if _loaded(path, model, key, what):
            return
        with filling(path, what) as kept:
            if _loaded(path, model, key, what):
                return
            train()
            # A training that diverged is every run's own: what is no number could not be read back.
            if kept and all(math.isfinite(tensor.sum().item()) for tensor in model.state_dict().values()):
                keep_weights(path, model, key, {"what": what})


def _loaded(path: Path, model: nn.Module, key: str, what: str) -> bool:
    if not path.exists():
        return False
    try:
        load_weights(path, model, key)
    except RefusedInput as error:
        log.warning("%s; doing it again", error)
        return False
    log.info("%s: done before, from %s", what, path)
    return True


def digest_of(model: nn.Module) -> str:
    """Return a digest of a network's weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
