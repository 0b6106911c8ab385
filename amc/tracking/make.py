"""From a tracker's settings to the tracker: before a run, to see that they are right, and in its own process."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from amc.errors import ConfigError
from amc.tracking.tracker import Tracker


def make_tracker(settings: Mapping[str, Any]) -> Tracker:
    """Build a tracker by its ``_target_``. Nothing is opened before it starts.

    Raises:
        ConfigError: a setting is wrong, or a package is missing.
        InstantiationException: there is no such tracker, or no such setting.
    """
    try:
        tracker: Tracker = instantiate(settings)
    except InstantiationException as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from error
        raise
    return tracker


def require(package: str, tracker: str, extra: str) -> None:
    """Check that a package is installed, without importing it.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"tracker={tracker} needs {package}: pip install '{extra}'")
