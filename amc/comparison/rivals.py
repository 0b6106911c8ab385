"""Policies against each other, seed by seed: paired tests, and the answer in a sentence."""

from collections.abc import Callable
from typing import NamedTuple

from amc.comparison.cells import NOTHING, Table, counted, difference_cell, p_cell
from amc.comparison.statistics import Paired, estimate, paired
from amc.comparison.study import Policy, Problem, Run
from amc.report.tables import Cell, percent

AGAINST, UNIFORM = "amc", "uniform"
CHANCE = 0.05


class PairedComparison(NamedTuple):
    """A policy against another on the search metric and on the test metric."""

    search: Paired
    test: Paired


def search_metric(run: Run) -> float:
    """The search metric of the trial that the search chose."""
    return run.best.evaluation.metric


def final_metric(run: Run) -> float:
    """The test metric of the network found, after fine-tuning."""
    return run.result.pruned.test_top1


def mean_over_seeds(policy: Policy, measure: Callable[[Run], float]) -> float:
    """Return a policy's mean over its seeds."""
    return estimate([measure(run) for run in policy.runs]).mean


def compare_pair(policy: Policy, other: Policy) -> PairedComparison | None:
    """Compare two policies over the seeds that both have; none where they share no seed."""
    ours, theirs = policy.by_seed, other.by_seed
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    search, test = (
        paired([measure(ours[seed]) for seed in shared], [measure(theirs[seed]) for seed in shared])
        for measure in (search_metric, final_metric)
    )
    return PairedComparison(search, test)


def paired_table(problem: Problem) -> Table | None:
    """Return every policy against the method; none where that one, or every other, was not run."""
    policies = {policy.name: policy for policy in problem.policies}
    if AGAINST not in policies or len(policies) == 1:
        return None
    comparisons = {
        name: compare_pair(policy, policies[AGAINST]) for name, policy in policies.items() if name != AGAINST
    }
    rows = tuple((Cell(name), *_cells(comparison)) for name, comparison in comparisons.items())
    smallest = {
        comparison.test.n: comparison.test.smallest_p for comparison in comparisons.values() if comparison is not None
    }
    notes = [f"With {counted(n, 'seed')} the smallest p there can be is {p:.2g}." for n, p in sorted(smallest.items())]
    return Table(("policy", "shared seeds", "search", "p", "test", "p"), rows, tuple(notes))


def verdict(problem: Problem) -> str:
    """Answer which policy is best on the test split, and whether that may be chance."""
    ranked = sorted(problem.policies, key=lambda policy: mean_over_seeds(policy, final_metric), reverse=True)
    first = ranked[0]
    figure = percent(mean_over_seeds(first, final_metric))
    if len(ranked) == 1:
        return f"Only {first.name} was run, with {figure} on test: nothing to compare it with."
    best = f"{first.name} has the best test accuracy, {figure}, mean of {counted(len(first.runs), 'seed')}"
    return f"{best}. {_lead(first, ranked[1])}{_uniform_ratios(problem, mean_over_seeds(first, final_metric))}"


def _uniform_ratios(problem: Problem, best: float) -> str:
    """Say so where equal ratios, which no run of their own was asked for, come out as good as the best policy."""
    if UNIFORM in (policy.name for policy in problem.policies):
        return ""
    by_seed = {run.result.seed: run.result.uniform.test_top1 for run in problem.runs}
    uniform = sum(by_seed.values()) / len(by_seed)
    return f" Uniform ratios, without any search, have {percent(uniform)}." if uniform >= best else ""


def _lead(first: Policy, second: Policy) -> str:
    comparison = compare_pair(first, second)
    if comparison is None:
        return f"It shares no seed with {second.name}, the next, so they are not compared seed by seed."
    test = comparison.test
    seeds = counted(test.n, "shared seed")
    lead = f"Over {seeds} it is {100 * test.difference.mean:+.2f} points to {second.name}, the next"
    if test.p is None or test.smallest_p > CHANCE:
        return f"{lead}; so few seeds cannot tell that from chance."
    if test.p > CHANCE or test.difference.mean <= 0:
        return f"{lead}, which may be chance (p = {test.p:.2g})."
    return f"{lead}, which is more than chance explains at the 5% level (p = {test.p:.2g})."


def _cells(comparison: PairedComparison | None) -> tuple[Cell, ...]:
    if comparison is None:
        return (Cell("0"), NOTHING, NOTHING, NOTHING, NOTHING)
    search, test = comparison
    return (Cell(str(test.n)), difference_cell(search), p_cell(search), difference_cell(test), p_cell(test))
