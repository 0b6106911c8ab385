"""The trained network, the data and the engine that benchmarks run on: those of a run with the same keys."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from amc.config.composing import configured, register_schemas
from amc.config.conf_folder import CONF
from amc.config.schema import SearchConfig
from amc.config.validation import validate
from amc.run.plan import load_data
from amc.training.augmentation import calibration_as_trained
from amc.training.dense import trained_network
from amc.zoo.data.dataset import Splits
from amc.zoo.data.device_data import DeviceData
from envs.engine.scoring.top1 import Top1Scorer

Result = TypeVar("Result")


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        cfg: the configuration.
        model: the trained dense network in eval mode.
        splits: the data.
        calibration: inputs that repair candidates, shape ``(n, ...)``.
        as_trained: the same as training shows them, for batch norms.
        search: inputs that candidates are scored on.
        labels: their classes.
    """

    cfg: SearchConfig
    model: nn.Module
    splits: Splits
    calibration: Tensor
    as_trained: Tensor
    search: Tensor
    labels: Tensor

    def unseen(self) -> Top1Scorer:
        """Return what scores on the test split, which no search and no choice looks at."""
        return DeviceData(self.splits, self.search.device).scorer(self.splits.test)


def make_config(*keys: str) -> SearchConfig:
    """Return the configuration of ``python -m amc.search`` with the same keys."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = configured(compose("search", list(keys)), SearchConfig)
    validate(cfg)
    return cfg


def make_setting(*keys: str) -> Setting:
    """Load the data of a configuration, and train its network if it is not in the cache."""
    cfg = make_config(*keys)
    data = load_data(cfg)
    splits = data.splits
    model = trained_network(cfg, data)
    calibration, search = data.inputs(splits.calibration.images), data.inputs(splits.search.images)
    as_trained = calibration_as_trained(data, len(calibration), cfg.train, cfg.seed)
    return Setting(cfg, model, splits, calibration, as_trained, search, splits.search.labels.to(data.device))


@dataclass
class Clock:
    """Seconds of something that was run several times: wall time and the time of all cores."""

    wall: list[float]
    cpu: list[float]

    def median(self) -> float:
        """Return the median of the cores' time, which other work on the machine disturbs less than wall time."""
        return statistics.median(self.cpu)


def clocked(clock: Clock, work: Callable[[], Result]) -> Result:
    """Run ``work`` and note how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    clock.cpu.append(time.process_time() - cpu)
    clock.wall.append(time.perf_counter() - wall)
    return result


def machine() -> dict[str, Any]:
    """Return what figures depend on."""
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "load": round(os.getloadavg()[0], 1),
    }


def print_json(figures: dict[str, Any]) -> None:
    """Print the last line of a benchmark."""
    print(json.dumps(figures | {"machine": machine()}))
