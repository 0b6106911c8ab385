"""What a weights file says about itself: JSON in the header of a safetensors file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from amc.zoo.data.dataset import Normalization

FORMAT = 1
KEY = "amc"
MAX_DIMENSIONS = 6
MAX_INPUT_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class ModelSpec:
    """Which network of the zoo or of a package the weights belong to, before pruning.

    Attributes:
        factory: name in the zoo, or package and name: ``timm/mobilenetv2_100``.
        num_classes: outputs of the classifier.
        in_channels: channels of an image.
        width: multiplier on every channel count.
    """

    factory: str
    num_classes: int
    in_channels: int
    width: float = 1.0


@dataclass(frozen=True)
class Header:
    """How to rebuild a pruned network and what to feed it.

    Attributes:
        input_shape: shape of one batch, usually of a single image; empty for a network that takes something else
            than one tensor of floats.
        model: the network of the zoo or of a package it was cut from, ``None`` for a user's own.
        mean: per-channel mean of the training images, empty where unknown.
        std: per-channel standard deviation, as long as ``mean``.
        counts: numbers that the network's code goes by where pruning made them smaller, by module and attribute, as
            in ``blocks.0.attention.num_heads``.
    """

    input_shape: tuple[int, ...]
    model: ModelSpec | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def normalization(self) -> Normalization:
        """What turns byte images into the network's input.

        Raises:
            ValueError: the file holds no mean and standard deviation.
        """
        if not self.mean:
            raise ValueError("the weights file holds no normalisation")
        shape = (1, len(self.mean), 1, 1)
        return Normalization(torch.tensor(self.mean).view(shape), torch.tensor(self.std).view(shape))

    def to_metadata(self) -> dict[str, str]:
        """Return the header as safetensors stores it."""
        return {KEY: json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> "Header":
        """Read and check what :meth:`to_metadata` wrote.

        Raises:
            ValueError: a field is missing, of the wrong type or out of range.
        """
        if not metadata or KEY not in metadata:
            raise ValueError("it was not written by amc: its header has no amc entry")
        fields = _mapping("header", _parse(metadata[KEY]))
        if fields.get("format") != FORMAT:
            raise ValueError(f"its format is {fields.get('format')!r}, this version of amc reads {FORMAT}")
        return cls(
            input_shape=_input_shape(fields.get("input_shape")),
            model=None if fields.get("model") is None else _model_spec(fields["model"]),
            **_mean_and_std(fields),
            counts=_counts(fields.get("counts", {})),
        )


def _input_shape(value: object) -> tuple[int, ...]:
    shape = tuple(_integer("input_shape", size, 1, MAX_INPUT_ELEMENTS) for size in _sequence("input_shape", value))
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_INPUT_ELEMENTS:
        raise ValueError(f"its input_shape {list(shape)} is out of range")
    return shape


def _model_spec(value: object) -> ModelSpec:
    fields = _mapping("model", value)
    factory = fields.get("factory")
    if not isinstance(factory, str):
        raise ValueError("its model.factory is not a name")
    return ModelSpec(
        factory=factory,
        num_classes=_integer("model.num_classes", fields.get("num_classes"), 1, 1 << 20),
        in_channels=_integer("model.in_channels", fields.get("in_channels"), 1, 1 << 12),
        width=_number("model.width", fields.get("width"), 1e-3, 16.0),
    )


def _counts(value: object) -> dict[str, int]:
    counts = _mapping("counts", value)
    return {name: _integer(f"count {name}", count, 1, 1 << 20) for name, count in counts.items()}


def _mean_and_std(fields: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    mean = tuple(_number("mean", value, -1e6, 1e6) for value in _sequence("mean", fields.get("mean")))
    std = tuple(_number("std", value, 1e-6, 1e6) for value in _sequence("std", fields.get("std")))
    if len(mean) != len(std):
        raise ValueError(f"its mean has {len(mean)} channels, its std {len(std)}")
    return {"mean": mean, "std": std}


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is no JSON: {error}") from error


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is no JSON object")
    return value


def _sequence(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"its {name} is not a list")
    return value


def _integer(name: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"its {name} is {value!r}, not a whole number from {low} to {high}")
    return value


def _number(name: str, value: object, low: float, high: float) -> float:
    # The comparison is false for NaN, so NaN is refused too.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"its {name} is {value!r}, not a number from {low:g} to {high:g}")
    return float(value)
