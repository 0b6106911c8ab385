"""The pruned network of a run in other formats, each compared with torch, and what eight bits cost."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from amc.deploy.saved_run import saved_config, saved_network
from amc.errors import ConfigError
from amc.measurement.latency import Latency
from amc.measurement.on_device import open_session
from amc.report.tables import milliseconds, percent, size, times
from amc.run.plan import load_data
from amc.runtimes.exports import INT8_FILE, export_network, loading_lines
from amc.runtimes.int8 import int8_bytes
from amc.runtimes.runtime import missing
from amc.runtimes.timed_runs import time_files
from amc.store.digests import add_checksums
from amc.store.durable_files import remove_partial_files, write_file
from amc.weights.export import ONNX_FILE, WEIGHTS_FILE
from amc.weights.loading import read_header
from amc.zoo.data.device_data import DeviceData

ONE_POINT = 0.01
SAMPLES = 8
EVALUATION_BATCH = 250


def export_run(folder: Path, wanted: str, output: Path, *, int8: bool = False, own_code: bool = False) -> Iterator[str]:
    """Write the network of a run in a format, and yield what there is to say, line by line.

    Args:
        folder: of the run.
        wanted: one of ``FORMATS``.
        output: folder to write to.
        int8: write it in eight-bit integers beside.
        own_code: whether functions that the run's configuration names may be called.

    Raises:
        ConfigError: a package is missing.
        ModelError: the network cannot be written, or computes something else in the other runtime.
        RefusedInput: the folder holds no network, or names code that may not be called.
    """
    header = read_header(folder)
    built = ("model", "data") if header.model is None else ("data",) if int8 else ()
    cfg = saved_config(folder, built, own_code=own_code)
    shape = tuple(header.input_shape[1:])
    if int8 and (lack := missing("onnxruntime-cpu")):
        raise ConfigError(f"--int8 needs {lack}")
    data = load_data(cfg) if int8 or header.model is None else None
    network = saved_network(folder, cfg, data)
    remove_partial_files(output, "pruned*", alone=False)
    written = [INT8_FILE] if int8 else []
    if wanted == "safetensors":
        write_file(output / WEIGHTS_FILE, (folder / WEIGHTS_FILE).read_bytes())
        written.append(WEIGHTS_FILE)
        yield from _written(output / WEIGHTS_FILE, shape, "the weights themselves")
    else:
        generator = torch.Generator().manual_seed(0)
        exported = export_network(network, wanted, torch.randn(SAMPLES, *shape, generator=generator))
        for name, content in exported.files.items():
            write_file(output / name, content)
            written.append(name)
        difference = exported.difference
        compared = "not compared: pip install onnxruntime" if difference is None else f"differs by {difference:.1e}"
        yield from _written(output / exported.name, shape, f"outputs against torch's: {compared}")
    if header.mean and any(header.mean):
        mean, deviation = (", ".join(f"{value:.4g}" for value in each) for each in (header.mean, header.std))
        yield f"normalised: (bytes - [{mean}]) / [{deviation}], by channel"
    if int8 and data is not None:
        yield from _in_int8(data, output, shape)
    if output.resolve() == folder.resolve():
        add_checksums(folder, written)


def _written(path: Path, shape: tuple[int, ...], remark: str) -> Iterator[str]:
    yield f"{path}: {size(path.stat().st_size)}, {remark}"
    yield loading_lines(path, shape)


def _in_int8(data: DeviceData, output: Path, shape: tuple[int, ...]) -> Iterator[str]:
    """Write the network in eight-bit integers, and say what that costs and brings."""
    splits = data.splits
    content = (output / ONNX_FILE).read_bytes()
    small = int8_bytes(content, data.inputs(splits.calibration.images))
    path = write_file(output / INT8_FILE, small)
    images, labels = data.inputs(splits.test.images), splits.test.labels
    before, after = _top1(content, images, labels), _top1(small, images, labels)
    warning = "" if before - after <= ONE_POINT else ": more than a point; fine-tuning for eight bits is not done here"
    yield from _written(path, shape, f"top-1 on test {percent(after)}, in float32 {percent(before)}{warning}")
    rows: list[Latency] = time_files({"float32": content, "int8": small}, images[:1], batches=(1, 32))
    for row in rows:
        ratio = "" if row.network == "float32" else f", {times(row.speedup)} as fast as float32"
        unsteady = "" if row.steady else " (not steady: the machine is busy)"
        yield f"{row.network}, batch {row.batch}: {milliseconds(row.median_ms)}{ratio}{unsteady}"


def _top1(content: bytes, images: Tensor, labels: Tensor) -> float:
    session = open_session(content, threads=1)
    name = session.get_inputs()[0].name
    correct = 0
    for batch, wanted in zip(images.cpu().split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
        logits = torch.from_numpy(session.run(None, {name: batch.contiguous().numpy()})[0])
        correct += int((logits.argmax(1) == wanted).sum())
    return correct / len(labels)
