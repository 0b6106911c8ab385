"""Code that uses what a run left, with the run's own folder in it."""

import shlex

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

folder = {folder!r}
model = amc.load(folder, model=dense)  # dense: the network that was pruned, or a function that builds it
"""
EXPORTS = {
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession({folder!r} + "/pruned.onnx")
logits = session.run(None, {{"images": images}})[0]
""",
    "openvino": """\
import openvino

network = openvino.Core().compile_model({folder!r} + "/pruned.xml", "CPU")
logits = network([images])[0]
""",
    "pt2": """\
import torch

network = torch.export.load({folder!r} + "/pruned.pt2").module()
logits = network(images)
""",
}
"""How a network is loaded that was exported; ``images`` is a normalised batch in float32."""


def snippets(folder: str, *, in_zoo: bool) -> list[tuple[str, str]]:
    """Return what to do, and the code for it: for PyTorch, and for every format that networks are exported in.

    Args:
        folder: of the run, as code is to name it.
        in_zoo: whether the network can be built from what the file says.
    """
    python = ("In PyTorch:", (ZOO if in_zoo else OWN).format(folder=folder))
    exported = [
        (f"After python -m amc.export {shlex.quote(folder)} --format {name}:", code.format(folder=folder))
        for name, code in EXPORTS.items()
    ]
    return [python, *exported]
