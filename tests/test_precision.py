"""Half precision: the same network with float16 where it is safe."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from half_twin import run_half
from onnx import TensorProto, helper, numpy_helper, parser

from solo_rt.builder import precision
from solo_rt.builder.precision import to_half
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.errors import EngineError


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})


def shipped() -> onnx.ModelProto:
    """Return the shipped network without the nodes that decode."""
    path = find_model(None)
    return onnx.load_from_string(heads_alone(path.read_bytes(), read_spec(path).output_shapes))


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {v.name: v.type.tensor_type.elem_type for v in [*inferred.graph.value_info, *inferred.graph.output]}


def test_the_shipped_model_stays_close_and_halves_its_weights() -> None:
    model = shipped()
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
    half = to_half(shipped())
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


ATTENTION_OF_CHANNELS = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[1, 4, 600] x) => (float[1, 4, 600] y) {
        turned = Transpose<perm = [0, 2, 1]>(x)
        products = MatMul(x, turned)
        opposite = Neg(products)
        shares = Softmax<axis = 2>(opposite)
        y = MatMul(shares, x)
    }"""
DISTANCES = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[1, 3, 6000] x) => (float[1, 2, 3] y)
    <float[2, 3] words = {20.0, 30.0, 25.0, 21.0, 29.0, 25.5}, float two = {2.0}, float[1] factor = {-0.5},
     float[2, 1] squares_of_words = {1925.0, 1932.25}, int64[1] channels = {1}, int64[1] pixels = {2}> {
        squares = Mul(x, x)
        sums = ReduceSum<keepdims = 1>(squares, channels)
        both = Add(sums, squares_of_words)
        products = MatMul(words, x)
        twice = Mul(products, two)
        distances = Sub(both, twice)
        exponents = Mul(distances, factor)
        shares = Softmax<axis = 1>(exponents)
        turned = Transpose<perm = [0, 2, 1]>(x)
        sum_of_all = MatMul(shares, turned)
        counts = ReduceSum<keepdims = 1>(shares, pixels)
        sums_of_words = Mul(counts, words)
        y = Sub(sum_of_all, sums_of_words)
    }"""


def in_half(text: str) -> set[str]:
    """Return the tensors of a graph that are computed in float16."""
    half = to_half(parser.parse_model(text))
    types = kinds(half)
    computed = [name for node in half.graph.node if node.op_type != "Cast" for name in node.output]
    return {name.removesuffix(".half") for name in computed if types[name] == TensorProto.FLOAT16}


@pytest.mark.parametrize("text", [ATTENTION_OF_CHANNELS, DISTANCES], ids=["channels", "distances"])
def test_large_sums_are_those_of_single_precision(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = parser.parse_model(text)
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(0).normal(24, 3, shape).astype(np.float16).astype(np.float32)  # sums pass 65,504
    (single,), (half,) = run(model, image), run_half(to_half(model), image)
    tolerance = 2e-3 * np.abs(single).max()
    np.testing.assert_allclose(half, single, rtol=0, atol=tolerance)
    monkeypatch.setattr(precision, "_near_large_sums", lambda graph, kinds, weights: set())
    (rounded,) = run_half(to_half(model), image)
    assert not np.abs(rounded - single).max() < 10 * tolerance  # true of NaN, too


def test_only_the_mean_of_channel_attention_is_half() -> None:
    assert in_half(ATTENTION_OF_CHANNELS) == {"y"}


def test_distances_are_single_as_far_as_their_arithmetic_goes() -> None:
    assert in_half(DISTANCES) == set()


@pytest.mark.parametrize(
    ("lines", "halves"),
    [
        ("s = Softmax<axis = 2>(b)  p = MatMul(s, a)", True),
        ("s = Softmax(b)  p = MatMul(s, a)", True),
        ("s = Softmax<axis = 1>(b)  p = MatMul(s, a)", False),
        ("s = Softmax<axis = 1>(b)  p = MatMul(a, s)", True),
        ("s = Softmax<axis = -1>(b)  p = MatMul(a, s)", False),
        ("s = Softmax<axis = -1>(b)  t = Transpose<perm = [0, 2, 1]>(s)  p = MatMul(a, t)", True),
        ("s = Softmax<axis = 0>(b)  t = Transpose(s)  p = MatMul(t, a)", True),
        ("s = Softmax<axis = 1>(b)  t = Slice(s, one, three, one)  p = MatMul(a, t)", True),
        ("p = MatMul(a, weights)", True),
        ("t = Transpose(weights)  p = MatMul(a, t)", False),
        ("p = MatMul(a, b)", False),
    ],
)
def test_a_product_with_shares_of_what_it_sums_is_half(lines: str, halves: bool) -> None:
    found = in_half(f"""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[3, 3, 3] x) => (float y)
        <float[3, 3] weights = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}},
         int64[1] one = {{0}}, int64[1] three = {{3}}> {{
            a = Relu(x)
            b = Sigmoid(x)
            {lines}
            y = ReduceMax<keepdims = 0>(p)
        }}""")
    assert ("p" in found) == halves


def test_arithmetic_elsewhere_is_half() -> None:
    found = in_half("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 4, 4] x) => (float[1, 4, 4] y) {
            a = Relu(x)
            b = Sigmoid(x)
            elsewhere = Mul(a, b)
            product = MatMul(a, b)
            summed = Add(product, elsewhere)
            bounded = Sigmoid(summed)
            after = Add(bounded, a)
            y = Mul(after, a)
        }""")
    assert found == {"a", "b", "bounded", "after", "y"}  # "elsewhere" is added to what is large


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
