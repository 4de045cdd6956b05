"""INT8: ranges from pictures, convolutions between quantise/dequantise pairs, the outermost ones left alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from half_twin import run_half
from onnx import TensorProto, numpy_helper, parser

from solo_rt.builder.precision import to_half
from solo_rt.builder.quantise import depthwise, first_convolutions, last_convolutions, quantise, rough
from solo_rt.errors import UsageError

RNG = np.random.default_rng(0)


@pytest.fixture
def model() -> onnx.ModelProto:
    """Return five convolutions in a row, one of them depthwise, the last behind a side branch."""
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[1, 3, 24, 24] image) => (float[1, 4, 24, 24] main, float[1, 4, 24, 24] side) {
            a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(image, w1)
            b = Relu(a)
            c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(b, w2)
            d = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 4>(c, w3)
            e = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(d, w4)
            main = Conv<kernel_shape = [1, 1]>(e, w5)
            side = Sigmoid(e)
        }""")
    names = ("first", "second", "apart", "fourth", "last")
    for node, name in zip((node for node in model.graph.node if node.op_type == "Conv"), names, strict=True):
        node.name = name
    shapes = {"w1": (4, 3, 3, 3), "w2": (4, 4, 3, 3), "w3": (4, 1, 3, 3), "w4": (4, 4, 3, 3), "w5": (4, 4, 1, 1)}
    for name, shape in shapes.items():
        values = RNG.normal(0, 0.3, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def pictures(count: int) -> list[np.ndarray]:
    return [RNG.normal(size=(1, 3, 24, 24)).astype(np.float32) for _ in range(count)]


def test_last_convolutions_are_those_an_output_sees_first(model: onnx.ModelProto) -> None:
    assert last_convolutions(model) == ["fourth", "last"]


def test_first_convolutions_see_the_picture_and_depthwise_ones_a_channel_each(model: onnx.ModelProto) -> None:
    assert (first_convolutions(model), depthwise(model)) == (["first"], ["apart"])


def test_rough_ones_have_an_input_with_values_far_above_most_others(model: onnx.ModelProto) -> None:
    fine = pictures(4)
    assert rough(model, fine) == []
    spotted = [picture.copy() for picture in fine]
    for picture in spotted:
        picture[0, 0, 4, 4] = 100
    assert rough(model, spotted)[0] == "first"
    assert rough(model, [np.zeros_like(fine[0])]) == []


@pytest.mark.parametrize(("peak", "is_rough"), [(30.5, False), (31.1, True), (-30.5, False), (-31.1, True)])
def test_rough_is_less_than_25_db_of_signal_to_rounding(model: onnx.ModelProto, peak: float, is_rough: bool) -> None:
    picture = np.ones((1, 3, 24, 24), np.float32)
    picture[0, 0, 4, 4] = peak
    signal, rounding = np.square(picture).mean(), (peak / 127) ** 2 / 12
    assert bool(10 * np.log10(signal / rounding) < 25) is is_rough
    assert ("first" in rough(model, [picture])) is is_rough


def test_only_the_others_are_quantised_and_the_result_stays_close(model: onnx.ModelProto) -> None:
    quantised = quantise(model, pictures(4))
    makers = {name: node for node in quantised.graph.node for name in node.output}
    convolutions = [node for node in quantised.graph.node if node.op_type == "Conv" and node.input[1] in makers]
    kinds = {node.name: makers[node.input[1]].op_type for node in convolutions}
    assert kinds == {"second": "DequantizeLinear"}
    (weights,) = (tensor for tensor in quantised.graph.initializer if tensor.name.startswith("w2_quantized"))
    assert np.abs(numpy_helper.to_array(weights).astype(int)).max((1, 2, 3)).tolist() == [64] * 4  # 7 bits
    image = pictures(1)[0]
    for exact, found in zip(run(model, image), run(quantised, image), strict=True):
        assert 0 < np.abs(exact - found).mean() < 0.05 * np.abs(exact).mean()


def types_of(model: onnx.ModelProto) -> dict[str, set[int]]:
    """Return the element types of the first outputs, by operator, and by name for convolutions."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    values = [*inferred.graph.value_info, *inferred.graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        found.setdefault(node.name if node.op_type == "Conv" else node.op_type, set()).add(kinds[node.output[0]])
    return found


def test_nodes_without_names_and_weights_among_the_inputs_change_nothing(model: onnx.ModelProto) -> None:
    expected = quantise(model, pictures(4))
    picture = model.graph.input.pop()
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    model.graph.input.append(picture)
    for node in model.graph.node:
        node.name = ""
    found = quantise(model, pictures(4))
    kinds = [[node.op_type for node in one.graph.node] for one in (expected, found)]
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_what_surrounds_them_is_half_precision_on_a_card(model: onnx.ModelProto) -> None:
    quantised = quantise(model, pictures(4))
    half = to_half(quantised)
    onnx.checker.check_model(half, full_check=True)
    assert [opset.version for opset in half.opset_import] == [19]
    types = types_of(half)
    assert {kind for name, kinds in types.items() if name not in ("Cast", "QuantizeLinear") for kind in kinds} == {
        TensorProto.FLOAT16
    }
    assert types["QuantizeLinear"] == {TensorProto.INT8}
    image = pictures(1)[0]
    for exact, found in zip(run(quantised, image), run_half(half, image), strict=True):
        assert np.abs(exact - found).mean() < 0.02 * np.abs(exact).mean()


def test_a_convolution_whose_scales_half_precision_cannot_hold_stays_in_float32(model: onnx.ModelProto) -> None:
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == "w2")
    values = numpy_helper.to_array(weights).copy()
    values[1] *= 1e-4  # scales of 1e-7
    weights.CopyFrom(numpy_helper.from_array(values, "w2"))
    quantised = quantise(model, pictures(4))
    half = to_half(quantised)
    types = types_of(half)
    assert (types["second"], types["first"], types["last"]) == (
        {TensorProto.FLOAT}, {TensorProto.FLOAT16}, {TensorProto.FLOAT16},
    )  # fmt: skip
    (second,) = (node for node in half.graph.node if node.name == "second")
    makers = {name: node.op_type for node in half.graph.node for name in node.output}
    assert [makers[name] for name in second.input] == ["DequantizeLinear"] * 2  # no cast between, which would end INT8
    image = pictures(1)[0]
    for exact, found in zip(run(quantised, image), run_half(half, image), strict=True):
        assert np.abs(exact - found).mean() < 0.02 * np.abs(exact).mean()


def test_one_picture_out_of_line_does_not_spoil_the_ranges(model: onnx.ModelProto) -> None:
    usual = pictures(8)
    image = usual[0]
    (exact, _), (found, _) = run(model, image), run(quantise(model, [*usual, 20 * image]), image)
    assert np.abs(exact - found).max() < 0.05 * np.abs(exact).max()


def test_no_picture_is_a_usage_error(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="at least one picture"):
        quantise(model, [])


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """Return the outputs, computed in float32: on CPUs without instructions for INT8 sums of products saturate."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})
