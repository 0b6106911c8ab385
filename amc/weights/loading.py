"""Bring a saved pruned network back. Files are data: they are checked first, and no code in them ever runs."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from amc.errors import RefusedInput
from amc.weights.export import WEIGHTS_FILE
from amc.weights.metadata import Header
from amc.weights.resize import resize
from amc.zoo.models.registry import build_model
from envs.engine.surgery.head_counts import set_counts

MAX_FILE_BYTES = 4 << 30
# Of packages' networks, which take memory before their shapes are known.
MAX_CLASSES, MAX_CHANNELS = 1 << 16, 1 << 8


class LoadError(RefusedInput):
    """A saved network is missing, damaged or not what it says it is."""


def load(folder: str | Path, model: nn.Module | Callable[[], nn.Module] | None = None) -> nn.Module:
    """Rebuild the pruned network of a run folder, on the CPU and in eval mode.

    A network that was pruned finer than by channels has its zeros, but nothing holds them in further training.

    Args:
        folder: the run folder, or the weights file itself.
        model: the dense network, or what builds it, where it is not from the zoo; it is not changed.

    Raises:
        LoadError: the file is missing, or is refused; one line says why.
        ConfigError: its network is of a package that is not installed.
    """
    path = _weights_path(folder)
    own = deepcopy(model) if isinstance(model, nn.Module) else model and model()
    with _refusing(path), safe_open(path, framework="pt", device="cpu") as file:
        header = Header.from_metadata(file.metadata())
        network = own.cpu() if own is not None else _dense_from_zoo(header)
        dense = network.state_dict()
        _check_names(set(file.keys()), set(dense))
        # Cloned: the file is mapped into memory, and may change or go.
        tensors = {name: file.get_tensor(name).clone() for name in dense}
        for name, tensor in tensors.items():
            _check_tensor(name, tensor, dense[name])
        resize(network, {name: tensor.shape for name, tensor in tensors.items()})
        set_counts(network, header.counts)
        network.load_state_dict(tensors, assign=True)
        network.eval()
        if header.input_shape:
            _try_forward(network, header)
    return network


def read_header(folder: str | Path) -> Header:
    """Return what the weights file of a run folder says about itself, such as its ``normalization``.

    Raises:
        LoadError: the file is missing, or is refused; one line says why.
    """
    path = _weights_path(folder)
    with _refusing(path), safe_open(path, framework="pt", device="cpu") as file:
        return Header.from_metadata(file.metadata())


def _weights_path(folder: str | Path) -> Path:
    path = Path(folder)
    path = path / WEIGHTS_FILE if path.is_dir() else path
    with _refusing(path):
        status = path.lstat()
        # A pipe would block, and a link or a device may lead anywhere.
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ValueError(f"it has {status.st_size} bytes, more than {MAX_FILE_BYTES}")
    return path


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise LoadError(f"{path} does not exist; the folder of a finished run holds {WEIGHTS_FILE}") from error
    except (OSError, ValueError, SafetensorError) as error:
        raise LoadError(f"{path} is refused: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _dense_from_zoo(header: Header) -> nn.Module:
    if header.model is None:
        raise ValueError("its network is not from the zoo; pass the dense one: load(folder, model=...)")
    spec = header.model
    if "/" in spec.factory and (spec.num_classes > MAX_CLASSES or spec.in_channels > MAX_CHANNELS):
        raise ValueError(
            f"its network has more than {MAX_CLASSES} classes or {MAX_CHANNELS} channels; pass the dense one"
        )
    # On "meta" a network has shapes but takes no memory, whatever width the file asks for. Packages' networks have a
    # width of their own, and compute tensors that no file holds.
    with nullcontext() if "/" in spec.factory else torch.device("meta"):
        return build_model(spec.factory, spec.num_classes, spec.in_channels, spec.width)


def _check_names(found: set[str], wanted: set[str]) -> None:
    if found != wanted:
        name = min(found ^ wanted)
        raise ValueError(f"tensor {name!r} is {'missing' if name in wanted else 'not part of the network'}")


def _check_tensor(name: str, tensor: Tensor, dense: Tensor) -> None:
    shape, limit = list(tensor.shape), list(dense.shape)
    fits = len(shape) == len(limit) and all(1 <= size <= most for size, most in zip(shape, limit, strict=True))
    if not fits:
        raise ValueError(f"tensor {name!r} has shape {shape}, which is not cut from {limit}")
    if tensor.dtype != dense.dtype:
        raise ValueError(f"tensor {name!r} holds {tensor.dtype} instead of {dense.dtype}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"tensor {name!r} holds values that are not finite")


@torch.inference_mode()
def _try_forward(network: nn.Module, header: Header) -> None:
    try:
        output = network(torch.zeros(header.input_shape))
    except Exception as error:
        # Layers that do not fit together fail in many ways; a network that does not run is refused for any.
        raise ValueError(f"it does not run on {list(header.input_shape)}: {_first_line(error)}") from error
    if isinstance(output, Tensor) and not torch.isfinite(output).all():
        raise ValueError("it answers zeros with values that are not finite")
    if header.model is not None and output.shape != (header.input_shape[0], header.model.num_classes):
        raise ValueError(f"it gives {list(output.shape)} outputs for {header.model.num_classes} classes")
