"""Answers to the questions of ``amc-search new``: checked as the command line checks them, and written as a file."""

import shlex
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path

from omegaconf import OmegaConf

from amc.cli.help import choices
from amc.config.composing import composed_search
from amc.config.schema import SearchConfig
from amc.config.validation import validate
from amc.store.durable_files import write_file
from envs.engine.plugins import find

Answers = Mapping[str, str]
"""Values by key, as on the command line; of a sweep several, with commas."""
CHOSEN, SWEPT = ("model", "data", "policy"), ("policy", "seed")
OWN = Path("conf")  # one's own choices, and what is written here


def names_of(group: str) -> list[str]:
    """Return what may be chosen: what comes with this package, and what lies in one's own folder."""
    return sorted({*choices(group), *(path.stem for path in (OWN / group).glob("*.yaml"))} - {"custom"})


def with_answer(answers: Answers, key: str, answer: str) -> Answers:
    """Return the answers with one more; a dotted path names one's own network, data or policy.

    Raises:
        ValueError: a search would refuse it, as a ``ConfigError``, or it cannot be imported.
    """
    if key in CHOSEN and "." in answer:
        find(key, answer, {})
        key = f"{key}._target_"
    values = [value.strip() for value in answer.split(",")] if key in SWEPT else [answer]
    for value in values:
        there = value in choices("experiment") or (value.isidentifier() and _file(value).exists())
        if key == "name" and (there or not (value.isascii() and value.isidentifier())):
            raise ValueError(f"name={value}: must be letters, digits and _, and no name of an experiment that is there")
        if key in CHOSEN and value not in names_of(key):
            raise ValueError(f"{key}={value}: must be one of {', '.join(names_of(key))}")
        if key == "data.folder" and not Path(value).expanduser().is_dir():
            raise ValueError(f"data.folder={value}: no such folder")
        if key != "model":  # timm and torchvision ask for a name next
            validate(composed({**answers, key: value}))
    return {**answers, key: ",".join(values)}


def composed(answers: Answers) -> SearchConfig:
    """Return the search that is asked for; of a sweep the first."""
    one = {key: value.partition(",")[0] if key in SWEPT else value for key, value in answers.items()}
    own = {"hydra.searchpath": f"[{_quoted(f'file://{OWN.resolve()}')}]"} if OWN.is_dir() else {}
    return composed_search([f"{key}={_quoted(value)}" for key, value in {**one, **own}.items()])


def write(answers: Answers) -> tuple[Path, str]:
    """Write an experiment of one's own; return the file, and the command that runs it."""
    file, swept = _file(answers["name"]), [f"{key}={answers[key]}" for key in SWEPT if "," in answers[key]]
    command = f"python -m amc.search {'-m ' if swept else ''}--config-dir {OWN} "
    command += shlex.join([f"experiment={answers['name']}", *swept])
    cfg, keys = composed(answers), OmegaConf.create()
    for key in answers.keys() - set(CHOSEN):
        OmegaConf.update(keys, key, attrgetter(key)(cfg))
    groups = {group: answers.get(group, "custom").partition(",")[0] for group in CHOSEN}
    defaults = "".join(f"  - override /{group}: {name}\n" for group, name in groups.items())
    head = f"# @package _global_\n# {command}\ndefaults:\n{defaults}"
    write_file(file, head + OmegaConf.to_yaml(keys, sort_keys=True))
    return file, command


def _file(name: str) -> Path:
    return OWN / "experiment" / f"{name}.yaml"


def _quoted(value: str) -> str:
    """Return a value that may hold what Hydra's grammar gives a meaning; a list is one."""
    return value if value.startswith("[") or value.isidentifier() else "'" + value.replace("'", "\\'") + "'"
