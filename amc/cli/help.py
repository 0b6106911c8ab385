"""``--help``: every key with its meaning, values and default, from the dataclasses that it is checked against."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import TextWrapper

from hydra.utils import get_class
from omegaconf import OmegaConf

from amc.config.composing import SCHEMAS
from amc.config.conf_folder import CONF
from amc.config.keys import Key, keys_of, nested

GROUPS = ("model", "data", "policy", "tracker", "experiment")
USAGE = {
    "search": "searches the ratios of channels that a network keeps, layer by layer, and makes the smaller network",
    "train": "trains a dense network and keeps it for amc-search",
}
FLAGS = """\
  -m, --multirun     a sweep: every combination of values with commas between them
  --cfg job          print the configuration and do nothing
  --config-dir DIR   add choices of your own: DIR/model/my_net.yaml is model=my_net
  -q, --quiet        warnings and errors only
  -v, --verbose      what happens inside, too
  --version          the version
  --hydra-help       what else Hydra understands"""
WIDTH, INDENT = 110, 22


def help_text(command: str, arguments: Sequence[str] = ()) -> str:
    """Return the help of a command.

    Args:
        command: ``search`` or ``train``.
        arguments: of the command line; ``policy=...`` chooses whose keys are listed.
    """
    chosen = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    return "\n".join(_lines(command, chosen.get("policy", "amc"))) + "\n"


def groups_of(command: str) -> list[str]:
    """Return the configuration groups of a command."""
    return [group for group in GROUPS if command == "search" or group not in ("policy", "tracker")]


def choices(group: str) -> list[str]:
    """Return the choices of a group that come with this package."""
    folder = CONF / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def _lines(command: str, policy: str) -> Iterator[str]:
    schema = SCHEMAS[command]
    yield f"amc-{command} (python -m amc.{command})\n{USAGE[command]}.\n"
    asked = "\n       amc-search new  (asks, writes a file, and prints the command)" if command == "search" else ""
    yield f"usage: amc-{command} [key=value ...] [flags]{asked}\n\n{FLAGS}\n"
    yield "Choices:\n"
    for group in groups_of(command):
        yield from _wrapped(f"{group}=", ", ".join(choices(group)))
    yield "\nKeys, what they mean, [what they may be] and (default):\n"
    yield from _keys(keys_of(schema))
    for name, owner in nested(schema).items():
        yield ""
        yield from _keys(keys_of(owner, f"{name}."))
    kind = _policy(policy) if command == "search" else None
    if kind is not None:
        yield f"\nKeys of policy={policy} (policy=NAME --help lists those of another):\n"
        yield from _keys(keys_of(kind, "policy."), _given(policy))
    yield "\nKeep ratios, targets and accuracies are fractions; lists are [a,b], nothing is null."


def _given(policy: str) -> dict[str, object]:
    """Return what the file of a policy sets, as it is written."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / "policy" / f"{policy}.yaml"))
    inner = content.get("policy", content) if isinstance(content, dict) else {}
    return {str(key): "null" if value is None else value for key, value in inner.items()}


def _policy(name: str) -> type | None:
    path = CONF / "policy" / f"{Path(name).name}.yaml"
    if not path.exists():
        return None
    content = OmegaConf.load(path)
    target = OmegaConf.select(content, "policy._target_", default=None) or OmegaConf.select(content, "_target_")
    return None if target is None else get_class(target)


def _keys(keys: Iterator[Key], given: Mapping[str, object] | None = None) -> Iterator[str]:
    for key in keys:
        last = key.name.rpartition(".")[2]
        default = str(given[last]) if given is not None and last in given else key.default
        values = f" [{key.values}]" if key.values else ""
        yield from _wrapped(key.name, f"{key.meaning}{values} ({default})".replace("`", ""))


def _wrapped(name: str, text: str) -> Iterator[str]:
    """Yield a name with its text beside it, below it where the name is long."""
    wrapper = TextWrapper(WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT, break_on_hyphens=False)
    first, *rest = wrapper.wrap(text) or [""]
    if len(name) + 3 <= INDENT:
        yield f"  {name:{INDENT - 2}}{first.strip()}"
    else:
        yield f"  {name}"
        yield first
    yield from rest
