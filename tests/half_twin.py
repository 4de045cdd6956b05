"""A graph in half precision as a GPU computes it, on a CPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper


def run_half(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of what `to_half` made: each float16 tensor is computed in float32 and then rounded.

    Left alone, ONNX Runtime computes chains of such operators in float32 without the roundings between.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    del twin.graph.node[:]
    for i, node in enumerate(model.graph.node):
        single = onnx.NodeProto()
        single.CopyFrom(node)
        after = []
        if node.op_type != "Cast":
            for j, name in enumerate(node.input):
                if name.endswith(".half"):
                    single.input[j] = f"{name}.{i}.{j}"
                    twin.graph.node.append(helper.make_node("Cast", [name], [single.input[j]], to=TensorProto.FLOAT))
            for j, name in enumerate(node.output):
                if name.endswith(".half"):
                    single.output[j] = f"{name}.single"
                    after.append(helper.make_node("Cast", [single.output[j]], [name], to=TensorProto.FLOAT16))
        twin.graph.node.extend([single, *after])
    session = ort.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})
