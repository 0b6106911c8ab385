"""One seed for every global generator."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the global generators, so that a stage does not depend on what ran before it in this process."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  stable-baselines3 draws from the global generator
    torch.manual_seed(seed)
