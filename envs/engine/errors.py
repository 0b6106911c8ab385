"""What can stop the engine."""

from collections.abc import Mapping

NAMED = 6
"""Modules that an error names with their reasons; networks have hundreds."""


class GraphError(ValueError):
    """The network cannot be traced or has nothing to prune; the message names the module and the reason."""


class NotKnown(AttributeError, ValueError):
    """An engine with these settings does not offer what was asked of it.

    An attribute that is not there, so that ``isinstance`` with ``envs.engine.types.KnowsUnitScores`` and its like tells
    the truth; a wrong value, since other settings offer it.
    """


def nothing_to_prune(unprunable: Mapping[str, str]) -> GraphError:
    """Return the error for a network in which every module is unprunable, for the reasons given by module."""
    reasons = [f"{name} {reason}" for name, reason in unprunable.items()] or ["it has no layers with weights"]
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return GraphError(f"the model has nothing to prune: {'; '.join(reasons[:NAMED])}{more}")


def first_line(error: BaseException) -> str:
    """Return what an exception says in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
