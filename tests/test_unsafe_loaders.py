"""Nothing here loads what can run code: no pickle, no trusting ``torch.load``, ``yaml.load``, ``eval`` or shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("amc", "baselines", "envs", "examples", "benchmarks", "docs")
# What protocols attack with, and what they break on purpose.
ATTACKS = {"benchmarks/faults/hostile_checkpoints.py", "benchmarks/faults/trusting.py"}
# What a driver hands to its own workers through pipes and files without a name, and what they answer: nothing is kept.
WORKERS = {f"envs/workers/{name}.py" for name in ("parcel", "serve", "tensors")}
SOURCES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
MODULES = {"cPickle", "cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}
CALLS = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "joblib.load",
        "pandas.read_pickle",
    ),
    *(
        "yaml.load",
        "yaml.full_load",
        "yaml.unsafe_load",
        "torch.jit.load",
        "torch.hub.load",
        "torch.package.PackageImporter",
    ),
}
NEEDED = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
}
# Its zips hold pickles; a replay memory and statistics of it are pickles alone.
METHODS = {"load_replay_buffer", "set_parameters", "read_pickle"}


def unsafe(source: str) -> Iterator[str]:
    """Yield what of a module's source may run what a file holds."""
    tree = ast.parse(source)
    known = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            of = getattr(node, "module", None)
            names = [of] if of else [alias.name for alias in node.names]
            yield from (f"line {node.lineno}: imports {name}" for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            called, given = known.get(first, first) + dot + rest, {each.arg: each.value for each in node.keywords}
            shell = given.get("shell")
            if called in CALLS or called.rpartition(".")[2] in METHODS or called.endswith((".VecNormalize.load",)):
                yield f"line {node.lineno}: calls {called}"
            elif called in NEEDED and not _is(given.get(NEEDED[called][0]), NEEDED[called][1]):
                yield f"line {node.lineno}: calls {called} without {NEEDED[called][0]}={NEEDED[called][1]}"
            elif shell is not None and not _is(shell, False):
                yield f"line {node.lineno}: calls {called} with a shell"


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return what names of a module stand for, where they are imported by another name or without their package."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            known.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            known.update({alias.asname: alias.name for alias in node.names if alias.asname})
    return known


def _is(value: ast.expr | None, wanted: bool) -> bool:
    return isinstance(value, ast.Constant) and value.value is wanted


@pytest.mark.parametrize("source", [source for source in SOURCES if source not in ATTACKS | WORKERS])
def test_nothing_here_runs_what_a_file_holds(source: str) -> None:
    assert list(unsafe((ROOT / source).read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from torch import load\nload(path)",
        "from torch import load as read\nread(path, weights_only=False)",
        "import joblib\njoblib.load(path)",
        "from joblib import load\nload(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "from os import system as run\nrun(text)",
        "yaml.load(text)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "agent.load_replay_buffer(path)",
        "torch.hub.load(repository, name)",
    ],
)
def test_what_is_unsafe_is_found(code: str) -> None:
    assert len(list(unsafe(code))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "from numpy import load\nload(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "model.eval()",
    ],
)
def test_what_is_safe_is_not(code: str) -> None:
    assert list(unsafe(code)) == []
