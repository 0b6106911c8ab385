"""What networks come wrapped in: taken off where that is safe, else named, with what to give instead."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule
from torch.nn.parallel import DataParallel, DistributedDataParallel

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel, DistributedDataParallel and torch.compile put in front of the names of their network's tensors."""
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")


def bare(model: Any) -> nn.Module:  # noqa: ANN401  whatever a caller takes for a network
    """Return the network itself: what torch.compile, DataParallel and DistributedDataParallel wrap.

    Raises:
        ValueError: it is none, or one that cannot be cut; one line says what it is and what to give instead.
    """
    while isinstance(model, DataParallel | DistributedDataParallel) or _is_compiled(model):
        model = model._orig_mod if _is_compiled(model) else model.module
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {_what(model)}")
    for name, module in model.named_modules():
        if fault := _fault(module):
            where = f"model.{name}" if name else "model"
            raise ValueError(f"{where} is {fault}")
    sharded = next((name for name, each in model.named_parameters() if type(each.data).__name__ == "DTensor"), None)
    if sharded is not None:
        raise ValueError(
            f"model.{sharded} is sharded over processes: give the network unsharded, in one process, with the weights "
            "of torch.distributed.checkpoint.state_dict.get_model_state_dict(full_state_dict=True)"
        )
    return model


def check_precision(model: nn.Module) -> None:
    """Check that a network computes in single precision, as the search and its least squares do.

    Raises:
        ValueError: it has weights in another.
    """
    for name, each in model.named_parameters():
        if each.is_floating_point() and each.dtype != torch.float32:
            raise ValueError(
                f"model.{name} is {str(each.dtype).removeprefix('torch.')}: give model.float() and inputs of float32, "
                "and convert the smaller network back"
            )


def without_prefixes(names: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors of a wrapped network by the names that they have in the bare one."""
    found = dict(names)
    while prefix := next((each for each in PREFIXES if found and all(name.startswith(each) for name in found)), None):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _is_compiled(model: object) -> bool:
    return type(model).__name__ == "OptimizedModule" and hasattr(model, "_orig_mod")


def _what(given: object) -> str:
    """Say what something is that is no network, and what to give instead."""
    if isinstance(given, ExportedProgram):
        return "an exported program, whose shapes are fixed: give the torch.nn.Module that it was made of"
    if isinstance(given, Mapping) and (key := next((key for key, each in given.items() if _is_state(each)), None)):
        return f"a checkpoint: build the network, call its load_state_dict(...) with what is under {key!r}, and give it"
    if _is_state(given):
        return "a state dict: build the network, call its load_state_dict(...), and give the network"
    if isinstance(given, str | Path):
        return f"a path ({given}): give the network; amc.load brings back what this package saved"
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"the class {given.__name__}: give a trained network of it, {given.__name__}(...)"
    return f"a {type(given).__name__}: give a torch.nn.Module"


def _is_state(given: object) -> bool:
    return isinstance(given, Mapping) and bool(given) and all(isinstance(value, Tensor) for value in given.values())


def _fault(module: nn.Module) -> str:
    """Return what a module is that cannot be cut, and what to give instead; empty for all others."""
    kind = type(module)
    if kind.__module__.startswith("torch.jit"):
        return "scripted or traced, its code is fixed: give the torch.nn.Module that it was made of"
    if kind.__name__ == "FullyShardedDataParallel":
        return "wrapped in FSDP, which shards weights: give the network itself with its full state dict, in one process"
    if isinstance(module, GraphModule) and hasattr(module, "_guards_fn"):
        return "an exported program, whose shapes are fixed: give the torch.nn.Module that it was made of"
    if _is_compiled(module):
        return "compiled: give the network as it was before torch.compile, and compile the smaller one"
    if kind.__module__.startswith(QUANTISED) or any(_is_quantised(each) for each in module.parameters(recurse=False)):
        return "quantised: prune the network of floats, and quantise the smaller one"
    return ""


def _is_quantised(tensor: Tensor) -> bool:
    return tensor.is_quantized or type(tensor.data).__module__.startswith("torchao.")
