"""A pruned network as the bytes of a file: safetensors, torch.export, ONNX."""

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor, nn

from amc.errors import ModelError
from amc.weights.metadata import Header
from amc.weights.tensor_file import tensor_bytes
from envs.engine.network.plain_layers import is_made_plain
from envs.engine.surgery.full_width import places_of
from envs.engine.surgery.head_counts import counts_of
from envs.engine.surgery.masking import without_masks
from envs.engine.surgery.passing_on import passed_of

WEIGHTS_FILE = "pruned.safetensors"
PT2_FILE = "pruned.pt2"
ONNX_FILE = "pruned.onnx"


class ExportError(ModelError):
    """A network cannot be written in the format asked for; the message says what to do."""


def weights_bytes(model: nn.Module, header: Header) -> bytes:
    """Return ``model``'s weights and buffers as a safetensors file that ``amc.load`` reads, masks folded in.

    Args:
        model: the pruned network.
        header: how to rebuild it; stored as JSON in the file's metadata, with the network's own counts.
    """
    # Cloned: safetensors refuses tensors that share memory or are not contiguous, such as channels_last ones.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in without_masks(model).state_dict().items()
    }
    about = replace(
        header,
        counts=counts_of(model),
        places=places_of(model),
        plain=is_made_plain(model),
        passed=passed_of(model),
    )
    return tensor_bytes(tensors, about.to_metadata())


def pt2_bytes(model: nn.Module, example: Tensor) -> bytes:
    """Return ``model`` as a ``torch.export`` archive that takes any batch size.

    Raises:
        ExportError: the network's Python code cannot be captured.
    """
    buffer = io.BytesIO()
    torch.export.save(_capture(model, example), buffer)
    return buffer.getvalue()


def onnx_bytes(model: nn.Module, example: Tensor) -> bytes:
    """Return ``model`` as an ONNX graph that takes any batch size; input ``images``, output ``logits``.

    Raises:
        ExportError: the ``onnx`` extra is not installed, or the network cannot be captured or translated.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX export needs {' and '.join(missing)}: pip install onnx onnxscript")
    captured = _capture(model, example)
    with _one_line_errors(model, "torch.onnx.export"), _quiet(), warnings.catch_warnings():
        # torch's translation still uses names that torch itself deprecates.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            captured, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False
        )
    if program is None:
        raise ExportError(f"torch.onnx.export gave no graph for {type(model).__name__}")
    return bytes(program.model_proto.SerializeToString())


def _capture(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    # The archive wants plain layout; training leaves channels_last.
    model = deepcopy(without_masks(model)).cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    # Two images: a batch of one would be baked in as a constant.
    batch = example[:1].cpu().expand(2, *example.shape[1:]).contiguous()
    with _one_line_errors(model, "torch.export"):
        return torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the translation to ONNX says of its own steps out of our log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _one_line_errors(model: nn.Module, exporter: str) -> Iterator[None]:
    """Turn whatever the exporter raises into one line; it has no common class for "this model cannot be traced"."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{exporter} cannot take {type(model).__name__}: {reason}") from error
