"""What the engine has decoded gives the same instances as decoding its heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from solo_rt.decode import decode
from solo_rt.decode.detections import decode_detections
from solo_rt.decoders import DetectionsDecoder, SoloV2Decoder
from solo_rt.engine import find_model
from solo_rt.engine.model_file import read_spec
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import ModelSpec
from solo_rt.train.export.decode_ops import attach_decoder
from solo_rt.world import World

Outputs = dict[str, np.ndarray]
FRAME, RESIZED = (180, 320), (252, 448)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, Outputs]:
    """Return the shipped model's outputs, raw and decoded, of a frame of the procedural world."""
    path = find_model(None)
    spec, model = read_spec(path), onnx.load(path)
    if not model.functions:
        attach_decoder(model, spec)
    whole: Path = tmp_path_factory.mktemp("model") / "whole.onnx"
    onnx.save(model, whole)
    image = np.zeros((1, 3, 256, 448), np.float32)
    picture = World(3, height=252, width=448).render(30).rgb
    image[0, :, :252] = ((picture - np.array(spec.input.mean)) / np.array(spec.input.std)).transpose(2, 0, 1)
    session = ort.InferenceSession(whole)
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"image": image})
    return spec, {name: value[0] for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize(
    ("conf", "max_det", "classes"),
    [(0.0, None, None), (0.25, None, None), (0.25, 3, None), (0.99, None, None), (0.0, 500, None), (0.0, 2, [0, 2]),
     (0.0, None, [1])],
)  # fmt: skip
def test_instances_are_those_of_the_native_decoder(
    computed: tuple[ModelSpec, Outputs], conf: float, max_det: int | None, classes: list[int] | None
) -> None:
    spec, outputs = computed
    assert isinstance(spec.decoder, SoloV2Decoder)
    limits = {"conf": conf, "max_det": max_det, "classes": classes}
    found = decode_detections(outputs, DetectionsDecoder(), Letterbox(FRAME, RESIZED, RESIZED), **limits)
    expected = decode(outputs, spec, Letterbox(FRAME, RESIZED, RESIZED), **limits)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-6)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_array_equal(found.masks.regions, expected.masks.regions)
    assert np.abs(found.masks.data.astype(int) - expected.masks.data).max(initial=0) <= 1
    assert np.abs(found.boxes - expected.boxes).max(initial=0) <= 1


def test_no_detection_is_no_instance() -> None:
    outputs = {
        "num_dets": np.zeros(1, np.int32),
        "det_scores": np.zeros(5, np.float32),
        "det_labels": np.zeros(5, np.int32),
        "det_regions": np.zeros((5, 4), np.int32),
        "det_masks": np.full((5, 8, 4), -1, np.int32),  # unspecified beyond num_dets
    }
    assert len(decode_detections(outputs, DetectionsDecoder(5), Letterbox(FRAME, RESIZED, RESIZED))) == 0


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"conf in 0\.\.1"):
        decode_detections({}, DetectionsDecoder(), Letterbox(FRAME, RESIZED, RESIZED), conf=2)
