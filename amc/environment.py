"""Values from the environment, where tokens and passwords come from: used as they are, written down as they were asked.

``model.args.password=${oc.env:DB_PASSWORD}`` reaches the model's function with the password in it. In files, reports
and trackers stands ``${oc.env:DB_PASSWORD}``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

ENVIRONMENT = "oc.env"
SHORTEST_SECRET = 4
"""Characters; what is shorter stands in messages for other reasons."""
_NAME = re.compile(r"\$\{oc\.env:\s*'?\"?(\w+)")
_USED: set[str] = set()


class _Text(str):
    written: str


class _Whole(int):
    written: str


class _Fraction(float):
    written: str


_KINDS: dict[type, type[_Text] | type[_Whole] | type[_Fraction]] = {str: _Text, int: _Whole, float: _Fraction}


def as_written(config: DictConfig) -> dict[str, Any]:
    """Return a configuration with its interpolations resolved, but for those of the environment.

    They remain as they are written, wherever they are referred to. So does what cannot be resolved.
    """
    OmegaConf.register_new_resolver(ENVIRONMENT, _interpolation, replace=True)
    try:
        written: dict[str, Any] = _plain(config)
    finally:
        OmegaConf.register_new_resolver(ENVIRONMENT, oc.env, replace=True)
    return written


def marked(value: Any, written: Any) -> Any:  # noqa: ANN401  any value of a configuration
    """Return a value that knows how it was written, if it or a part of it comes from the environment.

    Args:
        value: resolved.
        written: the same as :func:`as_written` has it.
    """
    if isinstance(value, dict) and isinstance(written, Mapping):
        return {key: marked(each, written.get(key)) for key, each in value.items()}
    if isinstance(value, list | tuple) and isinstance(written, list | tuple):
        return type(value)(marked(*pair) for pair in zip(value, written, strict=True))
    if isinstance(written, str) and f"${{{ENVIRONMENT}:" in written and type(value) in _KINDS:
        from_environment = _KINDS[type(value)](value)
        from_environment.written = written
        return from_environment
    return value


def public(value: Any) -> Any:  # noqa: ANN401  any value of a configuration
    """Return a value, and all in it, as it may be written down."""
    if isinstance(value, Mapping):
        return {key: public(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(public, value))
    return value.written if isinstance(value, _Text | _Whole | _Fraction) else value


def unmarked(value: Any) -> Any:  # noqa: ANN401  any value of a configuration
    """Return a value, and all in it, as libraries take it that ask for the very type."""
    if isinstance(value, Mapping):
        return {key: unmarked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(unmarked, value))
    kind = next((kind for kind, marked_kind in _KINDS.items() if isinstance(value, marked_kind)), None)
    return value if kind is None else kind(value)


def hidden(message: str, arguments: Iterable[str]) -> str:
    """Return a message with what comes from the environment as it was written: messages end up in logs, too.

    Args:
        message: it.
        arguments: of the command line, which name variables; so do configurations that were read before.
    """
    names = {name for argument in arguments for name in _NAME.findall(argument)} | _USED
    values = {value: name for name in names if len(value := os.environ.get(name, "")) >= SHORTEST_SECRET}
    for value in sorted(values, key=len, reverse=True):
        message = message.replace(value, f"${{{ENVIRONMENT}:{values[value]}}}")
    return message


def _interpolation(name: str, *_default: object) -> str:
    _USED.add(name)
    return f"${{{ENVIRONMENT}:{name}}}"


def _plain(node: Any) -> Any:  # noqa: ANN401  any value of a configuration
    if isinstance(node, DictConfig):
        return {str(key): _entry(node, key) for key in node}
    if isinstance(node, ListConfig):
        return [_entry(node, index) for index in range(len(node))]
    return node


def _entry(node: DictConfig | ListConfig, key: Any) -> Any:  # noqa: ANN401  a key and a value of any kind
    try:
        return _plain(node[key])
    except OmegaConfBaseException:
        written: Any = OmegaConf.to_container(node, resolve=False)
        return written[key]
