"""From a tracker's settings to the tracker: before a run, to see that they are right, and in its own process."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from amc.errors import ConfigError
from amc.tracking.tracker import Tracker
from envs.engine.network.isolation import first_line


def make_tracker(settings: object) -> Tracker:
    """Build a tracker by its ``_target_``. Nothing is opened before it starts.

    Raises:
        ConfigError: there is no such tracker or setting, a setting is wrong, or a package is missing.
    """
    where = settings.get("_target_") if isinstance(settings, Mapping) else None
    try:
        tracker: Any = instantiate(settings)
    except InstantiationException as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from error
        raise ConfigError(f"tracker._target_={where}: {first_line(error.__cause__ or error)}") from error
    if where is None or not all(callable(getattr(tracker, name, None)) for name in ("start", "__call__", "finish")):
        raise ConfigError(f"tracker={settings}: is no tracker; take tracker=none, or another by its name")
    made: Tracker = tracker
    return made


def require(package: str, tracker: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"tracker={tracker} needs {package}: pip install '{extra}'")
