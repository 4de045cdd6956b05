"""INT8 as explicit quantise/dequantise pairs around convolutions, calibrated on the user's own pictures."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from solo_rt.errors import UsageError

Float32 = NDArray[np.float32]
WEIGHT_STEPS = 64  # from 0 to the largest value, on either side
CALIBRATION_PICTURES = 64  # enough for the range of every activation; more changes little
SAMPLED = 8  # of them, to see which convolutions are rough
LEAST_SIGNAL = 10**2.5  # power of a convolution's input for one of rounding, 25 dB


# Note [What stays in float32]
# Convolutions that no other one follows (class scores, dynamic kernels, mask features, classifiers), as the results
# hang on them. The first ones: three channels fill no instruction, and theirs is the finest picture there is. Depthwise
# ones: their channels differ in range by far more than the 255 steps they would share, and take little time. Points
# lost on 100 held-out frames by solov2-nano (AP) and fast-scnn (mIoU), with ranges of the largest values: 0.9 and 18.1;
# with the mean of each picture's largest ones, and the first convolutions in float32: 0.1 and 11.8; and depthwise ones
# too: 0.1 and 2.0. Zero points other than 0 gain as much, but TensorRT does not take them and OpenVINO is slower.
# And those whose input suffers most from 255 steps: of fast-scnn's, each in INT8 alone, the one with 21 dB of signal to
# rounding loses 14.9 points of labels, those with 22 to 25 dB 0.1 to 0.5, most others less. Without those 3.5 points
# are 1.0. solov2-nano has none below 26 dB.


# Note [Weights have 7 bits]
# An x86 without VNNI adds products of 8 bits two by two in 16, where 127 times 127 twice is too much for some engines.
# Points of AP lost by solov2-nano on 300 held-out frames with weights of 8 and of 7 bits: OpenVINO on AVX2 0.28 and
# 0.02; computed exactly, on 100, 0.09 and 0.03.


def quantise(model: ModelProto, pictures: Iterable[Float32]) -> ModelProto:
    """Return a copy of `model` whose convolutions compute in INT8, but for those of Note [What stays in float32].

    `pictures` are inputs of the network, `float32 [B, 3, H, W]`. Weights are symmetric per channel, in 129 steps,
    activations symmetric per tensor, in 255, ranges the mean over the pictures of the largest values. Nodes of `model`
    without a name get one.
    Raises: UsageError when there is no picture.
    """
    given = iter(pictures)
    sample = list(islice(given, SAMPLED))
    if not sample:
        raise UsageError("calibration: expected at least one picture, got none")
    for place, node in enumerate(model.graph.node):  # the quantiser tells them apart by their names
        node.name = node.name or f"node {place}"
    reader = _Reader(picture_name(model), chain(sample, given))
    kept = {*last_convolutions(model), *first_convolutions(model), *depthwise(model), *rough(model, sample)}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=sorted(kept),
            per_channel=True,
            reduce_range=True,  # of the weights, see Note [Weights have 7 bits]
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


def picture_name(model: ModelProto) -> str:
    """Return the name of the input for pictures: older files list their weights among the inputs."""
    stored = {tensor.name for tensor in model.graph.initializer}
    name: str = next(value.name for value in model.graph.input if value.name not in stored)
    return name


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
    picture = picture_name(model)
    return [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] == picture]


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


def rough(model: ModelProto, pictures: Sequence[Float32]) -> list[str]:
    """Return the names of the convolutions whose input, in INT8, has less than `LEAST_SIGNAL` of signal to rounding."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    names = sorted({node.input[0] for node in convolutions})
    if not names:
        return []
    inside = ModelProto()
    inside.CopyFrom(model)
    del inside.graph.output[:]
    for name in names:
        for kind in ("ReduceMax", "ReduceMin", "ReduceSumSquare", "Size"):
            inside.graph.node.append(onnx.helper.make_node(kind, [name], [f"{kind} of {name}"]))
            inside.graph.output.append(onnx.ValueInfoProto(name=f"{kind} of {name}"))
    session = InferenceSession(inside.SerializeToString())
    values = [session.run(None, {picture_name(model): picture}) for picture in pictures]
    found = np.array([[value.item() for value in each] for each in values], np.float64)
    most, least, squares, sizes = found.reshape(len(pictures), len(names), 4).transpose(2, 0, 1)
    step = np.maximum(most, -least).mean(0) / 127
    rounding = step**2 / 12  # the power of an error that is anywhere between half a step less and half a step more
    is_rough = dict(zip(names, (squares / sizes).mean(0) < LEAST_SIGNAL * rounding, strict=True))
    return [node.name for node in convolutions if is_rough[node.input[0]]]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands pictures to the calibrator one by one."""

    def __init__(self, name: str, pictures: Iterator[Float32]) -> None:
        self._name, self._pictures = name, pictures

    def get_next(self) -> dict[str, Float32] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {self._name: picture}


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
