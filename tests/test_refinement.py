"""Masks drawn to the edges of the picture: the native code against its twin, and what it does to a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clips import json_lines
from fakes import STREET_SPEC, FakeEngine, FakeSink, FakeSource
from refine_twin import refined
from soft_mask_twin import iou, make_instances, make_masks, on_grid, random_masks

from solo_rt import _native
from solo_rt.decode.refinement import refine
from solo_rt.errors import UsageError
from solo_rt.pipeline import run, stream
from solo_rt.pipeline.options import Options
from solo_rt.types import Frame, Instances

pytestmark = pytest.mark.usefixtures("never_hang")

WORLD = "test://?size=640x360&frames=6&seed=3"


def picture(size, pixel_format, seed=0):
    """Return a frame of soft blobs and noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    halves = ((height + 1) // 2, (width + 1) // 2)
    shapes = [(height, width, 3)] if pixel_format == "rgb24" else [size, halves, halves]
    y, x = (np.linspace(0, 7, side) for side in size)
    planes = []
    for k, shape in enumerate(shapes):
        waves = np.sin(y[: shape[0], None] + k) * np.cos(x[None, : shape[1]])
        noise = rng.normal(0, 12, shape)
        planes.append(np.clip(128 + 90 * (waves[..., None] if len(shape) == 3 else waves) + noise, 0, 255))
    return Frame(tuple(plane.astype(np.uint8) for plane in planes), pixel_format)


def disc(size=(90, 120), centre=(60, 44), radius=26):
    """Return the true mask of a disc, and a frame that shows it in another colour than what is behind it."""
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.hypot(x - centre[0], y - centre[1]) < radius
    rgb = np.where(mask[..., None], (200, 60, 40), (60, 90, 160)).astype(np.int16)
    noisy = rgb + np.random.default_rng(0).normal(0, 5, rgb.shape)
    return mask, Frame((np.clip(noisy, 0, 255).astype(np.uint8),), "rgb24")


def coarse(mask, stride=10):
    """Return instances of one mask as a network with large cells sees it, a third of a cell off."""
    h, w = (side // stride for side in mask.shape)
    seen = np.roll(mask, (stride // 3, stride // 3), (0, 1))[: h * stride, : w * stride]
    soft = (255 * seen.reshape(h, stride, w, stride).mean((1, 3))).astype(np.uint8)
    return make_instances(make_masks([soft], [(0, 0)], (h, w), (1 / stride, 1 / stride)), mask.shape)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize(
    ("size", "grid", "step"),
    [((90, 120), (9, 12), (0.1, 0.1)), ((91, 123), (16, 16), (0.121, 0.117)), ((37, 41), (9, 9), (0.23, 0.2))],
)
def test_the_native_code_does_what_its_twin_does(pixel_format, size, grid, step):
    frame = picture(size, pixel_format)
    masks = random_masks(np.random.default_rng(1), 24, grid, step)
    data, offsets, regions = _native.refine_masks(
        frame.planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step
    )
    fine = replace(masks, data=data, offsets=offsets, regions=regions, grid_size=tuple((s + 1) // 2 for s in size))
    for i, got in enumerate(on_grid(fine).astype(float)):
        want, plain = refined(frame, masks, i)
        if want.max() >= 227:  # else the native code keeps a pixel of it
            is_sure = (plain == 0) | (plain == 255)
            np.testing.assert_allclose(got[~is_sure], want[~is_sure], atol=0.51)
            assert ((got > 127) == (plain > 127))[is_sure].all()


def test_cells_of_many_bright_pixels_are_summed_up():
    """Of 183 x 183 pixels of 2 x 2: were all of them white, their squares would sum up to more than 2^31."""
    rgb = np.full((1098, 1464, 3), 255, np.uint8)
    rgb[:, :732] = 250
    soft = np.array([[0, 60, 240, 0], [0, 60, 240, 0], [0, 0, 0, 0]], np.uint8)
    frame, masks = Frame((rgb,), "rgb24"), make_masks([soft], [(0, 0)], (3, 4), (1 / 366, 1 / 366))
    data, _, regions = _native.refine_masks(
        frame.planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step
    )
    want, plain = refined(frame, masks, 0)
    x0, y0, x1, y1 = regions[0]
    got, want, plain = data.reshape(y1 - y0, x1 - x0), want[y0:y1, x0:x1], plain[y0:y1, x0:x1]
    is_sure = (plain == 0) | (plain == 255)
    np.testing.assert_allclose(got[~is_sure], want[~is_sure], atol=0.51)


def test_an_outline_moves_to_the_edge_of_the_object():
    truth, frame = disc()
    before = coarse(truth)
    after = refine(before, frame)
    assert iou(before.dense(0), truth) < 0.87 < 0.95 < iou(after.dense(0), truth)
    ys, xs = np.nonzero(after.dense(0))
    assert after.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_an_outline_stays_where_the_picture_has_no_edge():
    truth, frame = disc()
    flat = Frame((np.full_like(frame.planes[0], 99),), "rgb24")
    before = coarse(truth)
    assert iou(before.dense(0), refine(before, flat).dense(0)) > 0.98


def test_a_mask_that_would_vanish_keeps_a_place():
    soft = np.zeros((9, 12), np.uint8)
    soft[4, 5] = 130
    found = make_instances(make_masks([soft], [(0, 0)], (9, 12), (0.1, 0.1)), (90, 120))
    assert refine(found, Frame((np.zeros((90, 120, 3), np.uint8),), "rgb24")).dense(0).any()


def test_masks_that_are_fine_already_and_none_at_all_stay_as_they_are():
    truth, frame = disc()
    fine = make_instances(make_masks([truth.astype(np.uint8) * 255], [(0, 0)], truth.shape, (1.0, 1.0)), truth.shape)
    assert refine(fine, frame) is fine
    nothing = Instances.none(truth.shape)
    assert refine(nothing, frame) is nothing


def test_instances_of_another_frame_and_frames_too_large_are_refused():
    truth, frame = disc()
    with pytest.raises(
        UsageError, match=r"^refine: expected instances of a frame of \(90, 120\), got those of \(91, 120\)$"
    ):
        refine(replace(coarse(truth), frame_size=(91, 120)), frame)
    large = Frame((np.zeros((2, 8194, 3), np.uint8),), "rgb24")
    with pytest.raises(UsageError, match=r"^refine: expected a frame of at most 8192 pixels a side, got 8194x2; leave"):
        refine(Instances.none((2, 8194)), large)


def test_a_run_with_refine_differs_in_nothing_but_masks_and_boxes():
    plain, sharp = (list(stream(WORLD, track=True, refine=refine)) for refine in (False, True))
    assert sum(len(result.instances) for result in plain) > 10
    for one, other in zip(plain, sharp, strict=True):
        assert one.instances.scores.tolist() == other.instances.scores.tolist()
        assert one.instances.track_ids.tolist() == other.instances.track_ids.tolist()
        assert other.instances.masks.step == (0.5, 0.5)
        assert {*other.stage_seconds} - {*one.stage_seconds} == {"refine"}
    assert any(a.instances.rles() != b.instances.rles() for a, b in zip(plain, sharp, strict=True))


def test_refining_a_semantic_model_is_refused():
    with pytest.raises(UsageError, match="refine and keyframe_interval are about instances, and street finds none"):
        run(FakeSource(), FakeEngine(spec=STREET_SPEC), [FakeSink()], options=Options(refine=True))


def test_the_option_sharpens_what_is_written(tmp_path, solo):
    codes = []
    for options in ([], ["--refine"]):
        assert solo("run", "--source", WORLD, "--quiet", "--save-jsonl", tmp_path / "a.jsonl", *options)[0] == 0
        codes.append([line.get("instances") for line in json_lines(tmp_path / "a.jsonl")])
    assert codes[0] != codes[1]
    assert [len(found or ()) for found in codes[0]] == [len(found or ()) for found in codes[1]]
