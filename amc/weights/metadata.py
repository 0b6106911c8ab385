"""What a weights file says about itself: JSON in the header of a safetensors file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated

import torch
from pydantic import Field

from amc.store.typed_records import parse
from amc.zoo.data.dataset import Normalization
from envs.engine.surgery.full_width import Places
from envs.engine.surgery.passing_on import Passed

FORMAT = 1
KEY = "amc"
MAX_DIMENSIONS = 6
MAX_INPUT_ELEMENTS = 1 << 22
MAX_VALUES = 64
"""Of what a residual block returns."""
_Size = Annotated[int, Field(ge=1, le=MAX_INPUT_ELEMENTS)]
_Count = Annotated[int, Field(ge=1, le=1 << 20)]


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
    num_classes: _Count
    in_channels: Annotated[int, Field(ge=1, le=1 << 12)]
    width: Annotated[float, Field(ge=1e-3, le=16)] = 1.0


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
        places: of the channels of layers that look wider than they are, by module.
        plain: whether layers that computed their weight were made plain ones before it was pruned.
        passed: what stands where residual blocks were that went altogether, by module.
    """

    input_shape: tuple[_Size, ...]
    model: ModelSpec | None = None
    mean: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...] = ()
    std: tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...] = ()
    counts: Mapping[str, _Count] = field(default_factory=dict)
    places: Mapping[str, Places] = field(default_factory=dict)
    plain: bool = False
    passed: Mapping[str, Passed] = field(default_factory=dict)

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
        try:
            written = parse(_Formatted, metadata[KEY], extra="ignore").format
            header = parse(cls, metadata[KEY], extra="ignore") if written == FORMAT else None
        except ValueError as error:
            raise ValueError(f"its header is refused: {error}") from error
        if header is None:
            raise ValueError(f"its format is {written!r:.40}, this version of amc reads {FORMAT}")
        _check(header)
        return header


@dataclass(frozen=True)
class _Formatted:
    """What tells whether the rest can be read."""

    format: object = None


def _check(header: Header) -> None:
    """Refuse fields that are out of range together.

    Raises:
        ValueError: they are.
    """
    shape = header.input_shape
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_INPUT_ELEMENTS:
        raise ValueError(f"its input_shape {list(shape[:MAX_DIMENSIONS])} is out of range")
    if not all(math.isfinite(each.scale) and 0 <= each.values <= MAX_VALUES for each in header.passed.values()):
        raise ValueError("what stands where its blocks were is out of range")
    if len(header.mean) != len(header.std):
        raise ValueError(f"its mean has {len(header.mean)} channels, its std {len(header.std)}")
