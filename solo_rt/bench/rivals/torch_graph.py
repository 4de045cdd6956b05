"""An ONNX graph in eager PyTorch: each node is the PyTorch operation of its meaning, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from solo_rt.errors import SpecError


class TorchGraph(nn.Module):
    """The network of an ONNX file, with its weights; what it knows are the operations of exported SOLOv2 files."""

    def __init__(self, content: bytes) -> None:
        """Take an ONNX file. Raises: SpecError for an operation that is not known."""
        super().__init__()
        graph = onnx.load_from_string(content).graph
        self._plain: dict[str, Tensor] = {}  # shapes and sizes, which stay on the host
        for item in graph.initializer:
            value = torch.from_numpy(np.array(numpy_helper.to_array(item)))
            if value.is_floating_point() and value.numel() > 4:
                self.register_buffer(_field(item.name), value)
            else:
                self._plain[item.name] = value
        self._nodes = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in graph.node
        ]
        unknown = sorted({kind for kind, *_ in self._nodes} - set(_OPERATIONS))
        if unknown:
            raise SpecError(f"expected a graph of known operations, got {', '.join(unknown)}")
        self._input = graph.input[0].name
        self._outputs = [output.name for output in graph.output]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name for [B, 3, H, W]."""
        values = {**self._plain, self._input: image}
        buffers = dict(self.named_buffers())
        for kind, inputs, output, attributes in self._nodes:
            taken = [None if not name else values[name] if name in values else buffers[_field(name)] for name in inputs]
            values[output] = _OPERATIONS[kind](taken, attributes)
        return {name: values[name] for name in self._outputs}


def _field(name: str) -> str:
    return name.replace(".", "_")


def _conv(x: list[Any], a: Mapping[str, Any]) -> Tensor:
    top, left, bottom, right = a["pads"]
    image = x[0] if (top, left) == (bottom, right) else F.pad(x[0], (left, right, top, bottom))
    pads = (top, left) if (top, left) == (bottom, right) else (0, 0)
    bias = x[2] if len(x) > 2 else None
    return F.conv2d(image, x[1], bias, a["strides"], pads, a["dilations"], a["group"])


def _resize(x: list[Any], a: Mapping[str, Any]) -> Tensor:
    size = tuple(x[3].tolist()[2:])
    if a["mode"] == b"nearest":
        return F.interpolate(x[0], size=size, mode="nearest")
    return F.interpolate(x[0], size=size, mode="bilinear", align_corners=False)


def _pad(x: list[Any], a: Mapping[str, Any]) -> Tensor:
    pads = x[1].tolist()
    half = len(pads) // 2
    pairs = [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]
    return F.pad(x[0], pairs, value=float(x[2]))


def _slice(x: list[Any], a: Mapping[str, Any]) -> Tensor:
    found: Tensor = x[0]
    for begin, end, axis, step in zip(*(part.tolist() for part in x[1:]), strict=True):
        length = found.shape[axis]
        places = range(length)[slice(begin, end, step)]
        found = found.narrow(axis, places.start, len(places)) if step == 1 else found[(slice(None),) * axis + (places,)]
    return found


def _reshape(x: list[Any], a: Mapping[str, Any]) -> Tensor:
    sizes = [size or x[0].shape[axis] for axis, size in enumerate(x[1].tolist())]
    return x[0].reshape(sizes)  # type: ignore[no-any-return]


_OPERATIONS: dict[str, Callable[[list[Any], Mapping[str, Any]], Any]] = {
    "Add": lambda x, a: x[0] + x[1],
    "AveragePool": lambda x, a: F.avg_pool2d(x[0], a["kernel_shape"], a["strides"], a["pads"][:2]),
    "Concat": lambda x, a: torch.cat(x, a["axis"]),
    "Conv": _conv,
    "GreaterOrEqual": lambda x, a: x[0] >= x[1],
    "InstanceNormalization": lambda x, a: F.group_norm(x[0], x[0].shape[1], x[1], x[2], a["epsilon"]),
    "MaxPool": lambda x, a: F.max_pool2d(x[0], a["kernel_shape"], a["strides"], a["pads"][:2]),
    "Mul": lambda x, a: x[0] * x[1],
    "Pad": _pad,
    "Relu": lambda x, a: F.relu(x[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda x, a: torch.sigmoid(x[0]),
    "Slice": _slice,
    "Transpose": lambda x, a: x[0].permute(a["perm"]),
    "Where": lambda x, a: torch.where(x[0], x[1], x[2]),
}
