"""A trained network of one's own: ``model.checkpoint=net.safetensors``, or a state dict saved by torch.

Files are data: no code in them runs, and names, shapes, types and finiteness are checked before anything is loaded.
"""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from amc.config.checkpoint_paths import checkpoint_file
from amc.errors import RefusedInput
from amc.weights.tensor_file import check_tensors, read_tensors, tensor_names
from amc.weights.wrappers import without_prefixes
from envs.engine.errors import first_line

SAFETENSORS = ".safetensors"
STATE_DICT = "state_dict"
"""Where training scripts put a network's weights beside the optimizer's."""


def load_checkpoint(model: nn.Module, checkpoint: str) -> None:
    """Fill a network with the weights of a file.

    Args:
        model: the untrained network.
        checkpoint: path of a ``.safetensors`` file, or of a state dict as torch writes it.

    Raises:
        ConfigError: there is no such file.
        RefusedInput: it is damaged, or was not made for this network; one line says why.
    """
    path = checkpoint_file(checkpoint)
    try:
        wanted = model.state_dict()
        tensors = _load_safetensors(path, wanted) if path.suffix == SAFETENSORS else _load_torch(path, wanted)
    except (OSError, ValueError) as error:
        raise RefusedInput(f"model.checkpoint={checkpoint} is refused: {first_line(error)}") from error
    model.load_state_dict(tensors)


def _load_safetensors(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read tensors; those that were saved from a wrapped network are wanted by their longer names."""
    names = tensor_names(path)
    bare = without_prefixes({name: name for name in names})
    as_saved = {bare.get(name, name): tensor for name, tensor in wanted.items()}
    return without_prefixes(read_tensors(path, as_saved))


def _load_torch(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        # A file is read or refused; what torch thinks of its pickle protocol would be two more lines.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise ValueError("it holds more than tensors or is damaged; save model.state_dict()") from error
    inner = found.get(STATE_DICT) if isinstance(found, Mapping) else None
    found = inner if isinstance(inner, Mapping) else found
    if not isinstance(found, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise ValueError("it holds no state dict; save model.state_dict()")
    found = without_prefixes(found)
    check_tensors(found, wanted)
    return found


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to more than itself: torch packs nothing.

    Raises:
        ValueError: it is one.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("it is damaged; save model.state_dict()") from error
    if unpacked > path.stat().st_size:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than it has: no file that torch wrote does")
