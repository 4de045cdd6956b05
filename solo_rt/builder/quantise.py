"""INT8 as explicit quantise/dequantise pairs around convolutions, calibrated on the user's own pictures."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from solo_rt.errors import UsageError

Float32 = NDArray[np.float32]
CALIBRATION_PICTURES = 64  # enough for the range of every activation; more changes little


def quantise(model: ModelProto, pictures: Iterable[Float32]) -> ModelProto:
    """Return a copy of `model` whose convolutions, but for the last ones, compute in INT8.

    `pictures` are inputs of the network, `float32 [B, 3, H, W]`. Weights are symmetric per channel, activations
    symmetric per tensor, ranges the largest values seen. Convolutions that no other one follows (class scores, dynamic
    kernels, mask features, classifiers) keep their precision, as the results hang on them.
    Raises: UsageError when there is no picture.
    """
    reader = _Reader(model.graph.input[0].name, iter(pictures))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=last_convolutions(model),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return onnx.load(target)


def last_convolutions(model: ModelProto) -> list[str]:
    """Return the names of the convolutions from which a graph output can be reached without another convolution."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    seen: set[str] = set()
    open_names = [value.name for value in model.graph.output]
    while open_names:
        node = makers.get(open_names.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type == "Conv":
            found.add(node.name)
        else:
            open_names.extend(node.input)
    return sorted(found)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands pictures to the calibrator one by one."""

    def __init__(self, name: str, pictures: Iterator[Float32]) -> None:
        self._name, self._pictures = name, pictures
        self._given = 0

    def get_next(self) -> dict[str, Float32] | None:
        picture = next(self._pictures, None)
        if picture is None:
            if not self._given:
                raise UsageError("calibration: expected at least one picture, got none")
            return None
        self._given += 1
        return {self._name: picture}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice on preprocessing from the user: the graph has been folded already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
