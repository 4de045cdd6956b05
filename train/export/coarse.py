"""Leaves the enlarging of logits to the run time, which only computes the pixels near a border.

The file ends where labels would begin to be made: with logits at the size the network computes them, the classes of a
pixel side by side. For 19 classes at 1024 x 2048 that saves the engine 160 MB of logits and most of the time they take.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from solo_rt.decode import decode_semantic
from solo_rt.decoders import SemanticDecoder
from solo_rt.engine.model_file import write_spec
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import ModelSpec
from solo_rt.train.export.graph import Arrays

TAIL = ("Resize", "ArgMax", "Cast")
ENLARGED: dict[bytes, Literal["corners", "half_pixel"]] = {
    b"align_corners": "corners",
    b"half_pixel": "half_pixel",
    b"pytorch_half_pixel": "half_pixel",
}


def leave_coarse(path: Path, spec: ModelSpec) -> ModelSpec:
    """Cut the making of labels off the file at `path` and return its new spec, which is written to it.

    Raises: UsageError where labels are not made of bilinearly enlarged logits.
    """
    model = onnx.load(path)
    graph = model.graph
    assert isinstance(spec.decoder, SemanticDecoder)
    resize, *rest = tail = list(graph.node)[-len(TAIL) :]
    options = {entry.name: onnx.helper.get_attribute_value(entry) for entry in resize.attribute}
    mode = ENLARGED.get(options.get("coordinate_transformation_mode", b"half_pixel"))
    if tuple(node.op_type for node in tail) != TAIL or options.get("mode") != b"linear" or mode is None:
        raise UsageError(f"output kind coarse: {spec.name} does not end in logits enlarged bilinearly; choose labels")
    coarse = next(node for node in graph.node if resize.input[0] in node.output)
    shapes = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    size = [d.dim_value for d in shapes[resize.input[0]].type.tensor_type.shape.dim]
    for node in (resize, *rest):
        graph.node.remove(node)
    coarse.output[0] = "coarse"
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("coarse", onnx.TensorProto.FLOAT, size))
    read = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    del graph.value_info[:]
    onnx.save(model, path)
    changed = replace(spec, decoder=replace(spec.decoder, output="coarse", enlarged=mode))
    write_spec(path, changed)
    return changed


def labels_of_coarse(outputs: Arrays, spec: ModelSpec) -> dict[str, NDArray[np.uint8]]:
    """Return the labels `uint8 [B, H, W]` that the run time makes of the coarse logits of a batch."""
    whole = Letterbox.fit(*[(spec.input.height, spec.input.width)] * 2)
    batch = np.asarray(outputs["coarse"], np.float32)
    pictures = [decode_semantic({"coarse": x}, spec, whole).labels for x in batch]
    return {"labels": np.stack(pictures)}
