"""How an engine chooses what goes, and repairs what stays."""

from dataclasses import dataclass

from envs.engine.criteria import CRITERIA
from envs.engine.precision import PRECISIONS


@dataclass(frozen=True)
class EngineSettings:
    """How channels are chosen and pruned networks repaired.

    Attributes:
        criterion: name in ``CRITERIA``.
        round_to: kept channels are a multiple of this; ``None`` takes 8, less for layers too narrow to have
            eight choices then.
        ignore: modules that keep all their channels.
        reconstruct: fit the remaining weights by least squares.
        adaptive_bn: calibration images on which batch norms are measured anew; 0 leaves them alone.
        seed: chooses the pixels that least squares sees.
        precision: what candidates run in, one of ``PRECISIONS``; ``auto`` takes bf16 where it is faster and agrees.

    Raises:
        ValueError: a value is out of range.
    """

    criterion: str = "l1"
    round_to: int | None = None
    ignore: tuple[str, ...] = ()
    reconstruct: bool = True
    adaptive_bn: int = 500
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise ValueError(f"criterion={self.criterion!r}: choose one of {', '.join(CRITERIA)}")
        if self.round_to is not None and self.round_to < 1:
            raise ValueError(f"round_to={self.round_to}: the channel multiple must be 1 or more")
        if self.adaptive_bn < 0:
            raise ValueError(f"adaptive_bn={self.adaptive_bn}: the number of images must be 0 or more")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}")
