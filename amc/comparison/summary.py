"""A problem in figures: the table of policies, the rank correlation, and what was asked."""

from collections.abc import Sequence

from amc.comparison.cells import NOTHING, Table, mean_cell, reached_cell
from amc.comparison.rivals import UNIFORM, final_metric, mean_over_seeds, search_metric
from amc.comparison.statistics import estimate, rank_correlation, reached, threshold
from amc.comparison.study import Policy, Problem, Run, setting_text
from amc.report.tables import RESOURCES, Cell, milliseconds, percent, times
from amc.store.results import PrunedScores, Result, Scores

UNKNOWN = "not recorded"


def policy_table(problem: Problem) -> Table:
    """Return one row a policy, best on test first, with uniform ratios among them, after the dense network."""
    top = max(search_metric(run) for run in problem.runs)
    rows = [(mean_over_seeds(policy, final_metric), _policy_row(policy, top)) for policy in problem.policies]
    if all(policy.name != UNIFORM for policy in problem.policies):
        rows.append(_uniform_row(problem.runs))
    ranked = [row for _, row in sorted(rows, key=lambda pair: pair[0], reverse=True)]
    _, resource = limited(problem.runs[0].result)
    of_network = ("test before", "test", f"{resource} kept", "latency", "speed-up")
    columns = ("policy", "seeds", "evaluations", "search", *of_network, "evaluations to 99%", "seconds to 99%")
    return Table(columns, (_dense_row(problem.runs), *ranked), _notes(problem, top))


def correlation(problem: Problem) -> str:
    """Say how well the search ranks what fine-tuning then gives."""
    pairs = [(row.search_top1_before_finetune, row.search_top1) for run in problem.runs for row in run.result.finetuned]
    n = len(pairs)
    if pairs and all(before == after for before, after in pairs):
        return f"the {n} candidates were not fine-tuned"
    found = rank_correlation(pairs)
    if found is None:
        return f"too few candidates to tell (n = {n})"
    if found.rho is None:
        return f"none, the {n} candidates are all equal before or after"
    return f"{found.rho:.2f} (n = {n})"


def facts(problem: Problem) -> list[tuple[str, str]]:
    """Return what was asked in words, as far as the runs say it."""
    asked, result = problem.settings, problem.runs[0].result
    _, resource = limited(result)
    known = [
        ("target", f"{result.target:g} of the dense network's {resource}"),
        ("granularity", f"{result.granularity}, ranked by {result.criterion}"),
        ("images", ", ".join(f"{name} {number}" for name, number in result.images.items()) or UNKNOWN),
    ]
    if not result.settings:
        return [*known, ("constraint, budget", f"{UNKNOWN}, so only runs of one study are compared")]
    tuned = f"best {asked.get('finetune.top_k')}, epochs: {setting_text(asked.get('finetune.epochs'))}"
    ended = sum(run.result.stopped for run in problem.runs)
    budget = f"{asked.get('episodes')} evaluations" + (
        f"; {ended} of {len(problem.runs)} runs interrupted" if ended else ""
    )
    return [*known, ("constraint", str(asked.get("constraint"))), ("budget", budget), ("fine-tuning", tuned)]


def limited(result: Result) -> tuple[str, str]:
    """Return the limited resource's field of ``Scores`` and its name; FLOPs where that is measured time."""
    return RESOURCES.get(result.resource, RESOURCES["flops"])


def kept(scores: Scores, result: Result) -> float:
    """Return the share of the limited resource that a network of a run keeps."""
    field, _ = limited(result)
    return float(getattr(scores, field) / getattr(result.dense, field))


def best_run(policy: Policy) -> Run:
    """Return the run whose network is best on the search split, after fine-tuning."""
    return max(policy.runs, key=lambda run: run.result.pruned.search_top1)


def _policy_row(policy: Policy, top: float) -> tuple[Cell, ...]:
    soon = reached([run.trials for run in policy.runs], threshold(top))
    return (
        Cell(policy.name),
        Cell(str(len(policy.runs))),
        played_cell(policy.runs),
        mean_cell([search_metric(run) for run in policy.runs], percent),
        *_network_cells([(run.result.pruned, run.result) for run in policy.runs]),
        reached_cell(soon, soon.evaluations, lambda value: f"{value:.3g}"),
        reached_cell(soon, soon.seconds, lambda value: f"{value:.3g} s"),
    )


def played_cell(runs: Sequence[Run]) -> Cell:
    """Return how many evaluations runs played, from the fewest to the most, and how many of them were interrupted."""
    played = sorted({len(run.trials) for run in runs})
    ended = sum(run.result.stopped for run in runs)
    figure = str(played[0]) if len(played) == 1 else f"{played[0]}–{played[-1]}"  # noqa: RUF001
    return Cell(figure, f"{ended} interrupted" if ended else "")


def _uniform_row(runs: Sequence[Run]) -> tuple[float, tuple[Cell, ...]]:
    """Uniform ratios as the runs measured them beside their own network, one run a seed."""
    results = list({run.result.seed: run.result for run in reversed(runs)}.values())
    cells = _network_cells([(result.uniform, result) for result in results])
    row = (Cell(UNIFORM, "ratios"), Cell(str(len(results))), NOTHING, NOTHING, *cells, NOTHING, NOTHING)
    return estimate([result.uniform.test_top1 for result in results]).mean, row


def _network_cells(networks: Sequence[tuple[PrunedScores, Result]]) -> tuple[Cell, ...]:
    return (
        mean_cell([scores.test_top1_before_finetune for scores, _ in networks], percent),
        mean_cell([scores.test_top1 for scores, _ in networks], percent),
        mean_cell([kept(scores, result) for scores, result in networks], lambda value: f"{value:.1%}"),
        mean_cell([scores.latency_ms for scores, _ in networks], milliseconds),
        mean_cell([result.dense.latency_ms / scores.latency_ms for scores, result in networks], times),
    )


def _dense_row(runs: Sequence[Run]) -> tuple[Cell, ...]:
    top1 = mean_cell([run.result.dense.test_top1 for run in runs], percent)
    latency = mean_cell([run.result.dense.latency_ms for run in runs], milliseconds)
    return (Cell("dense"), *[NOTHING] * 4, top1, Cell("100%"), latency, *[NOTHING] * 3)


def _notes(problem: Problem, top: float) -> tuple[str, ...]:
    runs = problem.runs
    notes = [f"99% of the best on the search split is {percent(threshold(top))}."]
    if len({(row.device, row.threads) for run in runs for row in run.result.latencies}) > 1:
        notes.append("Latencies were measured on different devices or threads and do not compare.")
    if len({run.result.dense.test_top1 for run in runs}) > 1:
        notes.append("The dense networks differ in accuracy: the runs may not have pruned the same one.")
    for policy in problem.policies:
        played = sorted({len(run.trials) for run in policy.runs})
        if len(played) > 1:
            notes.append(f"Runs of {policy.name} played {played[0]} to {played[-1]} evaluations: some ended early.")
        if ended := [run.name for run in policy.runs if run.result.stopped]:
            notes.append(f"Interrupted, so that its network is the best of fewer evaluations: {', '.join(ended)}.")
    if any(run.result.images and "test" not in run.result.images for run in runs):
        notes.append("Runs of amc.prune have no test split: their test is the data that trials were scored on.")
    return tuple(notes)
