"""MkDocs' hook: the pages that are made from the code, and the files of the repository that are pages as they are."""

from collections.abc import Iterator
from pathlib import Path

import configuration_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "engine": ("envs/engine", "The engine: tracing, pruning, repair, cost and scoring; it works alone."),
    "envs": ("envs", "The problem: the Gymnasium environment, its constraints, observations, rewards and referee."),
    "baselines": ("baselines", "The rival policies, one module each."),
    "agent": ("amc/agent", "The agent of the paper on stable-baselines3; TD3 and SAC beside it."),
    "tracking": ("amc/tracking", "Where a run can be reported to beside its folder."),
}
"""Pages of the Python reference by name: the folder whose modules stand on it, and what it is."""
AS_THEY_ARE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "results/benchmarks.md",
    "benchmarks/agent.md": "results/agent.md",
    "benchmarks/criteria.md": "results/criteria.md",
    "benchmarks/fidelity.md": "results/fidelity.md",
    "benchmarks/finetuning.md": "results/finetuning.md",
    "benchmarks/growth.png": "results/growth.png",
    "benchmarks/landscapes.md": "results/landscapes.md",
    "benchmarks/latency.md": "results/latency.md",
    "benchmarks/reliability.md": "results/reliability.md",
    "benchmarks/repair.md": "results/repair.md",
    "benchmarks/scale.png": "results/scale.png",
    "benchmarks/study.md": "results/equal_minutes.md",
    "benchmarks/gpu.md": "results/gpu.md",
    "benchmarks/transformers.md": "results/transformers.md",
    "benchmarks/zoo.md": "results/zoo.md",
    "benchmarks/tracing.md": "results/tracing.md",
    "examples/resnet20-fashion_mnist-channels.png": "examples/resnet20-fashion_mnist-channels.png",
}
"""Where files of the repository stand on the site; folders are kept, so that their links to each other hold."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in ``docs`` holds."""
    made = {"reference/configuration.md": configuration_reference.page()}
    made |= {f"reference/python/{name}.md": _python_page(*package) for name, package in PACKAGES.items()}
    for where, content in made.items():
        files.append(File.generated(config, where, content=content))
    for source, where in AS_THEY_ARE.items():
        files.append(File.generated(config, where, abs_src_path=str(ROOT / source)))
    return files


def _python_page(folder: str, what: str) -> str:
    """Return the page of a package: every module's reference, its own modules first, then those of its rooms."""
    lines = [f"# `{folder.replace('/', '.')}`", "", what]
    for module in _modules(ROOT / folder):
        lines += ["", f"::: {module}", "    options:", "      heading_level: 2"]
    return "\n".join(lines) + "\n"


def _modules(folder: Path) -> Iterator[str]:
    """Yield the modules that stand on a folder's page; a folder with a page of its own is left to that."""
    own_pages = {ROOT / path for path, _ in PACKAGES.values()} - {folder}
    for path in sorted(folder.glob("*.py")):
        if path.stem != "__init__":
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in sorted(path.parent for path in folder.glob("*/__init__.py")):
        if room not in own_pages:
            yield from _modules(room)
