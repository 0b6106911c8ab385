"""A finished run as files: weights, result, pictures, report, and the formats asked for."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from amc.config.schema import ModelConfig
from amc.report.html import render
from amc.report.plots import figures, png
from amc.store.results import Result, RunFolder
from amc.weights.export import ONNX_FILE, PT2_FILE, onnx_bytes, pt2_bytes
from amc.weights.metadata import Header, ModelSpec
from amc.zoo.data.dataset import Splits
from amc.zoo.models.registry import TARGETS
from envs.search import Trial

REPORT_FILE = "report.html"
EXPORTERS = {"onnx": (ONNX_FILE, onnx_bytes), "pt2": (PT2_FILE, pt2_bytes)}


def publish(run: RunFolder, result: Result, trials: Sequence[Trial], config: str) -> Path:
    """Write the result, its pictures and its report, and return the report's path.

    Args:
        run: the run's folder.
        result: what was found.
        trials: of the last search.
        config: the configuration as YAML, for the report.
    """
    run.write_result(result)
    for name, figure in figures(result, trials).items():
        run.write(f"{name}.png", png(figure))
    return run.write(REPORT_FILE, render(result, trials, config, result.images, result.latencies))


def export(run: RunFolder, network: nn.Module, example: Tensor, formats: Sequence[str]) -> None:
    """Write a network in further formats.

    Args:
        run: the run's folder.
        network: the pruned network.
        example: one of its inputs, shape ``(1, ...)``.
        formats: of ``EXPORTS``.

    Raises:
        ModelError: the network cannot be written in one of them.
    """
    for wanted in formats:
        name, to_bytes = EXPORTERS[wanted]
        run.write(name, to_bytes(network, example))


def weights_header(model: ModelConfig, splits: Splits) -> Header:
    """Return what ``amc.load`` needs to rebuild the pruned network; one's own network it cannot build by itself."""
    spec = None
    if model._target_ is None:
        spec = ModelSpec(model.name, splits.num_classes, splits.in_channels, model.width)
    elif model._target_ in TARGETS:
        spec = ModelSpec(f"{TARGETS[model._target_]}/{model.name}", splits.num_classes, splits.in_channels)
    mean, std = (tuple(values.flatten().tolist()) for values in splits.normalize)
    return Header(tuple(splits.example().shape), spec, mean, std)
