"""How an engine chooses what goes, and repairs what stays. No torch."""

from dataclasses import dataclass

from envs.engine.choices import (
    ANY_GRANULARITY,
    CHANNELS_ONLY,
    CURVATURES,
    CUTS_CHANNELS,
    PRECISIONS,
    REPAIRS,
    SCORINGS,
    SMALLER,
    UNITS,
    check_combination,
)
from envs.engine.fields import CountOr, Interval, OneOf, check_settings, setting

BATCH_NORM_IMAGES = 500
"""Enough for batch norms: 2,000 measure them no better."""
FREELY = "auto"
"""Rounding by a table of latencies."""
SEEDS = Interval(0, 2**32, high_open=True)
AHEAD = Interval(1, 4096)
"""Proposals that a policy makes before it knows the first one's reward."""


@dataclass(frozen=True)
class ScoringSettings:
    """How many images of the search split a trial is scored on.

    Attributes:
        name: all of them; as many as show that it is behind the best, see ``envs.engine.scoring.racing``; or the same
            few for all trials, see ``envs.engine.scoring.coreset``: the best trials are then scored on all images.
        error: standard error that the coreset's estimate of what a reward goes by (accuracy, loss, divergence) may
            have; null for a fraction of what pruned networks differ by. The fewest images that promise it are taken.

    Raises:
        ValueError: a value is out of range, or the two do not go together.
    """

    name: str = setting("full", OneOf(SCORINGS))
    error: float | None = setting(None, Interval(0, low_open=True))

    def __post_init__(self) -> None:
        check_settings(self)
        if self.error is not None and self.name != "coreset":
            raise ValueError(f"error={self.error}: must be null: it goes with scoring=coreset, not with {self.name}")


@dataclass(frozen=True)
class EngineSettings:
    """How units are chosen and pruned networks repaired.

    Attributes:
        granularity: what is removed, from coarse to fine: residual blocks, channels and blocks (``channel_block``),
            channels, kernels, vectors, elements; ``n_m``: all but n of ``m`` consecutive weights; or one's own, see
            ``envs.engine.surgery.granularity``.
        criterion: what ranks the units of a layer, see ``envs.engine.choices`` for which go with which granularity; or
            one's own function of rows of weights, as ``my_package.largest``.
        round_to: kept channels are a multiple of this; null takes 16, as many as runtimes compute at once, less for
            layers too narrow to have four choices then; auto takes 8 likewise, for eight choices, and leaves out what a
            larger number of channels does in the same time, as measured on the ``device_profile``. Channels only.
        ignore: names of modules that keep everything.
        reconstruct: fit the remaining weights by least squares, and a number for each block that goes.
        repair: what these least squares see: ``independent``: the dense network's inputs, solved once and looked up;
            ``compensating``: those of the pruned network, layer after layer, so that each makes up for the errors
            before it, which takes longer and leaves less to fine-tuning; ``finalists``: the former for candidates, the
            latter for networks that are fine-tuned or handed over. Null for ``finalists`` in runs, which fine-tune, and
            for ``independent`` in ``amc.prune``, which hands over what it scored.
        adaptive_bn: calibration images on which batch norms are measured anew; 0 leaves them alone. Null takes 500, and
            0 behind compensating repair, which sets their means and would lose by it.
        seed: fixes the search: the pixels that least squares sees, and whatever else is drawn.
        precision: what candidates run in; ``auto`` takes bfloat16 where the device multiplies it in hardware and the
            dense network's outputs stay within a tolerance of float32's.
        vector_size: inputs of one vector in layers whose kernels have one element, for ``granularity=vector``.
        m: consecutive weights of which some stay, for ``granularity=n_m``.
        layer_kinds: one's own kinds of layers, see ``envs.engine.network.kinds``, as ``[my_package.KIND]``.
        curvature: how ``criterion=obd`` estimates the Hessian's diagonal.

    Raises:
        ValueError: a value is out of range, or the criterion has no meaning for the granularity.
    """

    granularity: str = setting("channel", OneOf(tuple(UNITS), own="granularities"))
    criterion: str = setting("l1", OneOf((*ANY_GRANULARITY, *CHANNELS_ONLY), own="criteria"))
    round_to: int | str | None = setting(None, CountOr(1, FREELY))
    ignore: tuple[str, ...] = ()
    layer_kinds: tuple[str, ...] = ()
    reconstruct: bool = True
    repair: str | None = setting(None, OneOf(REPAIRS))
    adaptive_bn: int | None = setting(None, Interval(0))
    seed: int = setting(0, SEEDS)
    precision: str = setting("auto", OneOf(PRECISIONS))
    vector_size: int = setting(4, Interval(1))
    m: int = setting(4, Interval(2))
    curvature: str = setting("fisher", OneOf(CURVATURES))

    def __post_init__(self) -> None:
        check_combination(self.granularity, self.criterion)
        check_settings(self)
        if self.round_to is not None and self.granularity not in CUTS_CHANNELS:
            raise ValueError(
                f"round_to={self.round_to}: must be null: it goes with granularity=channel, not with {self.granularity}"
            )
        if self.repair is not None and self.granularity not in SMALLER:
            raise ValueError(
                f"repair={self.repair}: must be null: it goes with granularity=channel, not with {self.granularity}"
            )
        if self.repair is not None and not self.reconstruct:
            raise ValueError(f"repair={self.repair}: must be null with reconstruct=false, which repairs nothing")

    @property
    def rounds_freely(self) -> bool:
        """Whether a table of latencies says which numbers of channels are worth choosing."""
        return self.round_to == FREELY

    @property
    def compensates(self) -> bool:
        """Whether a candidate's layers are fitted to make up for each other's errors."""
        return self._repairs and self.repair == "compensating"

    @property
    def compensates_finally(self) -> bool:
        """Whether those of a network that is fine-tuned or handed over are."""
        return self._repairs and self.repair != "independent"

    @property
    def _repairs(self) -> bool:
        return self.granularity in SMALLER and self.reconstruct

    def batch_norm_images(self, compensated: bool) -> int:
        """Return on how many calibration images batch norms are measured anew, behind either repair."""
        if self.adaptive_bn is not None:
            return self.adaptive_bn
        return 0 if compensated else BATCH_NORM_IMAGES
