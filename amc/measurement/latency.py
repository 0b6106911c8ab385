"""Measured seconds of a forward pass, of several networks in one run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor, nn

from amc.measurement.turns import take_turns
from envs.engine.threads import torch_threads

MIN_ROUNDS = 11


@dataclass(frozen=True)
class Latency:
    """How long one forward pass of a network takes.

    Attributes:
        network: its name.
        batch: images a pass.
        threads: torch's threads on the CPU.
        device: where it ran.
        rounds: number of passes measured.
        median_ms: the middle of the measured times.
        low_ms: a quarter of the passes were faster.
        high_ms: a quarter of the passes were slower.
        runtime: that it ran in.
        speedup: how many times faster than the dense network, the middle of the rounds; 0 where nothing was compared.
        speedup_low: lower end of its 95% interval.
        speedup_high: upper end.
        file_bytes: size of the file that the runtime loads; 0 where there is none.
        steady: whether the times lie close enough together, from beginning to end, to mean something.
    """

    network: str
    batch: int
    threads: int
    device: str
    rounds: int
    median_ms: float
    low_ms: float
    high_ms: float
    runtime: str = "torch-eager"
    speedup: float = 0.0
    speedup_low: float = 0.0
    speedup_high: float = 0.0
    file_bytes: int = 0
    steady: bool = True

    @property
    def images_per_second(self) -> float:
        """Images that one such copy of the network takes in a second."""
        return 1000 * self.batch / self.median_ms


@torch.inference_mode()
def measure_latency(
    models: Mapping[str, nn.Module], images: Tensor, *, threads: int = 1, rounds: int = 101, seconds: float = 5.0
) -> list[Latency]:
    """Time one forward pass of every model on ``images``, taking turns.

    Taking turns spreads what else the machine is doing over all models alike. Each runs once more right before it is
    timed, so that it finds in the caches what it left there itself.

    Args:
        models: networks in eval mode by name, on the device of ``images``.
        images: one batch.
        threads: of torch on the CPU. With one, other work on the machine disturbs least, and small networks
            are not slowed by waiting for each other's threads.
        rounds: passes of each model.
        seconds: stop early after this long, but not before 11 rounds.

    Raises:
        ValueError: no model, or one in training mode.
    """
    training = [name for name, model in models.items() if model.training]
    if not models or training:
        raise ValueError(f"latency is measured on networks in eval mode; in training mode: {training}")
    passes = [Pass(model, images) for model in models.values()]
    with torch_threads(threads):
        times = take_turns(passes, max(rounds, MIN_ROUNDS), seconds, fewest=MIN_ROUNDS)
        return [_summary(name, images, each) for name, each in zip(models, times, strict=True)]


class Pass:
    """A pass of a network, until the accelerator is done: it returns before that."""

    def __init__(self, run: Callable[[Tensor], object], images: Tensor) -> None:
        self._run, self._images = run, images

    def __call__(self) -> None:
        """Make the pass."""
        self._run(self._images)
        if self._images.device.type != "cpu":
            torch.accelerator.synchronize(self._images.device)


def _summary(network: str, images: Tensor, passes: list[float]) -> Latency:
    low, median, high = (1000 * value for value in quantiles(passes, n=4, method="inclusive"))
    return Latency(
        network=network,
        batch=len(images),
        threads=torch.get_num_threads(),
        device=str(images.device),
        rounds=len(passes),
        median_ms=median,
        low_ms=low,
        high_ms=high,
    )
