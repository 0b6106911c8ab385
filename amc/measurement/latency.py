"""Measured seconds of a forward pass, of several networks in one run."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import quantiles

import torch
from torch import Tensor, nn

from envs.engine.threads import torch_threads

WARMUP_ROUNDS = 5
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
    with torch_threads(threads):
        for model in models.values():
            for _ in range(WARMUP_ROUNDS):
                model(images)
        times = _take_turns(models, images, rounds, seconds)
        return [_summary(name, images, passes) for name, passes in times.items()]


def _take_turns(models: Mapping[str, nn.Module], images: Tensor, rounds: int, seconds: float) -> dict[str, list[float]]:
    names = list(models)
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + seconds
    for done in range(max(rounds, MIN_ROUNDS)):
        if done >= MIN_ROUNDS and time.perf_counter() > end:
            break
        first = done % len(names)
        for name in names[first:] + names[:first]:
            models[name](images)
            times[name].append(_one_pass(models[name], images))
    return times


def _one_pass(model: nn.Module, images: Tensor) -> float:
    _synchronize(images.device)
    start = time.perf_counter()
    model(images)
    _synchronize(images.device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    # An accelerator returns before it is done.
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


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
