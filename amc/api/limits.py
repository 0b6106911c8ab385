"""What a Python call limits, and what an engine has to know for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from amc.config.schema import LatencyConfig
from amc.runtimes.measured_shares import MeasuredShares
from amc.runtimes.profile import LatencySource, Profile, checked_path
from amc.runtimes.runtime import chosen_runtime
from amc.store.cache import cache_folder
from envs.engine.network.calls import Inputs
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Strategy

Clock = Callable[[Sequence[Strategy]], Sequence[float]]
"""What fractions of the dense network's time strategies take, timed in turn."""
DEFAULT_TARGET = 0.5
"""Of the one resource of a call that names no target."""


def limits_of(resource: str | Sequence[str], target: float | Sequence[float]) -> dict[str, float]:
    """Return the target of every resource, in the order they were named.

    Raises:
        ValueError: there is not one target for each.
    """
    names = [resource] if isinstance(resource, str) else list(resource)
    targets: list[Any] = list(target) if isinstance(target, list | tuple) else [target]  # checked with the budget
    if not names or len(names) != len(targets) or len(set(names)) != len(names):
        raise ValueError(f"resource={resource!r}, target={target!r}: must be a target for each of some resources")
    return dict(zip(names, targets, strict=True))


def check_max_drop(max_drop: float | None, target: float, limits: Mapping[str, float]) -> None:
    """See that what may be lost is a fraction, and the only limit.

    Raises:
        ValueError: it is not.
    """
    if max_drop is None:
        return
    if not 0 <= max_drop <= 1:
        raise ValueError(f"max_drop={max_drop!r}: must be a fraction of the metric, from 0 to 1")
    if target != DEFAULT_TARGET or limits:
        raise ValueError(f"max_drop={max_drop}: goes without a target, and with one resource, which it makes small")


def know_costs(
    engine: TorchEngine, example: Inputs, limits: Mapping[str, float], device_profile: str, latency: LatencyConfig
) -> Clock | None:
    """Let an engine know what its network takes, as far as that is limited, and round by it if it is to.

    Args:
        engine: of the dense network.
        example: a batch that the network can be called with.
        limits: target of every resource.
        device_profile: the runtime whose time counts.
        latency: how it is measured.

    Returns:
        What measures strategies where latency is limited, unless a table was given, by which it then goes.

    Raises:
        ConfigError: the runtime is not installed, or there is no such table.
        ModelError: the network cannot be measured, or the machine is too noisy.
        ValueError: time and peak memory are asked of a network that takes more than one tensor.
    """
    timed = "latency" in limits or engine.settings.rounds_freely
    if not timed and "memory_peak" not in limits:
        return None
    if not isinstance(example, Tensor):
        raise ValueError("latency and memory_peak are known of networks that take one tensor")
    if timed:
        runtime = chosen_runtime(device_profile, device=example.device.type)
        table, cache = checked_path(latency.table), cache_folder(None) / "latency"
        profile = Profile(runtime, latency.batch, latency.threads, table, cache)
        LatencySource(profile).attach(engine, example[:1])
    if "memory_peak" in limits:
        engine.track_peak(example[:1])
    if "latency" not in limits or latency.table is not None:
        return None
    shares = MeasuredShares(profile, engine, example[:1], latency.rounds)
    return lambda strategies: shares.of(engine, list(map(engine.kept, strategies)))
