"""SOLOv2 decoding: the native decoder against the numpy reference, and both against answers known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import STREET_SPEC

from solo_rt import _native
from solo_rt.decode import decode, decode_reference
from solo_rt.decode.resize import resize_bilinear
from solo_rt.decoders import SoloV2Decoder
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.spec import InputSpec, ModelSpec

DECODER = SoloV2Decoder(grids=(4, 3), level_strides=(2, 4))  # 25 cells: 0..15 need 3 pixels, 16..24 need 5
CLASSES = 3
NO_STRIDE = SoloV2Decoder(grids=(4, 3), level_strides=(0, 0))


def spec_of(decoder=DECODER, classes=CLASSES):
    return ModelSpec("test", InputSpec(64, 64), decoder, tuple(f"c{i}" for i in range(classes)))


def random_outputs(seed, *, channels=8, size=(13, 17), classes=CLASSES, share=0.3, decoder=DECODER):
    """Network outputs with blobs of all sizes.

    Kernels and features are small multiples of 1/8, so that logits are exact in whatever order they are summed: no
    pixel is inside for one implementation and outside for another.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-9, 8, (channels, 4, 5)).astype(np.float32)
    features = np.round(resize_bilinear(coarse, size) * 8) / 8
    kernels = np.round(rng.normal(0, 1.5 / np.sqrt(channels), (decoder.cells, channels)) * 8) / 8
    scores = rng.uniform(0.1, 1, (decoder.cells, classes))
    scores[rng.random(scores.shape) > share] = 0
    return {
        "scores": scores.astype(np.float32),
        "kernels": kernels.astype(np.float32),
        "features": np.ascontiguousarray(features, np.float32),
    }


def outputs_of(logits, scores, *, decoder=DECODER, classes=CLASSES):
    """Outputs whose cell i has `logits[i]` as its mask, and the scores of `{(cell, class): score}`."""
    features = np.asarray(logits, np.float32)
    all_scores = np.zeros((decoder.cells, classes), np.float32)
    for place, score in scores.items():
        all_scores[place] = score
    return {
        "scores": all_scores,
        "kernels": np.eye(decoder.cells, len(features), dtype=np.float32),
        "features": features,
    }


def rectangle(y0, x0, y1, x1, *, size=(12, 16), value=4.0):
    """Logits of a rectangle, `value` inside and its negative outside."""
    logits = np.full(size, -value, np.float32)
    logits[y0:y1, x0:x1] = value
    return logits


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def select(outputs, decoder=DECODER, *, threads=1, instruction_set="best"):
    """Call the native decoder as `decode` does, without the geometry of a frame."""
    return _native.solov2_decode(
        outputs["scores"],
        outputs["kernels"],
        outputs["features"],
        np.repeat(np.array(decoder.level_strides, np.int32), [grid * grid for grid in decoder.grids]),
        decoder.score_threshold,
        decoder.mask_threshold,
        decoder.nms_pre,
        decoder.nms_kernel == "linear",
        decoder.nms_sigma,
        decoder.update_threshold,
        decoder.max_instances,
        threads,
        instruction_set,
    )


def reference(outputs, decoder=DECODER):
    classes = outputs["scores"].shape[1]
    return decode_reference(outputs, spec_of(decoder, classes), Letterbox((1, 1), (4, 4), (4, 4)))


def dilated_box(inside):
    ys, xs = np.nonzero(inside)
    height, width = inside.shape
    return [max(xs.min() - 1, 0), max(ys.min() - 1, 0), min(xs.max() + 2, width), min(ys.max() + 2, height)]


def assert_agrees(outputs, decoder=DECODER, *, instruction_set="best"):
    """Compare the native decoder with the reference, instance by instance, and return how many there are."""
    scores, class_ids, cells, regions, offsets, data = select(outputs, decoder, instruction_set=instruction_set)
    expected = reference(outputs, decoder)
    assert (scores.dtype, class_ids.dtype, cells.dtype) == (np.float32, np.int32, np.int32)
    assert (regions.dtype, offsets.dtype, data.dtype) == (np.int32, np.int64, np.uint8)
    np.testing.assert_array_equal(cells, expected.cells)
    np.testing.assert_array_equal(class_ids, expected.class_ids)
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5)
    assert regions.shape == (len(scores), 4)
    assert offsets[0] == 0
    assert offsets[-1] == len(data)
    threshold = decoder.mask_threshold
    for i, soft in enumerate(expected.soft):
        inside = soft > threshold
        assert regions[i].tolist() == dilated_box(inside)
        x0, y0, x1, y1 = regions[i]
        crop = data[offsets[i] : offsets[i + 1]].reshape(y1 - y0, x1 - x0).astype(int)
        np.testing.assert_array_equal(crop > 127, inside[y0:y1, x0:x1])
        with np.errstate(divide="ignore"):
            shifted = soft * (1 - threshold) / (soft * (1 - threshold) + (1 - soft) * threshold)
        assert np.abs(crop - np.rint(255 * shifted[y0:y1, x0:x1])).max() <= 1
    return len(scores)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("channels", [1, 5, 48, 128, 256])
@pytest.mark.parametrize("size", [(7, 9), (13, 17), (16, 64), (33, 65)])
def test_native_agrees_with_reference(channels, size, instruction_set):
    outputs = random_outputs(channels, channels=channels, size=size)
    assert assert_agrees(outputs, instruction_set=instruction_set) > 3


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (2, 2)])
def test_grids_of_a_line_or_a_pixel(size):
    outputs = random_outputs(0, size=size, share=1)
    assert assert_agrees(outputs, NO_STRIDE) > 0


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("seed", range(10))
def test_native_agrees_when_masks_overlap_much(seed, kernel):
    outputs = random_outputs(seed, classes=1, share=1)
    assert assert_agrees(outputs, replace(DECODER, nms_kernel=kernel)) > 3


@pytest.mark.parametrize("mask_threshold", [0.0, 0.25, 0.75, 0.99])
def test_other_mask_thresholds_are_moved_to_half(mask_threshold):
    outputs = random_outputs(3)
    assert assert_agrees(outputs, replace(DECODER, mask_threshold=mask_threshold)) > 1


def test_every_cell_and_class_may_be_a_candidate():
    decoder = SoloV2Decoder(grids=(20, 8), level_strides=(2, 4), nms_pre=5000, max_instances=300)
    outputs = random_outputs(1, classes=4, share=1, decoder=decoder)
    assert np.count_nonzero(outputs["scores"]) > 1800
    assert assert_agrees(outputs, decoder) > 100


def test_nothing_found_is_a_value_of_length_zero():
    scores, class_ids, cells, regions, offsets, data = select(random_outputs(0, share=0))
    assert (scores.shape, class_ids.shape, cells.shape, regions.shape) == ((0,), (0,), (0,), (0, 4))
    assert offsets.tolist() == [0]
    assert data.shape == (0,)


def test_one_rectangle():
    scores, class_ids, cells, regions, _, data = select(outputs_of([rectangle(2, 3, 6, 9)], {(0, 1): 0.8}))
    np.testing.assert_allclose(scores, [0.8 * sigmoid(4)], rtol=1e-6)
    assert (class_ids.tolist(), cells.tolist(), regions.tolist()) == ([1], [0], [[2, 1, 10, 7]])
    expected = np.full((6, 8), np.rint(255 * sigmoid(-4)), np.uint8)
    expected[1:-1, 1:-1] = np.rint(255 * sigmoid(4))
    np.testing.assert_array_equal(data.reshape(6, 8), expected)


def test_mask_of_the_whole_grid():
    scores, _, _, regions, _, data = select(outputs_of([rectangle(0, 0, 12, 16)], {(0, 0): 0.5}))
    np.testing.assert_allclose(scores, [0.5 * sigmoid(4)], rtol=1e-6)
    assert regions.tolist() == [[0, 0, 16, 12]]
    assert (data == 250).all()


@pytest.mark.parametrize(("cell", "stride"), [(0, 2), (15, 2), (16, 4), (24, 4)])
def test_area_must_exceed_the_stride_of_the_level(cell, stride):
    for area, found in [(stride, 0), (stride + 1, 1)]:
        logits = np.full((25, 12, 16), -4.0)
        logits[cell, 5, :area] = 4
        assert len(select(outputs_of(logits, {(cell, 0): 0.9}))[0]) == found


def test_score_must_exceed_the_threshold():
    above = np.nextafter(np.float32(0.1), np.float32(1))
    outputs = outputs_of([rectangle(0, 0, 6, 6), rectangle(6, 6, 12, 12)], {(0, 0): np.float32(0.1), (1, 0): above})
    assert select(outputs)[2].tolist() == [1]


def test_score_equal_to_the_threshold_is_no_candidate_for_the_reference_either():
    outputs = outputs_of([rectangle(2, 2, 8, 8)], {(0, 0): DECODER.score_threshold})
    assert len(reference(outputs).scores) == 0


def test_score_equal_to_the_update_threshold_is_kept():
    outputs = outputs_of([rectangle(0, 0, 6, 6)] * 2, {(0, 0): 0.9, (1, 0): 0.5})
    low = select(outputs)[0][1]
    assert low < 0.1  # a copy: decayed by exp(-2)
    assert select(outputs, replace(DECODER, update_threshold=float(low)))[0].tolist()[1:] == [low]
    above = float(np.nextafter(low, np.float32(1)))
    assert select(outputs, replace(DECODER, update_threshold=above))[2].tolist() == [0]


@pytest.mark.parametrize(("kernel", "expected"), [("gaussian", [0, 1, 2]), ("linear", [0])])
def test_three_copies(kernel, expected):
    outputs = outputs_of([rectangle(2, 2, 8, 8)] * 3, {(0, 0): 0.9, (1, 0): 0.8, (2, 0): 0.7})
    decoder = replace(DECODER, nms_kernel=kernel)
    assert select(outputs, decoder)[2].tolist() == expected
    assert assert_agrees(outputs, decoder) == len(expected)


def test_equal_scores_rank_by_candidate_index():
    outputs = outputs_of([rectangle(2, 2, 8, 8)] * 3, {(2, 1): 0.9, (0, 2): 0.9, (1, 0): 0.9, (0, 1): 0.9})
    _, class_ids, cells, *_ = select(outputs)
    # First of their class: (0, 1), (0, 2), (1, 0), in this order; (2, 1) is a copy of (0, 1).
    assert list(zip(cells.tolist(), class_ids.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 1)]
    assert assert_agrees(outputs) == 4


def test_equal_decayed_scores_keep_their_rank():
    decoder = replace(DECODER, max_instances=2)
    outputs = outputs_of(
        [rectangle(0, 0, 4, 4), rectangle(8, 0, 12, 4), rectangle(0, 8, 4, 12)], {(c, 0): 0.9 for c in range(3)}
    )
    assert select(outputs, decoder)[2].tolist() == [0, 1]


def test_one_cell_may_have_several_classes():
    outputs = outputs_of([rectangle(2, 2, 8, 8)], {(0, 0): 0.5, (0, 2): 0.7})
    scores, class_ids, cells, regions, offsets, data = select(outputs)
    assert (class_ids.tolist(), cells.tolist()) == ([2, 0], [0, 0])
    np.testing.assert_allclose(scores, np.array([0.7, 0.5]) * sigmoid(4), rtol=1e-6)
    np.testing.assert_array_equal(regions[0], regions[1])
    np.testing.assert_array_equal(data[: offsets[1]], data[offsets[1] :])


def test_more_classes_than_cells_survive():
    outputs = outputs_of([rectangle(2, 2, 8, 8)], {(0, k): 0.5 for k in range(40)}, classes=40)
    assert assert_agrees(outputs) == 40


def test_nms_pre_cuts_by_rescored_order():
    # The cell with the best score has the vaguest mask and falls behind: sigmoid(0.5) against sigmoid(4).
    vague = rectangle(0, 0, 6, 6, value=0.5)
    outputs = outputs_of(
        [vague, rectangle(6, 6, 12, 12), rectangle(0, 8, 4, 16)], {(0, 0): 0.9, (1, 0): 0.7, (2, 0): 0.6}
    )
    assert select(outputs, replace(DECODER, nms_pre=2))[2].tolist() == [1, 2]
    outputs = random_outputs(5, share=1)
    assert assert_agrees(outputs, replace(DECODER, nms_pre=10)) > 1


def test_max_instances_cuts_by_decayed_order():
    outputs = outputs_of(
        [rectangle(0, 0, 6, 6), rectangle(0, 0, 6, 6), rectangle(6, 6, 12, 12)], {(0, 0): 0.9, (1, 0): 0.8, (2, 0): 0.3}
    )
    assert select(outputs, replace(DECODER, max_instances=2))[2].tolist() == [0, 2]


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_result_does_not_depend_on_threads(instruction_set):
    outputs = random_outputs(2, channels=64, size=(67, 131), share=0.8)  # 32 million multiply-adds: enough for both
    one = select(outputs, threads=1, instruction_set=instruction_set)
    assert len(one[0]) > 10
    for threads in (2, 3):
        many = select(outputs, threads=threads, instruction_set=instruction_set)
        assert [a.tobytes() for a in many] == [a.tobytes() for a in one]


def test_more_threads_than_there_is_work_for_cost_no_memory():
    outputs = random_outputs(2)
    for one, many in zip(select(outputs), select(outputs, threads=2**31 - 1), strict=True):
        np.testing.assert_array_equal(one, many)


def test_instruction_sets_with_fused_multiply_add_agree_to_the_bit():
    rng = np.random.default_rng(0)
    outputs = random_outputs(2, channels=64, size=(31, 33), share=0.8)
    outputs["kernels"] += rng.normal(0, 0.01, outputs["kernels"].shape).astype(np.float32)
    wide = [name for name in _native.instruction_sets() if name != "plain"]
    results = [select(outputs, instruction_set=name) for name in wide]
    for other in results[1:]:
        np.testing.assert_array_equal(other[3], results[0][3])
        np.testing.assert_array_equal(other[2], results[0][2])
        np.testing.assert_allclose(other[0], results[0][0], rtol=1e-6)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_skipping_tiles_loses_no_pixel(instruction_set):
    # A tile that is the same everywhere, where the bound has no slack, next to one with a single such pixel, where it
    # has plenty: for masks whose logit there is next to nothing, both must decide alike.
    rng = np.random.default_rng(0)
    decoder = SoloV2Decoder((20,), (0,), update_threshold=0.0, nms_pre=400, max_instances=400)
    features = rng.normal(0, 3, (32, 8, 16)).astype(np.float32)
    features[:, :, :8] = features[:, :1, 8:9]
    kernels = rng.normal(0, 1, (400, 32)).astype(np.float32)
    kernels[:, -1] = -(kernels[:, :-1] @ features[:-1, 0, 0]) / features[-1, 0, 0]
    outputs = {"scores": np.ones((400, 1), np.float32), "kernels": kernels, "features": features}
    _, _, cells, regions, offsets, data = select(outputs, decoder, instruction_set=instruction_set)
    inside = 0
    for i, (x0, y0, x1, y1) in enumerate(regions):
        mask = np.zeros((8, 16), np.bool_)
        mask[y0:y1, x0:x1] = data[offsets[i] : offsets[i + 1]].reshape(y1 - y0, x1 - x0) > 127
        assert (mask[:, :8] == mask[0, 8]).all()
        inside += mask[0, 8]
    assert 50 < inside < 350
    assert len(cells) > 350


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
def test_sigmoid_is_accurate(instruction_set):
    # One pixel, mask threshold 0 and a class per cell: every instance scores sigmoid(its logit).
    logits = np.concatenate([np.linspace(-20, 20, 1001), np.linspace(-90, 90, 198), [0.0, -0.0]]).astype(np.float32)
    n = len(logits)
    for part in np.array_split(np.arange(n), 10):
        scores, _, cells, *_ = _native.solov2_decode(
            np.eye(len(part), dtype=np.float32),
            logits[part][:, None].copy(),
            np.ones((1, 1, 1), np.float32),
            np.zeros(len(part), np.int32),
            *(0.1, 0.0, n, False, 2.0, 0.0, n, 1, instruction_set),
        )
        assert len(scores) == len(part)
        assert np.abs(scores - sigmoid(logits[part][cells])).max() < 3e-7


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("name", ["scores", "kernels", "features"])
def test_absurd_numbers_neither_crash_nor_spread(name, value):
    outputs = random_outputs(4, channels=4)
    clean = select(outputs)[0]
    outputs[name] = outputs[name].copy()
    outputs[name].reshape(-1)[::7] = value
    for instruction_set in _native.instruction_sets():
        scores, _, cells, *_ = select(outputs, instruction_set=instruction_set)
        assert not np.isnan(scores).any()
        assert (scores[1:] <= scores[:-1]).all()
        if name == "kernels" and np.isnan(value):
            assert 0 < len(cells) < len(clean)
            assert not np.isnan(outputs["kernels"][cells]).any()


def test_nan_pixel_is_outside():
    logits = rectangle(2, 2, 8, 8)
    logits[4, 4] = np.nan
    scores, *_, data = select(outputs_of([logits], {(0, 0): 0.8}))
    np.testing.assert_allclose(scores, [0.8 * sigmoid(4)], rtol=1e-6)
    assert data.reshape(8, 8)[3, 3] == 0
    assert (data > 127).sum() == 35
    assert assert_agrees_on_scores(outputs_of([logits], {(0, 0): 0.8}))


def assert_agrees_on_scores(outputs):
    np.testing.assert_allclose(select(outputs)[0], reference(outputs).scores, rtol=1e-6)
    return True


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("scores", np.zeros(25, np.float32), r"scores: expected float32 \[any, any\], got float32 \[25\]"),
        ("scores", np.zeros((24, 3), np.float32), r"kernels: expected float32 \[24, any\], got float32 \[25, 8\]"),
        ("kernels", np.zeros((24, 8), np.float32), r"kernels: expected float32 \[25, any\], got float32 \[24, 8\]"),
        ("kernels", np.zeros((25, 7), np.float32), r"features: expected float32 \[7, any, any\], got .*\[8, 13, 17\]"),
        ("features", np.zeros((8, 13, 34), np.float32)[:, :, ::2], "features: expected a contiguous array"),
        ("features", np.zeros((1, 8, 13, 17), np.float32), r"features: expected .*got float32 \[1, 8, 13, 17\]"),
        ("features", np.zeros((8, 0, 17), np.float32), "sizes contradict"),
    ],
)
def test_bad_shapes_are_named(name, value, message):
    with pytest.raises(ValueError, match=message):
        select({**random_outputs(0), name: value})


@pytest.mark.parametrize("name", ["scores", "kernels", "features"])
def test_tensors_are_not_converted(name):
    outputs = random_outputs(0)
    with pytest.raises(TypeError, match=f"{name}: expected float32 .* got float64"):
        select({**outputs, name: outputs[name].astype(np.float64)})


@pytest.mark.parametrize(
    "fields", [{"nms_pre": 0}, {"max_instances": 0}, {"mask_threshold": 1.0}, {"nms_sigma": 0.0}, {"nms_sigma": np.nan}]
)
def test_bad_parameters_are_refused(fields):
    decoder = replace(DECODER)
    for name, value in fields.items():
        object.__setattr__(decoder, name, value)  # past the checks of the spec
    with pytest.raises(ValueError, match="solov2_decode: an argument is out of range"):
        select(random_outputs(0), decoder)


# decode: the whole way to Instances.

SMOOTH = Letterbox((90, 120), (64, 64), (48, 64))


def smooth_outputs():
    """Four ellipses of three classes on a 12 x 16 grid; the last lies in the padding below the picture."""
    y, x = np.mgrid[:16, :16].astype(np.float32)
    ellipses = [(4, 4, 3, 3), (6, 11, 4, 3), (5, 5, 3, 3.5), (14.5, 8, 1, 4)]
    logits = [6 * (1 - ((y - cy) / ry) ** 2 - ((x - cx) / rx) ** 2) for cy, cx, ry, rx in ellipses]
    return outputs_of(logits, {(0, 0): 0.9, (1, 1): 0.8, (2, 0): 0.7, (3, 2): 0.6})


def test_decode_returns_instances_in_the_frame():
    found = decode(smooth_outputs(), spec_of(), SMOOTH)
    expected = decode_reference(smooth_outputs(), spec_of(), SMOOTH)
    assert expected.cells.tolist() == [0, 1, 3, 2]
    assert not expected.masks[2].any()  # in the padding: decode leaves it out
    assert found.frame_size == (90, 120)
    assert found.class_ids.tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.scores, expected.scores[[0, 1, 3]], rtol=1e-5)
    assert found.masks.step == (48 / 4 / 90, 64 / 4 / 120)
    for i, mask in enumerate(expected.masks[[0, 1, 3]]):
        dense = found.dense(i)
        assert (dense & mask).sum() / (dense | mask).sum() > 0.98
        ys, xs = np.nonzero(dense)
        assert found.boxes[i].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_decode_of_nothing():
    outputs = {**smooth_outputs(), "scores": np.zeros((25, 3), np.float32)}
    found = decode(outputs, spec_of(), SMOOTH)
    assert (len(found), found.boxes.shape, found.rles()) == (0, (0, 4), [])
    assert decode_reference(outputs, spec_of(), SMOOTH).masks.shape == (0, 90, 120)


@pytest.mark.parametrize("conf", [0.05, 0.3, 0.5, 0.7, 1.0])
def test_conf_drops_low_scores_and_changes_no_other(conf):
    outputs = random_outputs(6, share=1, size=(12, 16))
    everything = decode(outputs, spec_of(), SMOOTH)
    filtered = decode(outputs, spec_of(), SMOOTH, conf=conf)
    expected = everything[everything.scores >= np.float32(conf)]
    np.testing.assert_array_equal(filtered.scores, expected.scores)
    np.testing.assert_array_equal(filtered.class_ids, expected.class_ids)
    np.testing.assert_array_equal(filtered.masks.data, expected.masks.data)


def test_conf_equal_to_a_score_keeps_it():
    everything = decode(smooth_outputs(), spec_of(), SMOOTH)
    assert len(decode(smooth_outputs(), spec_of(), SMOOTH, conf=float(everything.scores[1]))) == 2


def test_max_det_cuts():
    assert decode(smooth_outputs(), spec_of(), SMOOTH, max_det=1).class_ids.tolist() == [0]
    assert len(decode(smooth_outputs(), spec_of(replace(DECODER, max_instances=2)), SMOOTH)) == 2


@pytest.mark.parametrize(
    ("classes", "max_det", "scores"),
    [
        (None, None, [0, 1, 3]),
        ([0, 1], None, [0, 1, 3]),
        ([0], None, [0, 3]),
        ([0], 1, [0]),
        ([1, 0], 2, [0, 1]),
        ([2], None, []),
        ([], 5, []),
        (None, 3, [0, 1]),  # the third, in the padding, counts
        ([0, 1, 2], 3, [0, 1]),
    ],
)
def test_classes_are_chosen_before_max_det_cuts(classes, max_det, scores):
    everything = decode_reference(smooth_outputs(), spec_of(), SMOOTH)
    found = decode(smooth_outputs(), spec_of(), SMOOTH, classes=classes, max_det=max_det)
    np.testing.assert_allclose(found.scores, everything.scores[scores], rtol=1e-5)
    np.testing.assert_array_equal(found.class_ids, everything.class_ids[scores])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conf": 1.5}, "expected conf in 0..1, got 1.5"),
        ({"max_det": 0}, "expected max_det of at least 1, got 0"),
        ({"letterbox": Letterbox((9, 9), (99, 99), (65, 64))}, "expected a picture within 64x64, got one of 65x64"),
    ],
)
def test_bad_requests_are_usage_errors(change, message):
    with pytest.raises(UsageError, match=message):
        decode(smooth_outputs(), spec_of(), **{"letterbox": SMOOTH, **change})


def test_another_kind_of_model_is_refused():
    with pytest.raises(UsageError, match="expected a model with decoder solov2 or solo, got street with semantic"):
        decode(smooth_outputs(), STREET_SPEC, SMOOTH)


def test_batch_axis_is_refused():
    outputs = {name: array[None] for name, array in smooth_outputs().items()}
    with pytest.raises(ValueError, match="of one picture, got 4 axes"):
        decode(outputs, spec_of(), SMOOTH)
