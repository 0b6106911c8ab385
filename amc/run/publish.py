"""A finished run as files: result, weights, pictures, report, and the formats asked for."""

from pathlib import Path

from omegaconf import OmegaConf

from amc.config.schema import Export
from amc.report.html import render
from amc.report.plots import figures, png
from amc.run import build
from amc.run.bench import Bench
from amc.store.results import Result, RunFolder
from amc.training.finetune import Outcome
from amc.weights.export import ONNX_FILE, PT2_FILE, WEIGHTS_FILE, onnx_bytes, pt2_bytes, weights_bytes
from amc.weights.metadata import Header, ModelSpec
from amc.zoo.models.registry import TARGETS

REPORT_FILE = "report.html"
EXPORTERS = {Export.onnx: (ONNX_FILE, onnx_bytes), Export.pt2: (PT2_FILE, pt2_bytes)}


def publish(bench: Bench, run: RunFolder, result: Result, outcome: Outcome) -> Path:
    """Write everything a run leaves and return the path of its report; what may fail comes last.

    Raises:
        ModelError: the network cannot be written in a format that was asked for.
    """
    network, trials = outcome.found.model, outcome.trials
    run.write(WEIGHTS_FILE, weights_bytes(network, weights_header(bench)))
    run.write_result(result)
    for name, figure in figures(result, trials).items():
        run.write(f"{name}.png", png(figure))
    config = OmegaConf.to_yaml(OmegaConf.structured(bench.cfg))
    report = run.write(REPORT_FILE, render(result, trials, config, result.images, result.latencies))
    image = build.network_inputs(bench.splits.calibration.images[:1], bench.splits, bench.device)
    for wanted in bench.cfg.export:
        name, to_bytes = EXPORTERS[wanted]
        run.write(name, to_bytes(network, image))
    return report


def weights_header(bench: Bench) -> Header:
    """Return what ``amc.load`` needs to rebuild the pruned network; one's own network it cannot build by itself."""
    model, splits = bench.cfg.model, bench.splits
    spec = None
    if model._target_ is None:
        spec = ModelSpec(model.name, splits.num_classes, splits.in_channels, model.width)
    elif model._target_ in TARGETS:
        spec = ModelSpec(f"{TARGETS[model._target_]}/{model.name}", splits.num_classes, splits.in_channels)
    mean, std = (tuple(values.flatten().tolist()) for values in splits.normalize)
    return Header(tuple(splits.example().shape), spec, mean, std)
