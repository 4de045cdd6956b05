"""Half precision: the same network with float16 where it is safe."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from solo_rt.engine import find_model
from solo_rt.engine.precision import to_half
from solo_rt.errors import EngineError


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {v.name: v.type.tensor_type.elem_type for v in [*inferred.graph.value_info, *inferred.graph.output]}


def test_the_shipped_model_stays_close_and_halves_its_weights() -> None:
    model = onnx.load(find_model(None))
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    image = np.random.default_rng(0).normal(size=(1, 3, 256, 448)).astype(np.float32)
    for single, found in zip(run(model, image), run(half, image), strict=True):
        assert found.dtype == np.float32
        alike = (found == 0) == (single == 0)  # rounding decides some ties of points NMS the other way
        assert alike.mean() > 0.99
        assert np.abs(found - single)[alike].max() <= 0.02 * np.abs(single).max()
    assert len(half.SerializeToString()) < 0.56 * len(model.SerializeToString())


def test_convolutions_are_half_and_statistics_are_not() -> None:
    half = to_half(onnx.load(find_model(None)))
    types = kinds(half)
    found = {(node.op_type, types[node.output[0]]) for node in half.graph.node if node.op_type != "Cast"}
    assert ("Conv", TensorProto.FLOAT16) in found
    assert ("Conv", TensorProto.FLOAT) not in found
    assert ("InstanceNormalization", TensorProto.FLOAT) in found
    assert ("InstanceNormalization", TensorProto.FLOAT16) not in found


def test_a_tensor_is_cast_once_for_all_who_read_it() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 4] x) => (float[1, 4] y, float[1, 4] z, float[1, 4] w) {
            a = Relu(x)
            y = Exp(a)
            z = Tanh(a)
            w = Mul(a, a)
        }""")
    half = to_half(model)
    assert sorted(node.op_type for node in half.graph.node) == ["Cast", "Cast", "Cast", "Exp", "Mul", "Relu", "Tanh"]
    image = np.array([[-1, 0, 1, 2]], np.float32)
    for single, found in zip(run(model, image), run(half, image), strict=True):
        np.testing.assert_allclose(found, single, rtol=1e-3)


def test_integers_and_the_scales_of_a_resize_are_left_alone() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y, int64[1, 1, 1, 4] i)
        <float[4] scales = {1.0, 1.0, 2.0, 2.0}, float[1] roi = {0.0}> {
            y = Resize<mode = "linear">(x, , scales)
            i = ArgMax<axis = 2>(y)
        }""")
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    assert {tensor.name: tensor.data_type for tensor in half.graph.initializer} == {"scales": TensorProto.FLOAT}
    image = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    for single, found in zip(run(model, image), run(half, image), strict=True):
        np.testing.assert_allclose(found, single, rtol=1e-3)


def test_a_weight_beyond_float16_is_named() -> None:
    weight = numpy_helper.from_array(np.array([1e6], np.float32), "huge")
    node = helper.make_node("Mul", ["x", "huge"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))
    with pytest.raises(EngineError, match=r"'huge' reaches 1e\+06, beyond float16"):
        to_half(model)


def test_control_flow_is_refused() -> None:
    branch = parser.parse_graph("b () => (float[1] z) { z = Constant<value = float[1] {1.0}>() }")
    node = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch, else_branch=branch)
    model = helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        )
    )
    with pytest.raises(EngineError, match="If 'choice' holds a graph"):
        to_half(model)
