"""A network in eight-bit integers, for onnxruntime: its own static quantisation on calibration images."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from amc.measurement.on_device import load_onnxruntime

CALIBRATION_BATCH = 50


def int8_bytes(content: bytes, images: Tensor) -> bytes:
    """Return an ONNX file whose weights and activations are eight-bit integers.

    Weights have a scale for each channel, activations one for each tensor, between the smallest and largest value seen.

    Args:
        content: the file in float32.
        images: calibration images as the network takes them.
    """
    load_onnxruntime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self, name: str) -> None:
            self._batches: Iterator[Any] = iter(images.detach().cpu().split(CALIBRATION_BATCH))
            self._name = name

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {self._name: np.ascontiguousarray(batch.numpy())}

    import onnx

    with tempfile.TemporaryDirectory() as folder:
        source, ready, target = (Path(folder) / name for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        source.write_bytes(content)
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        name = onnx.load(str(source)).graph.input[0].name
        quantize_static(
            str(ready),
            str(target),
            Reader(name),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return target.read_bytes()
