"""Makes ``amc/Pruning-v0`` and the landscapes ``amc/PruningBench-...-v0`` known to Gymnasium, without importing it.

Since Gymnasium 1.0 a package registers its environments when it is imported; the entry points of before are not read
any more. The engine lies in this package and is used alone, too, so what is imported here must not bring Gymnasium
along: where Gymnasium is not there yet, the environment is registered as soon as somebody imports it.

References:
    Release notes of Gymnasium 1.0.0a1, "Removing the plugin system".
    PEP 302 and 451, the finders and loaders that an import is made of.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

ENV_ID = "amc/Pruning-v0"
BENCH_IDS = "amc/PruningBench-{}-v0"
"""Recorded landscapes, by name."""
REGISTRY = "gymnasium.envs.registration"
MAKER = "envs.registration:make_env"
_by_name = ""


def register_with_gymnasium() -> None:
    """Register the environments, now or when Gymnasium is imported."""
    if REGISTRY in sys.modules:
        _register(sys.modules[REGISTRY])
    else:
        sys.meta_path.insert(0, _OnImportOfRegistry())


def offer_by_name(maker: str) -> None:
    """Let ``gymnasium.make`` take a network and data by name.

    Args:
        maker: ``module:function`` of what makes the environment then, of a package above this one.
    """
    global _by_name
    _by_name = maker


def make_env(*, model: str | None = None, data: str | None = None, **settings: Any) -> Any:  # noqa: ANN401
    """Return what ``gymnasium.make`` is asked for.

    Args:
        model: name of a network, ``None`` for an engine in closed form, or the one among ``settings``.
        data: name of a data set.
        settings: of ``PruningEnv``; by name, also keys of a run's configuration.

    Raises:
        ValueError: there is nobody who knows networks by name.
    """
    if model is None and data is None:
        from envs.engine.analytic import AnalyticEngine
        from envs.pruning_env import PruningEnv

        return PruningEnv(settings.pop("engine", None) or AnalyticEngine(), **settings)
    if not _by_name:
        raise ValueError(f"model={model!r}: import amc before; it knows networks and data by name")
    module, _, function = _by_name.partition(":")
    return getattr(import_module(module), function)(model=model, data=data, **settings)


def _register(registry: ModuleType) -> None:
    from envs.landscapes.files import landscape_names

    registry.register(id=ENV_ID, entry_point=MAKER)
    for name in landscape_names():
        made = "envs.landscapes.making:make_bench"
        registry.register(id=BENCH_IDS.format(name), entry_point=made, kwargs={"name": name})


class _OnImportOfRegistry(MetaPathFinder):
    """Finds Gymnasium's registry where it lies, and registers the environments once the registry is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == REGISTRY else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            sys.meta_path.remove(self)
            _register(module)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
