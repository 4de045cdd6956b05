"""INT8: ranges from pictures, convolutions between quantise/dequantise pairs, the outermost ones left alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

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


def test_only_the_others_are_quantised_and_the_result_stays_close(model: onnx.ModelProto) -> None:
    quantised = quantise(model, pictures(4))
    makers = {name: node for node in quantised.graph.node for name in node.output}
    convolutions = [node for node in quantised.graph.node if node.op_type == "Conv" and node.input[1] in makers]
    kinds = {node.name: makers[node.input[1]].op_type for node in convolutions}
    assert kinds == {"second": "DequantizeLinear"}
    image = pictures(1)[0]
    for exact, found in zip(run(model, image), run(quantised, image), strict=True):
        assert 0 < np.abs(exact - found).mean() < 0.05 * np.abs(exact).mean()


def test_one_picture_out_of_line_does_not_spoil_the_ranges(model: onnx.ModelProto) -> None:
    usual = pictures(8)
    image = usual[0]
    (exact, _), (found, _) = run(model, image), run(quantise(model, [*usual, 20 * image]), image)
    assert np.abs(exact - found).max() < 0.05 * np.abs(exact).max()


def test_no_picture_is_a_usage_error(model: onnx.ModelProto) -> None:
    with pytest.raises(UsageError, match="at least one picture"):
        quantise(model, [])


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})
