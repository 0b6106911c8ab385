"""Fields of settings that say themselves which values they allow: checks, messages and documentation in one."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

NOT_GIVEN = "???"
"""OmegaConf's mark of a value that is still to come."""


class Allowed(Protocol):
    """Which values a field may have; as a string, that in words."""

    def holds(self, value: Any) -> bool:  # noqa: ANN401  whatever a caller wrote
        """Tell whether ``value`` is one of them."""


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``, without those ends that are open. NaN is in none."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Tell whether ``value`` is a number in between."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = self.low < value if self.low_open else self.low <= value
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = f"above {self.low:.10g}" if self.low_open else f"{self.low:.10g} or more"
        high = f"below {self.high:.10g}" if self.high_open else f"at most {self.high:.10g}"
        if self.high == math.inf:
            return low
        return high if self.low == -math.inf else f"{low}, {high}".replace(" or more, at most ", " to ")


@dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Tell whether ``value`` is one of the names."""
        return value in self.names

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"


def setting(default: Any, allowed: Allowed) -> Any:  # noqa: ANN401  as dataclasses.field is typed
    """Return a dataclass field with a default and the values it allows, ``None`` too where that is the default."""
    return field(default=default, metadata={"allowed": allowed})


def needed(allowed: Allowed) -> Any:  # noqa: ANN401  as dataclasses.field is typed
    """Return a dataclass field without a default, and the values it allows."""
    return field(metadata={"allowed": allowed})


def check_settings(settings: Any) -> None:  # noqa: ANN401  any dataclass
    """Check every field of a dataclass that says what it allows.

    Raises:
        ValueError: a value is not allowed; one line says which field, which value, and what is.
    """
    for each in fields(settings):
        allowed, value = each.metadata.get("allowed"), getattr(settings, each.name)
        optional = each.default is None
        if allowed is None or value == NOT_GIVEN or (optional and value is None) or allowed.holds(value):
            continue
        raise ValueError(f"{each.name}={value}: must be {allowed}{', or null' if optional else ''}")
