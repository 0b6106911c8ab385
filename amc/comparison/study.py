"""From run folders to problems: which runs can be compared, and which are left out."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from amc.config.identity import POLICY
from amc.config.setting import Setting
from amc.errors import UserError
from amc.names import printable
from amc.report.tables import RESOURCES
from amc.store.results import Result, read_result, read_trials
from amc.store.run_folders import TRIALS, find_runs, is_finished
from envs.search import Trial, best_trial

TARGET_POLICY = f"{POLICY}_target_"
MOST_LAYERS = 2000
LONGEST_POLICY = 40


@dataclass(frozen=True)
class Run:
    """A finished run: its folder within the study, its result, and its trials in order."""

    name: str
    result: Result
    trials: list[Trial] = field(repr=False)

    @property
    def best(self) -> Trial:
        """The trial that the search chose: the best within the target."""
        return best_trial(self.trials)


@dataclass(frozen=True)
class Policy:
    """The runs of one search policy on one problem, by seed."""

    name: str
    runs: tuple[Run, ...]

    @property
    def by_seed(self) -> dict[int, Run]:
        """Its run of every seed."""
        return {run.result.seed: run for run in self.runs}


@dataclass(frozen=True)
class Problem:
    """What several policies searched: one network, one data set, one target, one budget.

    Attributes:
        title: network and data, and what tells the problem from others of the same.
        settings: what was asked, as names and values; policies' own settings left out.
        policies: who searched, by name.
    """

    title: str
    settings: Mapping[str, Setting]
    policies: tuple[Policy, ...]

    @property
    def runs(self) -> list[Run]:
        """All its runs."""
        return [run for policy in self.policies for run in policy.runs]


class LeftOut(NamedTuple):
    """A run that is not compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Study:
    """A folder of runs: its problems in order of their titles, and the runs left out."""

    name: str
    problems: tuple[Problem, ...]
    left_out: tuple[LeftOut, ...]


def read_study(folder: Path) -> Study:
    """Read every run below a folder, and sort those that are finished by the problem that they searched.

    Raises:
        StorageError: a folder cannot be read.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for path in find_runs(folder):
        read = _read(path, printable(path.relative_to(folder), longest=200))
        (runs if isinstance(read, Run) else left_out).append(read)  # type: ignore[arg-type]
    grouped: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[_problem_key(run)].append(run)
    problems = [_problem(group, left_out) for group in grouped.values()]
    return Study(printable(folder.resolve().name), tuple(_told_apart(problems)), tuple(left_out))


def differing(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each variant, its values of the keys in which the variants differ, as ``key=value, ...``."""
    keys = sorted({key for variant in variants for key in variant})
    different = [key for key in keys if len({variant.get(key) for variant in variants}) > 1]
    return [", ".join(f"{key}={setting_text(variant.get(key))}" for key in different) for variant in variants]


def _read(path: Path, name: str) -> Run | LeftOut:
    try:
        if not is_finished(path) and not (path / TRIALS).exists():
            return LeftOut(name, "unfinished: its last stage has not begun")
        trials = read_trials(path)
        if not is_finished(path):
            return LeftOut(name, f"unfinished: {len(trials)} trials, no result yet")
        result = read_result(path)
    except (UserError, OSError) as error:
        return LeftOut(name, printable(f"damaged: {error}".replace(f"{path}/", ""), longest=200))
    if wrong := _damage(result, trials):
        return LeftOut(name, f"damaged: {wrong}")
    return Run(name, result, trials)


def _damage(result: Result, trials: Sequence[Trial]) -> str:
    """Say what in a run that can be read makes no sense; nothing where all does."""
    layers = (*result.strategy, *result.uniform_strategy)
    field, resource = RESOURCES.get(result.resource, RESOURCES["flops"])
    if result.trials != len(trials):
        return f"{len(trials)} trials are left of {result.trials}"
    if not any(trial.feasible for trial in trials):
        return "no trial is within the target"
    if not 1 <= len(result.strategy) == len(result.uniform_strategy) <= MOST_LAYERS:
        return f"strategies of {len(result.strategy)} and {len(result.uniform_strategy)} layers"
    if not all(0 <= layer.kept <= layer.of and layer.of > 0 for layer in layers):
        return "a layer keeps more than it has"
    if getattr(result.dense, field) <= 0:
        return f"a dense network without {resource}"
    if min(network.latency_ms for network in (result.dense, result.uniform, result.pruned)) <= 0:
        return "a network that takes no time"
    return ""


def _problem_key(run: Run) -> object:
    """Return what is equal for two runs exactly if they can be compared."""
    result = run.result
    asked = tuple(sorted(_asked(result).items(), key=str))
    # A run of before results held settings is comparable at most within the study that it was made in.
    study = None if result.settings else (run.name.split("/")[:-3], result.dense.test_top1)
    layers = tuple((layer.layer, layer.of) for layer in result.strategy)
    return asked, str(study), layers, result.dense.flops, result.dense.params, tuple(sorted(result.images.items()))


def _asked(result: Result) -> dict[str, Setting]:
    of_problem = {key: value for key, value in result.settings.items() if not key.startswith(POLICY)}
    names = ("model", "data", "granularity", "criterion", "resource", "target")
    # Settings name the number of stages where there are several only.
    return {name: getattr(result, name) for name in names} | {"stages": 1} | of_problem


def _problem(runs: list[Run], left_out: list[LeftOut]) -> Problem:
    first = runs[0].result
    title = printable(f"{first.model} on {first.data}")
    named: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        named[run.result.policy].append(run)
    policies = [policy for name in sorted(named) for policy in _variants(name, named[name], left_out)]
    return Problem(title, _asked(first), tuple(policies))


def _variants(name: str, runs: list[Run], left_out: list[LeftOut]) -> Iterable[Policy]:
    """A policy with different settings of its own is as many policies, named by what differs."""
    variants: dict[object, list[Run]] = defaultdict(list)
    for run in runs:
        variants[tuple(sorted(_own(run).items(), key=str))].append(run)
    suffixes = differing([_own(group[0]) for group in variants.values()])
    for suffix, group in zip(suffixes, variants.values(), strict=True):
        by_seed: dict[int, Run] = {}
        for run in group:
            if by_seed.setdefault(run.result.seed, run) is not run:
                same = by_seed[run.result.seed].name
                left_out.append(LeftOut(run.name, f"the same policy, seed and problem as {same}"))
        ordered = tuple(by_seed[seed] for seed in sorted(by_seed))
        yield Policy(printable(f"{name} ({suffix})" if suffix else name, LONGEST_POLICY), ordered)


def _own(run: Run) -> dict[str, Setting]:
    own = {key: value for key, value in run.result.settings.items() if key.startswith(POLICY) and key != TARGET_POLICY}
    return {key.removeprefix(POLICY): value for key, value in own.items()}


def _told_apart(problems: Sequence[Problem]) -> list[Problem]:
    """Problems of one title get what they differ in behind it."""
    by_title: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_title[problem.title].append(problem)
    told: list[Problem] = []
    for title, same in sorted(by_title.items()):
        suffixes = differing([problem.settings for problem in same])
        for number, (suffix, problem) in enumerate(zip(suffixes, same, strict=True), 1):
            more = suffix or (f"network {number}" if len(same) > 1 else "")
            told.append(
                Problem(printable(f"{title}, {more}" if more else title, 200), problem.settings, problem.policies)
            )
    return told


def setting_text(value: object) -> str:
    """Return a setting as it is shown."""
    return f"{value:g}" if isinstance(value, float) else str(value)
