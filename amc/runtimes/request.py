"""What has to be measured to predict the latency of a network and of all that can be cut from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from amc.errors import ModelError
from amc.measurement.on_device import REQUEST
from amc.runtimes.onnx_template import OnnxTemplate
from envs.engine.errors import NotKnown
from envs.engine.latency import FINE_BLOCK, LayerShape, TimedLayer
from envs.engine.pruners.pruner import CompactPruner, as_compact
from envs.engine.torch_engine import TorchEngine

POINTS = 8
"""Counts along one axis of a layer."""
FEWEST = 0.06
"""Of a layer's channels: fewer are not measured."""
ODD = (1, 2, 4)
"""What is taken off a whole number of blocks to see what odd counts cost."""
STEPS = range(1, 65)
"""Counts of the layer that shows the staircase."""
NETWORKS = 36
FLOOR = 0.15
Pairs = list[list[int]]


def make_request(
    engine: TorchEngine, template: OnnxTemplate | None, example: Tensor, batch: int, threads: int
) -> dict[str, Any]:
    """Return a request for measurements, as docs/reference/latency_table.md describes it.

    Args:
        engine: of the dense network.
        template: its graph, for runtimes that load ONNX files.
        example: an input, shape ``(1, ...)``.
        batch: images a pass.
        threads: of the runtime.
    """
    pruner = compact_pruner(engine)
    whole = pruner.timed_layers([layer.units for layer in engine.layers])
    layers, place = layers_of(whole)
    largest = max((layer for layer in whole if layer.shape.kind == "conv"), key=_work, default=None)
    staircases = [] if largest is None else [_staircase(largest, axis) for axis in ("inputs", "outputs")]
    variants = []
    for kept in random_counts(engine, NETWORKS, seed=0):
        counted = [[place[t.shape], t.inputs, t.outputs, t.calls] for t in pruner.timed_layers(kept)]
        shapes = {} if template is None else template.shapes(bare(engine, kept))
        variants.append({"kept": kept, "layers": counted, "shapes": shapes})
    return {
        "format": REQUEST,
        "batch": batch,
        "threads": threads,
        "layers": layers,
        "staircases": staircases,
        "network": {"input": {"shape": list(example.shape[1:])}} if template is None else template.described(),
        "variants": variants,
    }


def compact_pruner(engine: TorchEngine) -> CompactPruner:
    """Return what makes a network smaller.

    Raises:
        ModelError: what is removed is masked.
    """
    try:
        return as_compact(engine.pruner, engine.settings.granularity, "a table of latencies")
    except NotKnown as error:
        raise ModelError(str(error)) from error


def bare(engine: TorchEngine, kept: Sequence[int]) -> nn.Module:
    """Return the pruned network as it is run, its weights not repaired: what it takes does not depend on them."""
    return engine.pruner.for_inference(compact_pruner(engine).cut(kept))


def random_counts(engine: TorchEngine, networks: int, seed: int) -> list[list[int]]:
    """Return numbers of kept units: of the whole network, and at random around a ratio that all layers share.

    Residual blocks stay: without one a network is another graph, and its layers are in the others.
    """
    random = np.random.default_rng(seed)
    found = [[layer.units for layer in engine.layers]]
    while len(found) < networks:
        centre = random.uniform(FLOOR + 0.05, 1.0)
        keeps = random.uniform(max(FLOOR, centre - 0.4), min(1.0, centre + 0.4), len(engine.layers))
        counted = zip(engine.layers, keeps, strict=True)
        found.append([layer.units if layer.is_block else layer.kept(keep) for layer, keep in counted])
    return found


def layers_of(whole: Sequence[TimedLayer]) -> tuple[list[dict[str, Any]], dict[LayerShape, int]]:
    """Return the layers to measure with their counts, and where among them every shape stands."""
    widest: dict[LayerShape, tuple[set[int], set[int]]] = {}
    for layer in whole:
        inputs, outputs = widest.setdefault(layer.shape, (set(), set()))
        inputs.add(layer.inputs)
        outputs.add(layer.outputs)
    layers = [{**as_dict(shape), "counts": _counts(shape, *widest[shape])} for shape in widest]
    return layers, {shape: index for index, shape in enumerate(widest)}


def as_dict(shape: LayerShape) -> dict[str, Any]:
    """Return a shape as JSON holds it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in shape._asdict().items()}


def _counts(shape: LayerShape, inputs: set[int], outputs: set[int]) -> Pairs:
    """Return the pairs of counts that a layer is measured at: a grid, and some odd ones beside its middle."""
    fixed_in, fixed_out = shape.groups > 1, shape.groups > 1
    rows, columns = axis_of(inputs, fixed_in), axis_of(outputs, fixed_out)
    if shape.kind == "depthwise":
        middle = columns[len(columns) // 2]
        odd = [middle - step for step in ODD if middle - step > 0]
        return [[count, count] for count in sorted({*columns, *odd})]
    row, column = rows[len(rows) // 2], columns[len(columns) // 2]
    pairs = {(i, o) for i in rows for o in columns}
    if shape.groups == 1:
        pairs |= {(row - step, column) for step in ODD if row - step > 0 and len(rows) > 1}
        pairs |= {(row, column - step) for step in ODD if column - step > 0 and len(columns) > 1}
    return [list(pair) for pair in sorted(pairs)]


def axis_of(counts: set[int], fixed: bool = False) -> list[int]:
    """Return the counts along one axis, ascending: whole blocks from a few to the largest, and those of the network."""
    most = max(counts)
    if fixed or most < FINE_BLOCK:
        return sorted(counts)
    least = max(FINE_BLOCK, most * FEWEST)
    blocks = [count for count in (4, 8, 12, 16, 24, 32, *range(48, most + 1, 16)) if least <= count <= most]
    wanted = np.geomspace(blocks[0], most, POINTS)
    grid = {min(blocks, key=lambda block: abs(block - each)) for each in wanted}
    # An image's few channels are read by one layer, and none of them can go.
    return sorted({*grid, most, *(count for count in counts if count < FINE_BLOCK)})


def _work(layer: TimedLayer) -> float:
    """Return the work of a pair of channels: the staircase is seen best where it is large."""
    return float(np.prod(layer.shape.kernel) * np.prod(layer.shape.size))


def _staircase(layer: TimedLayer, axis: str) -> dict[str, Any]:
    fixed = 64
    pairs = [[count, fixed] if axis == "inputs" else [fixed, count] for count in STEPS]
    return {**as_dict(layer.shape._replace(groups=1)), "axis": axis, "counts": pairs}
