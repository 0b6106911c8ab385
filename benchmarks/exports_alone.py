"""Whether exported networks run where only onnxruntime and NumPy are, and predict there what they do in torch.

``python -m benchmarks.exports_alone``: every network of the zoo, cut to about half by channels, and masked by each of
the granularities that leave layers their size, is written as ONNX. A fresh virtual environment that holds onnxruntime
and NumPy alone loads the files and predicts 100 images. Weights are drawn at random and norms measured on images.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from amc.runtimes.exports import export_network
from amc.zoo.models.registry import MODELS, build_model
from envs.engine.settings import EngineSettings
from envs.engine.surgery.masking import without_masks
from envs.engine.torch_engine import TorchEngine
from envs.engine.types import Evaluation

GRANULARITIES = ("channel", "kernel", "vector", "element", "n_m")
IMAGES, KEEP, SIZE, WIDTH = 100, 0.7, 28, 0.5
ALONE = """\
import sys
from pathlib import Path

import numpy as np
import onnxruntime

assert not any(name in sys.modules for name in ("torch", "amc"))
images = np.load("images.npy")
for path in sorted(Path().glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.save(path.with_suffix(".npy"), session.run(None, {"images": images})[0])
"""


def pruned(name: str, granularity: str, images: torch.Tensor) -> nn.Module:
    """Return a network of the zoo, pruned, in eval mode."""
    torch.manual_seed(0)
    network = build_model(name, 10, 1, WIDTH)
    with torch.no_grad():
        for _ in range(3):
            network(images)
    settings = EngineSettings(granularity=granularity, reconstruct=False, adaptive_bn=0)
    engine = TorchEngine(network.eval(), images, images, lambda _: Evaluation(0.0, 0.0, 1), settings)
    ratios = np.random.default_rng(0).uniform(KEEP - 0.2, KEEP + 0.2, len(engine.layers))
    return without_masks(engine.prune(tuple(map(float, ratios))))


def exported(folder: Path, images: torch.Tensor, asked: Namespace) -> Iterator[tuple[str, torch.Tensor]]:
    """Write every network's file, and yield its name with what it computes in torch."""
    for name in asked.networks:
        for granularity in asked.granularities:
            network = pruned(name, granularity, images)
            (folder / f"{name}-{granularity}.onnx").write_bytes(
                export_network(network, "onnx", images[:8]).files["pruned.onnx"]
            )
            with torch.inference_mode():
                yield f"{name}-{granularity}", network(images)


def main() -> None:
    """Print a row for every network, and how many predict alike."""
    parser = ArgumentParser(prog="python -m benchmarks.exports_alone")
    parser.add_argument("--networks", nargs="+", default=list(MODELS))
    parser.add_argument("--granularities", nargs="+", default=GRANULARITIES)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = torch.randn(IMAGES, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", images.numpy())
        expected = dict(exported(folder, images, asked))
        venv.create(folder / "alone", with_pip=True)
        python = folder / "alone" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        alone: dict[str, Any] = {"cwd": folder, "env": os.environ | {"ORT_DISABLE_TELEMETRY": "1"}, "check": True}
        for command in (["-m", "pip", "install", "--quiet", "onnxruntime", "numpy"], ["-I", "-c", ALONE]):
            subprocess.run([python, *command], **alone)  # noqa: S603  commands of this file
        alike = 0
        for each, logits in expected.items():
            found = torch.from_numpy(np.load(folder / f"{each}.npy", allow_pickle=False))
            same = int((found.argmax(1) == logits.argmax(1)).sum())
            apart = float((found - logits).abs().max() / logits.abs().max())
            alike += same == IMAGES
            print(f"| {each} | {same} of {IMAGES} | {apart:.1e} |", flush=True)
    print(json.dumps({"networks": len(expected), "all predictions equal": alike}))


if __name__ == "__main__":
    main()
