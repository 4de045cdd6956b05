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


# Note [What stays in float32]
# Convolutions that no other one follows (class scores, dynamic kernels, mask features, classifiers), as the results
# hang on them. The first ones: three channels fill no instruction, and theirs is the finest picture there is. Depthwise
# ones: their channels differ in range by far more than the 255 steps they would share, and take little time. Points
# lost on 100 held-out frames by solov2-nano (AP) and fast-scnn (mIoU), with ranges of the largest values: 0.9 and 18.1;
# with the mean of each picture's largest ones, and the first convolutions in float32: 0.1 and 11.8; and depthwise ones
# too: 0.1 and 2.0. Zero points other than 0 gain as much, but TensorRT does not take them and OpenVINO is slower.


def quantise(model: ModelProto, pictures: Iterable[Float32]) -> ModelProto:
    """Return a copy of `model` whose convolutions compute in INT8, but for those of Note [What stays in float32].

    `pictures` are inputs of the network, `float32 [B, 3, H, W]`. Weights are symmetric per channel, activations
    symmetric per tensor, ranges the mean over the pictures of the largest values.
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
            nodes_to_exclude=sorted({*last_convolutions(model), *first_convolutions(model), *depthwise(model)}),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,  # TensorRT takes no 32-bit integers
                "CalibMovingAverage": True,  # the mean over the pictures
            },
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


def first_convolutions(model: ModelProto) -> list[str]:
    """Return the names of the convolutions of the picture itself."""
    pictures = {value.name for value in model.graph.input}
    return [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] in pictures]


def depthwise(model: ModelProto) -> list[str]:
    """Return the names of the convolutions whose channels are computed apart from one another."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and node.input[1] in shapes
        and shapes[node.input[1]][1] == 1 < shapes[node.input[1]][0]
    ]


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
