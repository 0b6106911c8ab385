"""The untrained network that a configuration names: of the zoo, of a library, or one's own."""

from torch import nn

from amc.config.schema import ModelConfig
from amc.errors import ConfigError, ModelError
from amc.zoo.data.dataset import Splits
from amc.zoo.models.network_check import fault
from amc.zoo.models.registry import MODELS
from amc.zoo.targets import call_target


def new_network(cfg: ModelConfig, splits: Splits) -> nn.Module:
    """Build an untrained network for the data, of the zoo or one's own, and see that it takes the data's images.

    Raises:
        ConfigError: there is no such network.
        ModelError: it does not give a number for each class.
    """
    network = _zoo_network(cfg, splits) if cfg._target_ is None else _own_network(cfg, cfg._target_, splits)
    problem = fault(network, splits.example(), splits.num_classes)
    if problem:
        raise ModelError(f"model={cfg.name} {problem}")
    return network


def _zoo_network(cfg: ModelConfig, splits: Splits) -> nn.Module:
    if cfg.name not in MODELS:
        raise ConfigError(f"model.name={cfg.name}: the zoo has {', '.join(MODELS)}; one's own is model._target_=...")
    return MODELS[cfg.name](splits.num_classes, splits.in_channels, width=cfg.width)


def _own_network(cfg: ModelConfig, target: str, splits: Splits) -> nn.Module:
    offered = {"num_classes": splits.num_classes, "in_channels": splits.in_channels, "width": cfg.width}
    needed = {"pretrained": True} if cfg.pretrained else {}
    network = call_target("model", target, cfg.args, offered, needed)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model._target_={target} returns a {type(network).__name__}, not a torch.nn.Module")
    return network
