"""The bodies of our operators compute what the native decoder computes, case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from solo_rt import _native
from solo_rt.decode import decode
from solo_rt.decoders import SoloV2Decoder
from solo_rt.engine import find_model
from solo_rt.engine.base import read_spec
from solo_rt.engine.onnx_file import heads_alone
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.train.export.decode_ops import DETECTIONS, DOMAIN, attach_decoder

Heads = dict[str, np.ndarray]
DECODER = SoloV2Decoder(grids=(5, 3), level_strides=(4, 8), nms_pre=40, max_instances=12)
SPEC = ModelSpec("tiny", InputSpec(32, 96, batch=2), DECODER, ("a", "b", "c"))  # 8 x 24 cells: 6 words a mask
CELLS, CHANNELS = DECODER.cells, 6


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


def blobs(seed: int, *, sparse: float = 0.7, spec: ModelSpec = SPEC) -> Heads:
    """Return heads whose masks are smooth and overlap, with scores around the threshold."""
    rng = np.random.default_rng(seed)
    b, h, w = spec.input.batch, spec.input.height // 4, spec.input.width // 4
    scores = rng.uniform(0, 0.6, (b, spec.decoder.cells, len(spec.classes)))
    scores[rng.random(scores.shape) < sparse] = 0
    y, x = np.mgrid[:h, :w]
    bumps = [
        np.exp(-(((y - rng.uniform(0, h)) / h * 2) ** 2 + ((x - rng.uniform(0, w)) / w * 4) ** 2))
        for _ in range(CHANNELS)
    ]
    features = np.stack([np.stack(bumps)] * b) + rng.normal(0, 0.02, (b, CHANNELS, h, w))
    kernels = rng.normal(0, 4, (b, spec.decoder.cells, CHANNELS)) - 1
    return {k: v.astype(np.float32) for k, v in {"scores": scores, "kernels": kernels, "features": features}.items()}


def assert_alike(heads: Heads, spec: ModelSpec = SPEC) -> None:
    """Compare every picture of the batch with the native decoder."""
    found = detect(heads, spec)
    size = (spec.input.height, spec.input.width)
    decoder = spec.decoder
    for b in range(spec.input.batch):
        scores, labels, _, regions, offsets, data = _native.solov2_decode(
            *(heads[name][b] for name in ("scores", "kernels", "features")),
            np.repeat(decoder.level_strides, np.square(decoder.grids)).astype(np.int32),
            decoder.score_threshold,
            decoder.mask_threshold,
            decoder.nms_pre,
            decoder.nms_kernel == "linear",
            decoder.nms_sigma,
            decoder.update_threshold,
            decoder.max_instances,
            1,
        )
        n = len(scores)
        assert found["num_dets"][b, 0] == n
        np.testing.assert_allclose(found["det_scores"][b, :n], scores, atol=2e-6)
        np.testing.assert_array_equal(found["det_labels"][b, :n], labels)
        np.testing.assert_array_equal(found["det_regions"][b, :n], regions)
        soft = found["det_masks"][b].view(np.uint8).reshape(-1, size[0] // 4, size[1] // 4)
        for i in range(n):
            x0, y0, x1, y1 = regions[i]
            crop = soft[i, y0:y1, x0:x1]
            expected = data[offsets[i] : offsets[i + 1]].reshape(y1 - y0, x1 - x0)
            assert np.abs(crop.astype(int) - expected).max(initial=0) <= 1
            np.testing.assert_array_equal(crop > 127, expected > 127)
            assert soft[i].sum() == crop.sum()
        for name in ("det_scores", "det_labels", "det_regions"):
            assert not found[name][b, n:].any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_random_heads(seed: int, kernel: str) -> None:
    assert_alike(blobs(seed), replace(SPEC, decoder=replace(DECODER, nms_kernel=kernel)))


def test_nothing_above_the_threshold() -> None:
    heads = blobs(0)
    heads["scores"][:] = 0.1  # exactly the threshold: dropped
    found = detect(heads)
    assert not found["num_dets"].any()
    assert not found["det_counts"].any()
    assert not found["det_regions"].any()


def test_one_picture_empty_and_the_other_not() -> None:
    heads = blobs(1)
    heads["scores"][0] = 0
    assert_alike(heads)


def test_more_candidates_than_slots_are_counted_and_the_best_are_kept() -> None:
    spec = replace(SPEC, decoder=replace(DECODER, nms_pre=10, max_instances=10, score_threshold=0.0))
    heads = blobs(2, sparse=0.0)
    counts = detect(heads, spec)["det_counts"]
    assert counts.tolist() == [[10, CELLS * 3]] * 2


def test_more_slots_than_there_can_be_candidates() -> None:
    assert_alike(blobs(3, sparse=0.2), replace(SPEC, decoder=replace(DECODER, nms_pre=150, max_instances=100)))


def test_equal_scores_are_ranked_by_candidate() -> None:
    heads = blobs(4)
    heads["scores"][heads["scores"] > 0] = 0.5
    assert_alike(heads)


def test_duplicates_and_a_flood_of_one_class() -> None:
    heads = blobs(5)
    heads["kernels"][:] = heads["kernels"][:, :1]
    heads["scores"][..., 1:] = 0
    assert_alike(heads)


def test_full_and_empty_masks() -> None:
    heads = blobs(6)
    heads["features"][:] = 1
    heads["kernels"][:, ::2], heads["kernels"][:, 1::2] = 1, -1
    assert_alike(heads)


def test_a_mask_as_large_as_its_stride_is_dropped() -> None:
    spec = replace(SPEC, input=replace(SPEC.input, batch=1))
    heads = blobs(7, spec=spec)
    heads = {name: np.zeros_like(values) for name, values in heads.items()}
    heads["features"][0] = -1
    heads["features"][0, 0].reshape(-1)[30:34] = 1  # four pixels, the stride of the first level
    heads["features"][0, 1].reshape(-1)[30:35] = 1
    heads["kernels"][0, 0, 0] = heads["kernels"][0, 1, 1] = 3
    heads["scores"][0, :2, 0] = 0.9
    found = detect(heads, spec)
    assert found["num_dets"][0, 0] == 1
    assert (found["det_masks"][0, 0].view(np.uint8) > 127).sum() == 5
    assert_alike(heads, spec)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_other_mask_thresholds(threshold: float) -> None:
    assert_alike(blobs(8), replace(SPEC, decoder=replace(DECODER, mask_threshold=threshold)))


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
    expected = decode({k: v[0] for k, v in heads.items()}, spec, frame_size=(256, 448), resized=(256, 448))
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
