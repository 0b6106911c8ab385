"""The files of fitted landscapes: safetensors, with the network's description in the header."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Strategy
from envs.landscapes.description import Description, read_description
from envs.landscapes.surrogate import Surrogate, read_surrogate

FITTED = Path(__file__).parent / "fitted"
SUFFIX = ".safetensors"


class Landscape(NamedTuple):
    """A recorded network, and what was fitted to its record.

    Attributes:
        description: of the network.
        surrogate: says what a strategy scores.
        best: by target on FLOPs the best strategy that is known on this landscape.
    """

    description: Description
    surrogate: Surrogate
    best: Mapping[float, Strategy]


def landscape_names(folder: Path = FITTED) -> tuple[str, ...]:
    """Return the names of all landscapes, in alphabetical order."""
    return tuple(sorted(path.stem for path in folder.glob(f"*{SUFFIX}")))


def read_landscape(name: str, folder: Path = FITTED) -> Landscape:
    """Read a landscape.

    Raises:
        ValueError: there is none of this name.
    """
    from safetensors import safe_open

    if name not in landscape_names(folder):
        raise ValueError(f"landscape {name!r}: must be one of {', '.join(landscape_names(folder))}")
    with safe_open(folder / f"{name}{SUFFIX}", "numpy") as file:
        head = file.metadata()
        tensors: dict[str, NDArray[np.float32]] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    best = {float(target): tuple(strategy) for target, strategy in json.loads(head["best"]).items()}
    return Landscape(read_description(json.loads(head["description"])), read_surrogate(tensors), best)


def write_landscape(landscape: Landscape, name: str, folder: Path = FITTED) -> Path:
    """Write a landscape, and return the file."""
    from safetensors.numpy import save

    tensors = {key: value.astype(np.float32) for key, value in landscape.surrogate._asdict().items()}
    head = {
        "description": json.dumps(landscape.description.as_json(), separators=(",", ":")),
        "best": json.dumps({str(target): strategy for target, strategy in landscape.best.items()}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    path.write_bytes(save(tensors, head))
    return path
