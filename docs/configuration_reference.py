"""The page on every key of the configuration, made from the dataclasses that the configuration is checked against."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import OmegaConf

from amc.config.conf_folder import CONF
from amc.config.keys import Key, keys_of, nested, shown
from amc.config.schema import SearchConfig, TrainConfig

HEAD = """# Configuration keys

Made, when this site is built, from the dataclasses in `amc/config/schema.py` and those of the policies and trackers.
Every key is given as `key=value` on the command line, a choice of a group by the group's name alone
(`model=resnet20`). What a run would do, without doing it: `python -m amc.search --cfg job`.

Keep ratios, targets and accuracies are fractions in [0, 1]. Lists are written `[a,b]`, nothing is `null`.
"""
GROUPS = {
    "model": "A network of the zoo, of timm or torchvision, or [one's own](../how-to/own_network_and_data.md).",
    "data": "A data set and how it is split, or [one's own](../how-to/own_network_and_data.md).",
    "policy": "Who searches. Every policy plays on the same engine, split and budget.",
    "scoring": "How many images of the search split a trial is scored on.",
    "workers": "Who evaluates strategies: [from laptop to cluster](../how-to/cluster.md).",
    "tracker": "Where a run is reported to [beside its folder](../how-to/trackers.md).",
    "experiment": "Several keys at once: `experiment=smoke` runs every stage in seconds, `experiment=paper/...` "
    "what the AMC paper did on CIFAR-10.",
}


def page() -> str:
    """Return the page.

    Raises:
        UndocumentedKey: a key has no meaning.
    """
    return "\n".join([HEAD, *_run(), *_groups(), *_targets("policy"), *_targets("tracker"), *_presets()])


def every_key() -> list[Key]:
    """Return all keys of ``amc.search``, those of policies and trackers once for each of these.

    Raises:
        UndocumentedKey: a key has no meaning.
    """
    found = list(keys_of(SearchConfig))
    for name, group in nested(SearchConfig).items():
        found += keys_of(group, f"{name}.")
    for group_name in ("policy", "tracker"):
        for owner, _ in _choices_with_keys(group_name).values():
            found += keys_of(owner, f"{group_name}.")
    return found


def choices(group: str) -> dict[str, dict[str, Any]]:
    """Return the files of a configuration group, by the name of the choice."""
    folder = CONF / group
    return {path.relative_to(folder).with_suffix("").as_posix(): _read(path) for path in sorted(folder.rglob("*.yaml"))}


def _run() -> Iterator[str]:
    yield "\n## A run\n"
    shared = {key.name for key in keys_of(TrainConfig)}
    yield "Keys marked † are `amc.train`'s, too.\n"
    yield from _table(keys_of(SearchConfig), marked=shared)


def _groups() -> Iterator[str]:
    """The keys of nested dataclasses; those that are a group of choices list these first."""
    for name, owner in nested(SearchConfig).items():
        yield f"\n## `{name}.*`\n"
        yield GROUPS.get(name) or _first_line(owner)
        if (CONF / name).is_dir():
            yield f"\n`{name}=` " + ", ".join(f"`{choice}`" for choice in choices(name)) + "\n"
        else:
            yield ""
        yield from _table(keys_of(owner, f"{name}."))


def _targets(group: str) -> Iterator[str]:
    """The choices of a group whose keys depend on the choice: each builds a dataclass of its own."""
    yield f"\n## `{group}.*`\n"
    yield f"{GROUPS[group]}\n"
    yield f"`{group}=` " + ", ".join(f"`{choice}`" for choice in choices(group))
    for choice, (owner, given) in _choices_with_keys(group).items():
        yield f"\n### `{group}={choice}` {{ #{group}-{choice} }}\n"
        yield _first_line(owner) + f"\n\nMore: [`{owner.__qualname__}`][{owner.__module__}.{owner.__qualname__}]\n"
        rows = list(keys_of(owner, f"{group}."))
        yield from _table(rows, given=given) if rows else ["It has no keys."]


def _presets() -> Iterator[str]:
    """What the choices of data and experiments set."""
    for group in ("data", "experiment"):
        yield f"\n## What `{group}=` sets\n"
        if group == "experiment":
            yield GROUPS[group] + "\n"
        columns = {choice: dict(_flat(content)) for choice, content in choices(group).items()}
        rows = list(dict.fromkeys(key for column in columns.values() for key in column if "_target_" not in key))
        yield "| key | " + " | ".join(f"`{choice}`" for choice in columns) + " |"
        yield "|---" * (len(columns) + 1) + "|"
        for row in rows:
            cells = (shown(column[row]) if row in column else "" for column in columns.values())
            yield f"| `{row}` | " + " | ".join(cells) + " |"


def _choices_with_keys(group: str) -> dict[str, tuple[type, Mapping[str, Any]]]:
    """Return the dataclass that each choice builds, and what its file sets."""
    found = {}
    for choice, content in choices(group).items():
        node = content.get(group, content)
        if node is not None and node.get("_target_") is not None:
            found[choice] = (get_class(node["_target_"]), node)
    return found


def _table(rows: Iterable[Key], marked: Iterable[str] = (), given: Mapping[str, Any] | None = None) -> Iterator[str]:
    yield "| key | meaning | values | default |"
    yield "|---|---|---|---|"
    for key in rows:
        mark = " †" if key.name in marked else ""
        last = key.name.rpartition(".")[2]
        default = shown(given[last]) if given and last in given else key.default
        yield f"| `{key.name}`{mark} | {_cell(key.meaning)} | {_cell(key.values)} | {_cell(default)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_line(owner: type) -> str:
    return inspect.cleandoc(owner.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _read(path: Path) -> dict[str, Any]:
    content = OmegaConf.to_container(OmegaConf.load(path))
    return content if isinstance(content, dict) else {}  # type: ignore[return-value]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name == "defaults":
            for override in value:
                yield from ((key.removeprefix("override /"), chosen) for key, chosen in override.items())
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
