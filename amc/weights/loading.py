"""Bring a saved pruned network back. Files are data: they are checked first, and no code in them ever runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from amc.errors import RefusedInput
from amc.weights.allocation import AllocationLimit
from amc.weights.export import WEIGHTS_FILE
from amc.weights.metadata import Header
from amc.weights.resize import resize
from amc.weights.tensor_file import read_metadata, read_tensors
from amc.weights.wrappers import bare
from amc.zoo.models.registry import build_model
from envs.engine.errors import first_line
from envs.engine.network.plain_layers import computed_tensors, make_plain
from envs.engine.surgery.full_width import set_places
from envs.engine.surgery.head_counts import set_counts
from envs.engine.surgery.passing_on import pass_on

# Of packages' networks, which take memory before their shapes are known.
MAX_CLASSES, MAX_CHANNELS = 1 << 16, 1 << 8
LEAST_DENSE_BYTES, MOST_SHRINKING = 1 << 28, 100
"""A dense network of a package takes no more than this, or than so many times the file that was cut from it."""
MAX_ACTIVATION_BYTES, MAX_FORWARD_BYTES = 1 << 28, 1 << 32
"""What one forward pass may make: of one tensor, and of all one after the other."""


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
    own = _copied(bare(model)) if isinstance(model, nn.Module) else model and bare(model())
    with _refusing(path):
        header = _header(path)
        network = own.cpu() if own is not None else _dense_from_zoo(header, path.lstat().st_size)
        if header.plain:
            make_plain(network.eval())
        pass_on(network, header.passed)
        tensors = read_tensors(path, network.state_dict(), pruned=True, links=False)
        resize(network, {name: tensor.shape for name, tensor in tensors.items()})
        set_counts(network, header.counts)
        set_places(network, header.places)
        network.load_state_dict(tensors, assign=True)
        network.eval()
        if header.input_shape:
            _try_forward(network, header)
    return network


def _copied(model: nn.Module) -> nn.Module:
    return deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in computed_tensors(model)})


def read_header(folder: str | Path) -> Header:
    """Return what the weights file of a run folder says about itself, such as its ``normalization``.

    Raises:
        LoadError: the file is missing, or is refused; one line says why.
    """
    path = _weights_path(folder)
    with _refusing(path):
        return _header(path)


def _header(path: Path) -> Header:
    return Header.from_metadata(read_metadata(path, links=False))


def _weights_path(folder: str | Path) -> Path:
    path = Path(folder)
    return path / WEIGHTS_FILE if path.is_dir() else path


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise LoadError(f"{path} does not exist; the folder of a finished run holds {WEIGHTS_FILE}") from error
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} is refused: {first_line(error)}") from error


def _dense_from_zoo(header: Header, file_bytes: int) -> nn.Module:
    if header.model is None:
        raise ValueError("its network is not from the zoo; pass the dense one: load(folder, model=...)")
    spec = header.model
    if "/" in spec.factory and (spec.num_classes > MAX_CLASSES or spec.in_channels > MAX_CHANNELS):
        raise ValueError(
            f"its network has more than {MAX_CLASSES} classes or {MAX_CHANNELS} channels; pass the dense one"
        )
    # On "meta" a network has shapes but takes no memory, whatever width the file asks for. Packages' networks have a
    # width of their own, and compute tensors that no file holds.
    limited = AllocationLimit(max(LEAST_DENSE_BYTES, file_bytes * MOST_SHRINKING))
    with limited if "/" in spec.factory else torch.device("meta"):
        return build_model(spec.factory, spec.num_classes, spec.in_channels, spec.width)


@torch.inference_mode()
def _try_forward(network: nn.Module, header: Header) -> None:
    try:
        with AllocationLimit(MAX_FORWARD_BYTES, each=MAX_ACTIVATION_BYTES):
            output = network(torch.zeros(header.input_shape))
    except Exception as error:
        # Layers that do not fit together fail in many ways; a network that does not run is refused for any.
        raise ValueError(f"it does not run on {list(header.input_shape)}: {first_line(error)}") from error
    if isinstance(output, Tensor) and not torch.isfinite(output).all():
        raise ValueError("it answers zeros with values that are not finite")
    if header.model is not None and output.shape != (header.input_shape[0], header.model.num_classes):
        raise ValueError(f"it gives {list(output.shape)} outputs for {header.model.num_classes} classes")
