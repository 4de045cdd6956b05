"""The bodies of our operators compute what the native decoder computes, case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from decode_cases import (
    CASES,
    CELLS,
    CHANNELS,
    DECODER,
    SPEC,
    Heads,
    assert_native,
    blobs,
    mask_as_large_as_its_stride,
    nothing,
)
from onnx import TensorProto, helper

from solo_rt.decode import decode
from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.train.export.decode_ops import DETECTIONS, DOMAIN, attach_decoder


def file_of(spec: ModelSpec) -> onnx.ModelProto:
    """Return a file whose heads are its inputs, with the decoding nodes behind them."""
    shapes = {name: [CHANNELS if size == -1 else size for size in shape] for name, shape in spec.output_shapes.items()}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    copies = [helper.make_node("Identity", [name], [f"{name}_copy"]) for name in shapes]
    outputs = [helper.make_tensor_value_info(f"{name}_copy", TensorProto.FLOAT, s) for name, s in shapes.items()]
    graph = helper.make_graph(copies, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    attach_decoder(model, spec)
    return model


def detect(heads: Heads, spec: ModelSpec = SPEC) -> Heads:
    session = ort.InferenceSession(file_of(spec).SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(DETECTIONS, session.run(list(DETECTIONS), heads), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_instances_are_those_of_the_native_decoder(case: str) -> None:
    heads, spec = CASES[case]()
    assert_native(detect(heads, spec), heads, spec)


def test_nothing_above_the_threshold() -> None:
    found = detect(nothing()[0])
    assert not found["num_dets"].any()
    assert not found["det_counts"].any()
    assert not found["det_regions"].any()


def test_more_candidates_than_slots_are_counted_and_the_best_are_kept() -> None:
    spec = replace(SPEC, decoder=replace(DECODER, nms_pre=10, max_instances=10, score_threshold=0.0))
    heads = blobs(2, sparse=0.0)
    counts = detect(heads, spec)["det_counts"]
    assert counts.tolist() == [[10, CELLS * 3]] * 2


def test_a_mask_as_large_as_its_stride_is_dropped() -> None:
    found = detect(*mask_as_large_as_its_stride())
    assert found["num_dets"][0, 0] == 1
    assert (found["det_masks"][0, 0].view(np.uint8) > 127).sum() == 5


def test_a_full_mask_of_a_large_picture_keeps_its_count() -> None:
    decoder = SoloV2Decoder((1,), (8,), nms_pre=3, max_instances=2)
    spec = ModelSpec("large", InputSpec(800, 1344), decoder, ("a",))
    heads = {
        "scores": np.full((1, 1, 1), 0.9, np.float32),
        "kernels": np.ones((1, 1, CHANNELS), np.float32),
        "features": np.ones((1, CHANNELS, 200, 336), np.float32),
    }
    found = detect(heads, spec)
    assert found["det_regions"][0, 0].tolist() == [0, 0, 336, 200]
    assert found["det_scores"][0, 0] == pytest.approx(0.9 / (1 + np.exp(-6)), abs=1e-4)  # the sum passes 65,504


def test_an_exported_file_decodes_itself_and_can_be_cut_back_to_its_heads() -> None:
    path = find_model(None)
    spec, model = read_spec(path), onnx.load(path)
    if not model.functions:
        attach_decoder(model, spec)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    image = np.random.default_rng(0).normal(size=(1, 3, 256, 448)).astype(np.float32)
    whole = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
    cut = heads_alone(content, spec.output_shapes)
    assert {node.domain for node in onnx.load_from_string(cut).graph.node} == {""}
    heads = dict(
        zip(spec.output_shapes, ort.InferenceSession(cut).run(list(spec.output_shapes), {"image": image}), strict=True)
    )
    found = dict(zip(DETECTIONS, whole.run(list(DETECTIONS), {"image": image}), strict=True))
    expected = decode({k: v[0] for k, v in heads.items()}, spec, Letterbox((256, 448), (256, 448), (256, 448)))
    n = found["num_dets"][0, 0]
    assert n >= len(expected) > 0
    np.testing.assert_allclose(found["det_scores"][0, : len(expected)], expected.scores, atol=2e-6)


def test_other_decoders_are_refused() -> None:
    class Other:
        kind = "other"

    with pytest.raises(ValueError, match="got other"):
        attach_decoder(onnx.ModelProto(), replace(SPEC, decoder=Other()))


def test_every_attribute_is_on_the_node() -> None:
    for node in (node for node in file_of(SPEC).graph.node if node.domain == DOMAIN):
        function = next(f for f in file_of(SPEC).functions if f.name == node.op_type)
        assert sorted(a.name for a in node.attribute) == sorted(function.attribute)
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert (values["plugin_version"], values["plugin_namespace"]) == (b"1", b"")
