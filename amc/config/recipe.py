"""How networks are trained and fine-tuned. No torch."""

from dataclasses import dataclass

from envs.engine.fields import Interval, check_settings, needed, setting


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the train split, or a part of one; 0 leaves the network as it is.
        lr: the highest learning rate; it rises over the first steps and falls to zero on a cosine.
        batch_size: images a step.
        weight_decay: L2 penalty on weights of two or more dimensions.
        shift: images move by up to this many pixels each way.
        flip: mirror half of the images left to right.
        bf16: compute in bfloat16 (autocast), depthwise convolutions on a CPU in float32; weights stay in float32.
        warm_up: the part of all steps over which the learning rate rises.
        momentum: of Nesterov's kind; 0 for none.

    Raises:
        ValueError: a value is out of range.
    """

    epochs: float = needed(Interval(0, 10**6))
    lr: float = setting(0.1, Interval(0, 100, low_open=True, high_open=True))
    batch_size: int = setting(128, Interval(2))
    weight_decay: float = setting(5e-4, Interval(0, 1, high_open=True))
    shift: int = setting(2, Interval(0, 64))
    flip: bool = True
    bf16: bool = False
    warm_up: float = setting(0.1, Interval(0, 1, high_open=True))
    momentum: float = setting(0.9, Interval(0, 1, high_open=True))

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Finetuning:
    """How pruned networks are fine-tuned.

    Attributes:
        epochs: passes over the train split, or a part of one, in every stage; 0 for none.
        top_k: whole trainings that choosing the winner may take as long as. With two or more, up to 32 of the best
            trials are fine-tuned for a while, the better half for longer and one to the end, see
            ``amc.training.successive_halving``. With 1 it is the best trial, or that of least error by depth where that
            is not clearly behind once both are repaired for fine-tuning.
        lr_factor: learning rate as a fraction of training's.
        batch_size: images a step; null for as many as in training. With half of them there are twice the steps, which
            may be better or worse: ``benchmarks/finetuning.md``.
        distill: how much is learnt from the dense network's outputs, from 0 for nothing to 1 for everything; the rest
            from labels.
        temperature: what both networks' outputs are divided by to compare them.

    Raises:
        ValueError: a value is out of range.
    """

    epochs: float = needed(Interval(0, 10**6))
    top_k: int = setting(3, Interval(1))
    lr_factor: float = setting(0.3, Interval(0, 1, low_open=True))
    batch_size: int | None = setting(None, Interval(2))
    distill: float = setting(0.5, Interval(0, 1))
    temperature: float = setting(2.0, Interval(0, 100, low_open=True))

    def __post_init__(self) -> None:
        check_settings(self)
