"""How an engine chooses what goes, and repairs what stays."""

from dataclasses import dataclass

from envs.engine.choices import CURVATURES, check_combination
from envs.engine.scoring.precision import PRECISIONS


@dataclass(frozen=True)
class EngineSettings:
    """How units are chosen and pruned networks repaired.

    Attributes:
        granularity: what is removed, a key of ``envs.engine.choices.UNITS``.
        criterion: name in ``CRITERIA`` or ``CHANNEL_CRITERIA``.
        round_to: kept channels are a multiple of this; ``None`` takes 8, less for layers too narrow to have
            eight choices then. Channels only.
        ignore: modules that keep everything.
        reconstruct: fit the remaining weights by least squares. Channels only.
        adaptive_bn: calibration images on which batch norms are measured anew; 0 leaves them alone.
        seed: chooses the pixels that least squares sees, and whatever else is drawn.
        precision: what candidates run in, one of ``PRECISIONS``; ``auto`` takes bf16 where it is faster and agrees.
        vector_size: inputs of one vector in layers whose kernels have one element.
        m: consecutive weights of which some stay, for granularity ``n_m``.
        curvature: how ``obd`` estimates the Hessian's diagonal, one of ``CURVATURES``.

    Raises:
        ValueError: a value is out of range, or the criterion has no meaning for the granularity.
    """

    granularity: str = "channel"
    criterion: str = "l1"
    round_to: int | None = None
    ignore: tuple[str, ...] = ()
    reconstruct: bool = True
    adaptive_bn: int = 500
    seed: int = 0
    precision: str = "auto"
    vector_size: int = 4
    m: int = 4
    curvature: str = "fisher"

    def __post_init__(self) -> None:
        check_combination(self.granularity, self.criterion)
        if self.round_to is not None and self.round_to < 1:
            raise ValueError(f"round_to={self.round_to}: the channel multiple must be 1 or more")
        if self.round_to is not None and self.granularity != "channel":
            raise ValueError(f"round_to={self.round_to}: goes with granularity=channel, not with {self.granularity}")
        if self.adaptive_bn < 0:
            raise ValueError(f"adaptive_bn={self.adaptive_bn}: the number of images must be 0 or more")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}: must be one of {', '.join(PRECISIONS)}")
        if self.vector_size < 1:
            raise ValueError(f"vector_size={self.vector_size}: the inputs of a vector must be 1 or more")
        if self.m < 2:
            raise ValueError(f"m={self.m}: of fewer than 2 weights none can be chosen")
        if self.curvature not in CURVATURES:
            raise ValueError(f"curvature={self.curvature!r}: must be one of {', '.join(CURVATURES)}")
