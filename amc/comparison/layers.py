"""Every layer of a problem's network, and what each policy's best network keeps of it."""

from amc.comparison.cells import Table
from amc.comparison.study import Problem
from amc.comparison.summary import best_run
from amc.report.layer_table import LayerLine, layer_lines
from amc.report.tables import Cell

LAYERS_TITLE = "Every layer of the network"
NOTE = (
    "Outputs of every layer, or units of its weight where masks are set: of the dense network, and of the best network "
    "of each policy. FLOPs is the layer's share of the dense network's."
)


def layers_table(problem: Problem) -> Table | None:
    """Return one row a layer, searched or kept whole; nothing where the runs did not write the network down."""
    best = [best_run(policy).result for policy in problem.policies]
    if not all(result.network for result in best):
        return None
    by_policy = [layer_lines(result.network, result.strategy, result.uniform_strategy) for result in best]
    columns = ("layer", "FLOPs", "dense", *(policy.name for policy in problem.policies), "searched, or kept whole")
    return Table(columns, tuple(map(_row, zip(*by_policy, strict=True))), (NOTE,))


def _row(lines: tuple[LayerLine, ...]) -> tuple[Cell, ...]:
    first = lines[0]
    cells = (first.name, first.share, first.dense, *(line.found for line in lines), first.note)
    return tuple(map(Cell, cells))
