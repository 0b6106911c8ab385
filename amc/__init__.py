"""AMC: searches per-layer keep ratios of a network, and makes the smaller network.

``amc.prune`` prunes any ``nn.Module``, ``amc.load`` brings a saved pruned network back, ``amc.save_pretrained`` writes
one for Hugging Face's ``from_pretrained``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amc.api.pruning import prune
    from amc.api.result import PruneResult
    from amc.weights.loading import load
    from amc.weights.pretrained import save_pretrained

__all__ = ["PruneResult", "__version__", "load", "prune", "save_pretrained"]
__version__ = "0.1.0"

# Imported when first asked for, so that a command line with a typo does not wait for torch.
_HOMES = {
    "PruneResult": "amc.api.result",
    "load": "amc.weights.loading",
    "prune": "amc.api.pruning",
    "save_pretrained": "amc.weights.pretrained",
}


def _offer_problems_by_name() -> None:
    """Let ``gymnasium.make("amc/Pruning-v0", model=..., data=...)`` work; another package called envs is left alone."""
    if import_module("amc.cli.shadowing").describe_shadowing() is None:
        import_module("envs.registration").offer_by_name("amc.run.named_problem:named_problem")


def __getattr__(name: str) -> Any:  # noqa: ANN401  any name of the package
    if name not in _HOMES:
        raise AttributeError(f"module 'amc' has no attribute {name!r}")
    import_module("amc.cli.shadowing").check_shadowing()
    return getattr(import_module(_HOMES[name]), name)


_offer_problems_by_name()
