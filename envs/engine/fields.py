"""Fields of settings that say themselves which values they allow: checks, messages and documentation in one."""

import math
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Protocol, get_args, get_type_hints

from envs.engine.plugins import is_own, nearest

NUMBERS_AND_NAMES: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a name"),
}
"""Types of fields that are checked: what they take, and that in words."""
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
    """One of some names; with ``own``, a kind of ``envs.engine.plugins.KINDS``, also one's own of that kind."""

    names: tuple[str, ...]
    own: str = ""

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Tell whether ``value`` is one of the names."""
        return value in self.names or bool(self.own and is_own(self.own, value))

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}" + (", my_package.my_own" if self.own else "")


@dataclass(frozen=True)
class CountOr:
    """A whole number from ``low`` on, or a name."""

    low: int
    name: str

    def holds(self, value: Any) -> bool:  # noqa: ANN401
        """Tell whether ``value`` is one or the other."""
        return value == self.name or (isinstance(value, int) and not isinstance(value, bool) and value >= self.low)

    def __str__(self) -> str:
        return f"a whole number, {self.low} or more, or {self.name}"


def setting(default: Any, allowed: Allowed) -> Any:  # noqa: ANN401  as dataclasses.field is typed
    """Return a dataclass field with a default and the values it allows, ``None`` too where that is the default."""
    return field(default=default, metadata={"allowed": allowed})


def needed(allowed: Allowed) -> Any:  # noqa: ANN401  as dataclasses.field is typed
    """Return a dataclass field without a default, and the values it allows."""
    return field(metadata={"allowed": allowed})


def check_settings(settings: Any) -> None:  # noqa: ANN401  any dataclass
    """Check every field of a dataclass that is a number, a name or true or false, and what it says it allows.

    Raises:
        ValueError: a value is not allowed; one line says which field, which value, and what is.
    """
    hints = get_type_hints(type(settings))
    for each in fields(settings):
        value, optional = getattr(settings, each.name), each.default is None
        if (isinstance(value, str) and value == NOT_GIVEN) or (optional and value is None):
            continue
        allowed: Allowed | None = each.metadata.get("allowed")
        kind = _kind(hints[each.name])
        right_kind = kind is None or _is_of(value, kind)
        if right_kind and (allowed is None or allowed.holds(value)):
            continue
        words = [] if right_kind or kind is None else [NUMBERS_AND_NAMES[kind][1]]
        words += [] if allowed is None else [str(allowed)]
        words += ["or null"] if optional else []
        meant = nearest(value, allowed.names) if isinstance(allowed, OneOf) else ""
        raise ValueError(f"{each.name}={value}: must be {', '.join(words)}{meant}")


def _kind(hint: object) -> type | None:
    """Return the one type of a field, which may allow null beside it; ``None`` where it is not checked."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    found = [kind for kind in kinds if kind is not NoneType]
    return found[0] if len(found) == 1 and found[0] in NUMBERS_AND_NAMES else None


def _is_of(value: object, kind: type) -> bool:
    return isinstance(value, NUMBERS_AND_NAMES[kind][0]) and (kind is bool or not isinstance(value, bool))
