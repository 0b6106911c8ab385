"""An episode as text and as a picture: what every layer keeps so far, and which is next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.engine.types import Layer, Strategy

Pixels = NDArray[np.uint8]

BAR = 20
ROW, GAP, WIDTH, MARGIN = 10, 4, 320, 8
"""Pixels of a layer's bar, between two, of the widest, and around all."""
PAPER, DENSE, KEPT, OPEN, NEXT = (255, 255, 255), (217, 222, 228), (0, 114, 178), (135, 145, 157), (213, 94, 0)


def as_text(layers: Sequence[Layer], ratios: Strategy) -> str:
    """Return a line a layer; those behind the ratios are still to come.

    Args:
        layers: in forward order.
        ratios: executed, of the first layers.
    """
    longest = max(len(layer.name) for layer in layers)
    lines = []
    for step, layer in enumerate(layers):
        if step < len(ratios):
            kept = layer.kept(ratios[step])
            bar = "#" * max(round(BAR * kept / layer.units), 1)
            lines.append(f"{layer.name:{longest}} |{bar:.<{BAR}}| {kept} of {layer.units}")
        else:
            what = "next" if step == len(ratios) else ""
            lines.append(f"{layer.name:{longest}} |{' ' * BAR}| {what}".rstrip())
    return "\n".join(lines)


def as_image(layers: Sequence[Layer], ratios: Strategy) -> Pixels:
    """Return a bar a layer, from the first at the top, as wide as the layer has units; what is kept lies on top.

    Args:
        layers: in forward order.
        ratios: executed, of the first layers. The next layer is orange, those behind it are grey.

    Returns:
        Red, green and blue, shape ``(height, width, 3)``.
    """
    height = 2 * MARGIN + len(layers) * (ROW + GAP) - GAP
    image = np.full((height, WIDTH + 2 * MARGIN, 3), PAPER, dtype=np.uint8)
    widest = max(layer.units for layer in layers)
    for step, layer in enumerate(layers):
        top = MARGIN + step * (ROW + GAP)
        dense = max(round(WIDTH * layer.units / widest), 1)
        image[top : top + ROW, MARGIN : MARGIN + dense] = DENSE
        keep = ratios[step] if step < len(ratios) else 1.0
        colour = KEPT if step < len(ratios) else (NEXT if step == len(ratios) else OPEN)
        kept = max(round(dense * layer.kept(keep) / layer.units), 1)
        image[top : top + ROW, MARGIN : MARGIN + kept] = colour
    return image
