"""The runtimes that networks are timed in: which there are, and what they need."""

import importlib.util
import shutil
from typing import NamedTuple

import torch

from amc.config.schema import AUTO, PROFILES
from amc.errors import ConfigError
from amc.measurement.on_device import load_onnxruntime

INSTALL = "pip install"


class Needs(NamedTuple):
    """What a runtime needs beside torch.

    Attributes:
        packages: names that can be imported.
        programs: one of these must be on the path.
    """

    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


NEEDS = {
    "onnxruntime-cpu": Needs(("onnx", "onnxruntime", "onnxscript")),
    "torch-eager": Needs(),
    "torch-compile": Needs(programs=("c++", "g++", "clang++")),
    "openvino": Needs(("onnx", "onnxscript", "openvino")),
    "cuda": Needs(),
    "tensorrt": Needs(("onnx", "onnxruntime", "onnxscript")),
}
TENSORRT = "TensorrtExecutionProvider"


def missing(runtime: str) -> str:
    """Return what a runtime lacks on this machine, in words; nothing where it can be used."""
    needs = NEEDS[runtime]
    absent = [name for name in needs.packages if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)}: {INSTALL} {' '.join(absent)}"
    if runtime == "cuda" and not torch.cuda.is_available():
        return "an NVIDIA GPU that torch can use, and there is none here"
    if runtime == "tensorrt" and TENSORRT not in load_onnxruntime().get_available_providers():
        return "an NVIDIA GPU, and onnxruntime-gpu instead of onnxruntime, beside TensorRT"
    if needs.programs and not any(map(shutil.which, needs.programs)):
        return f"a C++ compiler, {' or '.join(needs.programs)}"
    return ""


def chosen_runtime(name: str, key: str = "device_profile", device: str = "cpu") -> str:
    """Return the runtime of a name; ``auto`` is the first that is installed, and on an accelerator torch.

    ``cuda`` is torch on the GPU that the networks are on.

    Args:
        name: of ``PROFILES``, or ``auto``.
        key: where it was asked for, for messages.
        device: kind of the device that networks run on.

    Raises:
        ConfigError: it cannot be used on this machine.
    """
    if name == AUTO and device != "cpu":
        return "torch-eager"
    if name == AUTO:
        return next(each for each in PROFILES if not missing(each))
    lack = missing(name)
    if lack:
        raise ConfigError(f"{key}={name} needs {lack}")
    if name == "cuda" and device != "cuda":
        raise ConfigError(f"{key}=cuda goes with device=cuda: the networks are on the {device}")
    return "torch-eager" if name == "cuda" else name
