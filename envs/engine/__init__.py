"""The pruning engine: from a network and keep ratios to a smaller network, its cost and its score."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envs.engine.analytic import AnalyticEngine
    from envs.engine.errors import GraphError
    from envs.engine.settings import EngineSettings
    from envs.engine.torch_engine import TorchEngine
    from envs.engine.types import Cost, Evaluation, Layer, PruningEngine, Strategy

__all__ = [
    "AnalyticEngine",
    "Cost",
    "EngineSettings",
    "Evaluation",
    "GraphError",
    "Layer",
    "PruningEngine",
    "Strategy",
    "TorchEngine",
]

# Imported when first asked for: types, errors, choices and the analytic engine are of use without torch.
_HOMES = {
    "AnalyticEngine": "envs.engine.analytic",
    "Cost": "envs.engine.types",
    "EngineSettings": "envs.engine.settings",
    "Evaluation": "envs.engine.types",
    "GraphError": "envs.engine.errors",
    "Layer": "envs.engine.types",
    "PruningEngine": "envs.engine.types",
    "Strategy": "envs.engine.types",
    "TorchEngine": "envs.engine.torch_engine",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  any name of the package
    if name not in _HOMES:
        raise AttributeError(f"module 'envs.engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
