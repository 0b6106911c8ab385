"""The device and the threads that a run computes with."""

import torch

from amc.config.schema import TrainConfig
from amc.errors import ConfigError
from amc.seeding import seed_everything
from envs.engine.network.usable_device import usable_device


def prepare_torch(cfg: TrainConfig) -> torch.device:
    """Set the number of threads, seed every generator, and return the device.

    Raises:
        ConfigError: there is no such device.
    """
    if cfg.threads is not None:
        torch.set_num_threads(cfg.threads)
    seed_everything(cfg.seed)
    # Of cuDNN's ways to compute gradients some add up in the order that threads come by: a seed would fix nothing.
    torch.backends.cudnn.deterministic = True
    name = cfg.device if cfg.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return usable_device(name)
    except ValueError as error:
        raise ConfigError(f"device={cfg.device} cannot be used here; take cpu or auto") from error
