"""Code that uses what a run left, with the run's own folder in it."""

import shlex
from typing import NamedTuple

ZOO = """\
import amc
from amc.weights.loading import read_header

folder = {folder!r}
model = amc.load(folder)  # a torch.nn.Module on the CPU, in eval mode
images = read_header(folder).normalization(byte_images)  # bytes, (n, channels, height, width)
logits = model(images)
"""
OWN = """\
import amc
from amc.weights.loading import read_header

folder = {folder!r}
model = amc.load(folder, model=dense)  # dense: the network that was pruned, or a function that builds it
images = read_header(folder).normalization(own_images)  # as the data has them: bytes of files, or floats as they are
logits = model(images)
"""
FILES = {"onnx": "pruned.onnx", "openvino": "pruned.xml", "pt2": "pruned.pt2"}
EXPORTS = {
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession({file!r})
logits = session.run(None, {{"images": images.numpy()}})[0]  # normalised as above; mean and std are the header's
""",
    "openvino": """\
import openvino

network = openvino.Core().compile_model({file!r}, "CPU")
logits = network([images.numpy()])[0]  # normalised as above
""",
    "pt2": """\
import torch

network = torch.export.load({file!r}).module()
logits = network(images)  # normalised as above
""",
}
"""How a network is loaded that was exported; ``images`` is a normalised batch in float32."""


class Snippet(NamedTuple):
    """What code is for, the command that comes before it, if any, and the code."""

    title: str
    command: str
    code: str


def snippets(folder: str, *, in_zoo: bool) -> list[Snippet]:
    """Return what to do, and the code for it: for PyTorch, and for every format that networks are exported in.

    Args:
        folder: of the run, as code is to name it.
        in_zoo: whether the network can be built from what the file says.
    """
    exported = [
        Snippet(
            "After", f"python -m amc.export {shlex.quote(folder)} --format {name}", code.format(file=f"{folder}/{file}")
        )
        for (name, code), file in zip(EXPORTS.items(), FILES.values(), strict=True)
    ]
    return [Snippet("In PyTorch", "", (ZOO if in_zoo else OWN).format(folder=folder)), *exported]
