import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.utils import set_random_seed

from amc.seeding import seed_everything


def drawn() -> tuple[float, float, float, float]:
    numpy_old = float(np.random.rand())  # noqa: NPY002  what stable-baselines3 draws from
    return random.random(), numpy_old, float(np.random.normal()), float(torch.rand(1))  # noqa: NPY002, S311


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_generators_are_seeded_as_stable_baselines3_does(seed: int) -> None:
    def after(seeding: Callable[[int], None]) -> tuple[float, ...]:
        seeding(seed)
        return drawn()

    assert after(seed_everything) == after(set_random_seed)
    assert drawn() != after(seed_everything)


def test_training_does_not_wait_for_the_agents_library() -> None:
    code = "import sys, amc.train, amc.training.dense, amc.seeding; print('stable_baselines3' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
