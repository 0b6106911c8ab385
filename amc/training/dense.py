"""Trained dense networks, kept so that each is trained once."""

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from amc.config.recipe import Recipe
from amc.config.schema import TrainConfig
from amc.environment import public
from amc.errors import ModelError, RefusedInput, StorageError
from amc.progress import TrainingProgress
from amc.seeding import seed_everything
from amc.store.cache import cache_folder, filling
from amc.store.durable_files import write_file
from amc.training.sgd import fit
from amc.weights.checkpoint import load_checkpoint
from amc.weights.tensor_file import read_metadata, read_tensors, tensor_bytes
from amc.zoo.data.dataset import Splits
from amc.zoo.data.device_data import DeviceData
from amc.zoo.models.building import new_network

log = logging.getLogger(__name__)
# Part of every key: it counts up when the code of training comes to other weights.
FORMAT = 4


def trained_network(cfg: TrainConfig, data: DeviceData) -> nn.Module:
    """Return the dense network in eval mode on the device: from a checkpoint, from the cache, or trained and put there.

    A damaged file in the cache is replaced.

    Raises:
        ModelError: training diverged.
        RefusedInput: the checkpoint is damaged, or made for another network.
    """
    splits, device = data.splits, data.device
    seed_everything(cfg.dense_seed)
    model = new_network(cfg.model, splits)
    if cfg.model.checkpoint is None:
        _train(model, cfg, splits, device)
    else:
        load_checkpoint(model, cfg.model.checkpoint)
        log.info("%s: trained before, from %s", cfg.model.name, cfg.model.checkpoint)
        if cfg.data.mean is None and not splits.train.images.is_floating_point():
            log.info("images are normalised by their own mean and deviation; data.mean and data.std give others")
    return data.place(model)


def _train(model: nn.Module, cfg: TrainConfig, splits: Splits, device: torch.device) -> None:
    """Train a new network, or fill it from the cache."""
    recipe = cfg.train
    key = cache_key(model, splits, recipe, cfg.dense_seed, device)
    path = cache_folder(cfg.cache_dir) / "dense" / f"{cfg.model.name}-{cfg.data.name}-{key[:16]}.safetensors"
    what = f"{cfg.model.name} on {cfg.data.name}"
    # Jobs side by side ask for the same network at once: the first trains it.
    if _loaded(path, model, key, what):
        return
    with filling(path, f"train {what}") as kept:
        if not _loaded(path, model, key, what):
            log.info("%s: not trained yet, training for %g epochs", what, recipe.epochs)
            with TrainingProgress(f"train {what}") as progress:
                fit(model, splits, recipe, cfg.dense_seed, str(device), progress)
            if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
                raise ModelError(f"{what}: training diverged, its weights are no numbers; lower train.lr={recipe.lr}")
            about = {"model": public(asdict(cfg.model)), "data": public(asdict(cfg.data)), "recipe": asdict(recipe)}
            if kept:
                keep_weights(path, model, key, about)


def _loaded(path: Path, model: nn.Module, key: str, what: str) -> bool:
    """Fill a network from the cache, and tell whether that could be done; a damaged file is trained anew."""
    if not path.exists():
        return False
    try:
        load_weights(path, model, key)
    except RefusedInput as error:
        log.warning("%s", error)
        return False
    log.info("%s: trained before, from %s", what, path)
    return True


def cache_key(model: nn.Module, splits: Splits, recipe: Recipe, seed: int, device: torch.device) -> str:
    """Return a digest of everything that the trained weights depend on.

    The untrained weights and the modules' settings stand for the model, the pixels for the data. Versions of torch
    and numbers of threads are left out: they change the last bits only.

    Args:
        model: the network before training.
        splits: the data.
        recipe: how it is trained.
        seed: of training.
        device: where it is trained.
    """
    settings = {"format": FORMAT, "recipe": asdict(recipe), "seed": seed, "device": device.type, "modules": str(model)}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    tensors = [*model.state_dict().items(), *splits.train._asdict().items(), *splits.normalize._asdict().items()]
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def keep_weights(path: Path, model: nn.Module, key: str, about: dict[str, Any]) -> None:
    """Keep weights in the cache. One that is full, or fails, costs no network that is already trained."""
    try:
        save_weights(path, model, key, about)
    except StorageError as error:
        log.warning("%s; the network is used, and not kept", error)


def save_weights(path: Path, model: nn.Module, key: str, about: dict[str, Any]) -> None:
    """Write weights and buffers as safetensors; ``about`` tells a person what they are.

    Raises:
        StorageError: the file cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"key": key, "about": json.dumps(about | {"torch": torch.__version__})}
    write_file(path, tensor_bytes(tensors, metadata))


def load_weights(path: Path, model: nn.Module, key: str) -> None:
    """Fill ``model`` from a file, once it is known to be made for it.

    Raises:
        RefusedInput: the file is no regular file, damaged, made under another key, or does not fit the model.
    """
    try:
        if read_metadata(path).get("key") != key:
            raise ValueError("it was made for another network or other data")
        tensors = read_tensors(path, model.state_dict())
    except (OSError, ValueError) as error:
        raise RefusedInput(f"{path}: not a network trained before ({error}); it is trained anew") from error
    model.load_state_dict(tensors)
