"""Frames, masks, instances and results."""

from __future__ import annotations

import json
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from soft_mask_twin import dense_mask, make_instances, make_masks, random_masks

from solo_rt import _native
from solo_rt.errors import UsageError
from solo_rt.result import Result
from solo_rt.types import DevicePicture, Frame, Instances, UInt8

SIZE = (48, 80)


def some_instances(count: int = 6, **changes: object) -> Instances:
    found = make_instances(random_masks(np.random.default_rng(0), count, (12, 20), (0.25, 0.25)), SIZE)
    fields = {name: getattr(found, name) for name in ("boxes", "scores", "class_ids", "masks")}
    return Instances(SIZE, **(fields | changes))


def yuv_planes(h: int, w: int) -> tuple[UInt8, UInt8, UInt8]:
    rng = np.random.default_rng(1)
    half = ((h + 1) // 2, (w + 1) // 2)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in ((h, w), half, half))
    return y, u, v


def rgb_twin(frame: Frame) -> np.ndarray:
    """Return the picture in float64, not rounded: each chroma sample serves four pixels; BT.601 or BT.709 by hand."""
    h, w = frame.height, frame.width
    y, u, v = (plane.astype(np.float64) for plane in frame.planes)
    u, v = (np.repeat(np.repeat(plane, 2, 0), 2, 1)[:h, :w] - 128 for plane in (u, v))
    if not frame.full_range:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    if frame.matrix == "bt601":
        rgb = y + 1.402 * v, y - 0.344136286 * u - 0.714136286 * v, y + 1.772 * u
    else:
        rgb = y + 1.5748 * v, y - 0.187324273 * u - 0.468124273 * v, y + 1.8556 * u
    return np.clip(np.stack(rgb, -1), 0, 255)


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (2, 1), (1, 2), (3, 1300)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_rgb_of_yuv_is_the_rounded_standard(size, matrix, full_range):
    frame = Frame(yuv_planes(*size), "yuv420p", matrix=matrix, full_range=full_range)
    rgb = frame.rgb()
    assert rgb.dtype == np.uint8
    # half for rounding; the rest are coefficients rounded to 1/65536
    np.testing.assert_allclose(rgb, rgb_twin(frame), rtol=0, atol=0.505)


def test_frame_on_a_gpu_knows_its_size_and_has_no_planes():
    picture = DevicePicture((4096, 8192), (96, 82), 47, 81, owner=None)
    frame = Frame((), "yuv420p", device=picture)
    assert (frame.height, frame.width) == (47, 81)
    with pytest.raises(UsageError, match="expected a frame in host memory, got one on a GPU"):
        frame.rgb()
    with pytest.raises(ValueError, match="expected yuv420p without planes, got rgb24 with 0"):
        Frame((), "rgb24", device=picture)
    with pytest.raises(ValueError, match="expected yuv420p without planes, got yuv420p with 3"):
        Frame(yuv_planes(47, 81), "yuv420p", device=picture)


@pytest.mark.parametrize("strides", [(80, 82), (81, 81)])
def test_rows_of_a_picture_on_a_gpu_do_not_overlap(strides):
    with pytest.raises(ValueError, match=r"47x81 on a GPU: expected strides of at least \(81, 82\), got"):
        DevicePicture((4096, 8192), strides, 47, 81, owner=None)


def test_rgb_of_yuv_is_close_to_opencv():
    y, u, v = yuv_planes(64, 96)
    y = y.clip(16, None)  # OpenCV takes what is below black for black
    packed = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(96, 96)
    expected = cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420).astype(int)  # BT.601, limited range, few bits
    assert np.abs(Frame((y, u, v), "yuv420p").rgb() - expected).max() <= 2


def test_rgb_reads_padded_and_upside_down_rows():
    y, u, v = yuv_planes(6, 8)
    wide = [np.pad(plane, ((0, 0), (0, 3)))[:, : plane.shape[1]] for plane in (y, u, v)]
    expected = Frame((y, u, v), "yuv420p").rgb()
    np.testing.assert_array_equal(Frame(tuple(wide), "yuv420p").rgb(), expected)
    flipped = tuple(plane[::-1].copy()[::-1] for plane in (y, u, v))
    np.testing.assert_array_equal(Frame(flipped, "yuv420p").rgb(), expected)


def test_rgb_of_rgb_is_the_plane_itself():
    plane = np.zeros((4, 5, 3), np.uint8)
    assert Frame((plane,), "rgb24").rgb() is plane


def test_frame_knows_its_size_and_time():
    frame = Frame((np.zeros((4, 5, 3), np.uint8),), "rgb24", pts=1001, time_base=Fraction(1, 30000))
    assert (frame.height, frame.width) == (4, 5)
    assert frame.time_s == pytest.approx(1001 / 30000)
    assert Frame(frame.planes, "rgb24", pts=1500).time_s == 1.5  # milliseconds unless told otherwise


def test_a_frame_is_captured_when_it_is_made_unless_told_otherwise():
    before = time.monotonic()
    frame = Frame(yuv_planes(4, 4), "yuv420p")
    assert before <= frame.captured_at <= time.monotonic(), "one of time 0 would be dropped as too old"
    assert Frame(frame.planes, "yuv420p", captured_at=1.5).captured_at == 1.5


def test_frame_refuses_planes_that_do_not_belong_together():
    y, u, v = yuv_planes(5, 7)
    Frame((y, u, v), "yuv420p")
    with pytest.raises(ValueError, match=r"yuv420p frame: expected planes .*\(3, 4\), \(3, 4\)\], got .*\(2, 3\)"):
        Frame((y, u, v[:2, :3]), "yuv420p")
    with pytest.raises(ValueError, match="rgb24 frame: expected planes"):
        Frame((y,), "rgb24")
    with pytest.raises(ValueError, match="rgb24 frame: expected planes"):
        Frame((np.zeros((0, 4, 3), np.uint8),), "rgb24")


def test_colour_conversion_names_the_plane_that_does_not_fit():
    y, u, v = yuv_planes(6, 8)
    with pytest.raises(ValueError, match=r"v plane: expected uint8 \[3, 4\], got uint8 \[2, 4\]"):
        _native.yuv420_to_rgb(y, u, v[:2], False, False)


def test_crop_is_a_view_of_the_data():
    masks = random_masks(np.random.default_rng(2), 4, (12, 20), (0.25, 0.25))
    for i, (x0, y0, x1, y1) in enumerate(masks.regions):
        assert masks.crop(i).shape == (y1 - y0, x1 - x0)
        assert masks.crop(i).size == 0 or np.shares_memory(masks.crop(i), masks.data)


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (slice(1, 4), [1, 2, 3]),
        ([4, 0, 0], [4, 0, 0]),
        (np.array([True, False, False, False, False, True]), [0, 5]),
        (np.array([-1]), [5]),
        (2, [2]),
        (np.int64(-1), [5]),
        ([], []),
        (slice(0, 0), []),
        (np.zeros(6, np.bool_), []),
    ],
)
def test_choosing_instances_keeps_every_field_in_step(index, chosen):
    found = some_instances(track_ids=np.arange(10, 16, dtype=np.int32))
    part = found[index]
    assert len(part) == len(chosen)
    np.testing.assert_array_equal(part.boxes, found.boxes[chosen])
    np.testing.assert_array_equal(part.scores, found.scores[chosen])
    np.testing.assert_array_equal(part.class_ids, found.class_ids[chosen])
    assert part.track_ids is not None
    np.testing.assert_array_equal(part.track_ids, np.arange(10, 16)[chosen])
    assert part.frame_size == SIZE
    for k, i in enumerate(chosen):
        np.testing.assert_array_equal(part.dense(k), found.dense(i))
    assert part.rles() == [found.rles()[i] for i in chosen]
    assert (part.boxes.dtype, part.masks.data.dtype, part.masks.regions.dtype) == (np.float32, np.uint8, np.int32)


def test_iterating_gives_instances_of_one():
    found = some_instances()
    ones = list(found)
    assert [len(one) for one in ones] == [1] * 6
    assert [float(one.scores[0]) for one in ones] == found.scores.tolist()
    with pytest.raises(IndexError):
        found[6]


def test_instances_refuse_lengths_that_differ():
    with pytest.raises(ValueError, match=r"instances: 6 scores but \[6, 5, 6\] boxes, classes and masks"):
        some_instances(class_ids=np.zeros(5, np.int32))
    with pytest.raises(ValueError, match="instances: 6 scores"):
        some_instances(track_ids=np.zeros(5, np.int32))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_dense_rle_and_polygons_are_the_same_mask():
    found = some_instances(12)
    for i, rle in enumerate(found.rles()):
        expected = dense_mask(found.masks, i, SIZE)
        dense = found.dense(i)
        assert dense.dtype == np.bool_
        np.testing.assert_array_equal(dense, expected)
        np.testing.assert_array_equal(coco.decode(rle), expected)
        outer, _ = cv2.findContours(expected, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        polygons = found.polygons(i)
        filled, without_holes = np.zeros((2, *SIZE), np.uint8)
        cv2.drawContours(without_holes, outer, -1, 1, cv2.FILLED)
        cv2.drawContours(filled, [p[:, None] for p in polygons], -1, 1, cv2.FILLED)
        np.testing.assert_array_equal(filled, without_holes)
        assert len(polygons) == len(outer)
        assert all(p.dtype == np.int32 and p.shape[1] == 2 for p in polygons)


def test_polygon_of_a_full_mask_is_the_corner_pixels_of_the_frame():
    masks = make_masks([np.full((12, 20), 255, np.uint8)], [(0, 0)], (12, 20), (0.25, 0.25))
    (polygon,) = make_instances(masks, SIZE).polygons(0)
    assert sorted(polygon.tolist()) == [[0, 0], [0, 47], [79, 0], [79, 47]]


def test_empty_masks_have_no_polygon_and_no_pixel():
    masks = make_masks([np.zeros((3, 3), np.uint8)], [(4, 2)], (12, 20), (0.25, 0.25))
    found = make_instances(masks, SIZE)
    assert found.polygons(0) == []
    assert not found.dense(0).any()
    assert coco.area(found.rles()[0]) == 0


def test_no_instance_is_a_value_too():
    found = make_instances(make_masks([], [], (12, 20), (0.25, 0.25)), SIZE)
    assert len(found) == 0
    assert list(found) == []
    assert found.rles() == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools
def test_record_is_plain_json_with_everything_in_it():
    found = some_instances(3, track_ids=np.array([5, 6, 7], np.int32))
    frame = Frame(
        (np.zeros((*SIZE, 3), np.uint8),), "rgb24", index=4, pts=200, time_base=Fraction(1, 1000), name="a.jpg"
    )
    record = json.loads(json.dumps(Result(frame, found, ("a", "b", "c")).to_record()))
    assert record["frame"] == 4
    assert (record["pts"], record["time_base"], record["time_s"]) == (200, [1, 1000], 0.2)
    assert record["size"] == [48, 80]
    assert record["name"] == "a.jpg"
    assert [entry["class"] for entry in record["instances"]] == ["a", "b", "c"]
    assert [entry["track_id"] for entry in record["instances"]] == [5, 6, 7]
    for i, entry in enumerate(record["instances"]):
        np.testing.assert_array_equal(coco.decode(entry["rle"]).astype(bool), found.dense(i))
        assert entry["box"] == found.boxes[i].tolist()
        assert entry["score"] == pytest.approx(float(found.scores[i]), abs=1e-5)


def test_times_are_recorded_to_the_microsecond():
    frame = Frame((np.zeros((*SIZE, 3), np.uint8),), "rgb24", pts=100, time_base=Fraction(1, 3))
    assert Result(frame, Instances.none(SIZE), ()).to_record()["time_s"] == 33.333333


@pytest.mark.parametrize("shift", [(0, 0), (3, 5)])
def test_polygons_lie_where_their_mask_does(shift):
    square = np.zeros((5, 5), np.uint8)
    square[1:4, 1:4] = 255
    (polygon,) = make_instances(make_masks([square], [shift], (12, 20), (1.0, 1.0)), (12, 20)).polygons(0)
    x, y = shift
    assert polygon.min(0).tolist() == [x + 1, y + 1]
    assert polygon.max(0).tolist() == [x + 3, y + 3]


def test_record_of_an_empty_video_frame_names_no_file_and_no_instance():
    found = make_instances(make_masks([], [], (12, 20), (0.25, 0.25)), SIZE)
    record = Result(Frame((np.zeros((*SIZE, 3), np.uint8),), "rgb24"), found, ("a",)).to_record()
    assert record["instances"] == []
    assert "name" not in record
