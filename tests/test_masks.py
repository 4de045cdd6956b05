"""Boxes, run-length codes and pixels of soft masks, against the evaluation of every pixel."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from soft_mask_twin import dense_mask, grid_positions, make_instances, make_masks, random_masks

from solo_rt import _native
from solo_rt.types import Masks, UInt8

# grid size, frame size, step: the frame is the whole grid, a part of it as after padding, smaller than it, or one pixel
CASES = [
    ((12, 20), (48, 80), (0.25, 0.25)),
    ((12, 20), (37, 61), (0.2973, 0.31)),
    ((63, 112), (1080, 1920), (252 / 1080 / 4, 448 / 1920 / 4)),
    ((3, 112), (99, 7680), (0.03, 448 / 7680 / 4)),
    ((40, 31), (17, 9), (2.3, 3.4)),
    ((40, 31), (160, 5), (0.25, 6.2)),
    ((9, 7), (9, 7), (1.0, 1.0)),
    ((8, 8), (1, 1), (8.0, 8.0)),
    ((8, 8), (1, 1), (0.25, 0.25)),
    ((1, 1), (5, 4), (0.2, 0.25)),
    ((1, 9), (3, 300), (1e-3, 0.03)),
]


def arguments(masks: Masks) -> tuple[object, ...]:
    return masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step


def fill(masks: Masks, i: int, frame_size: tuple[int, int]) -> UInt8:
    out = np.zeros(frame_size, np.uint8)
    _native.fill_mask(*arguments(masks), i, out)
    return out


def assert_equals_twin(masks: Masks, frame_size: tuple[int, int]) -> None:
    boxes = _native.mask_boxes(*arguments(masks), frame_size)
    codes = _native.encode_masks(*arguments(masks), frame_size)
    assert boxes.dtype == np.float32
    assert boxes.shape == (len(masks), 4)
    assert len(codes) == len(masks)
    expected_boxes = make_instances(masks, frame_size).boxes
    for i in range(len(masks)):
        expected = dense_mask(masks, i, frame_size)
        np.testing.assert_array_equal(fill(masks, i, frame_size), expected)
        assert codes[i].encode() == coco.encode(np.asfortranarray(expected))["counts"]
        np.testing.assert_array_equal(boxes[i], expected_boxes[i])


@pytest.mark.parametrize(("grid_size", "frame_size", "step"), CASES)
def test_every_form_equals_the_twin_on_random_masks(grid_size, frame_size, step):
    assert_equals_twin(random_masks(np.random.default_rng(0), 12, grid_size, step), frame_size)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_form_equals_the_twin_on_any_geometry(data):
    grid_size = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    frame_size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    step = data.draw(st.tuples(st.floats(0.01, 9), st.floats(0.01, 9)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    assert_equals_twin(random_masks(rng, 5, grid_size, step), frame_size)


WITH_LITTLE_MEMORY = """
import resource, sys
import numpy as np
from solo_rt import _native

MB = 2**20
COUNT, SIDE, FRAME = 64, 256, (1024, 4096)  # texts of almost 1 MB each
STEP = (SIDE / FRAME[0], SIDE / FRAME[1])
ROOM = 7 * (2 * FRAME[1] * (SIDE // 2 + 1) + 1)  # bytes of a thread, for the worst text
data = np.random.default_rng(0).integers(0, 256, COUNT * SIDE**2).astype(np.uint8)
offsets = np.arange(COUNT + 1) * SIDE**2
regions = np.tile(np.array([0, 0, SIDE, SIDE], np.int32), (COUNT, 1))


def encode(count, threads):
    part = data[: count * SIDE**2], offsets[: count + 1], regions[:count]
    return _native.encode_masks(*part, (SIDE, SIDE), STEP, FRAME, threads)


def boxes(threads):
    return _native.mask_boxes(data, offsets, regions, (SIDE, SIDE), STEP, FRAME, threads)


def allow(more):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, most))


most = resource.getrlimit(resource.RLIMIT_AS)[1]
whole, expected = encode(8, 1), boxes(1)
stack = max(resource.getrlimit(resource.RLIMIT_STACK)[0], 2 * MB)
if sys.argv[1] == "threads":  # none can start: there is no room for its stack
    allow(stack // 2)
    assert np.array_equal(boxes(4), expected)
else:  # one starts, and soon there is no memory for texts
    assert COUNT * len(whole[0]) > 2 * 16 * MB
    allow(2 * ROOM + stack + 16 * MB)
    try:
        encode(COUNT, 2)
    except MemoryError:
        print("MemoryError", flush=True)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    assert encode(8, 2) == whole
"""


@pytest.mark.parametrize(("lacking", "said"), [("threads", ""), ("texts", "MemoryError\n")])
def test_a_process_outlives_that_memory_runs_out_in_a_thread(lacking, said):
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY, lacking], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_full_mask_covers_the_frame_and_touches_every_edge():
    masks = make_masks([np.full((6, 8), 255, np.uint8)], [(0, 0)], (6, 8), (0.25, 0.25))
    assert fill(masks, 0, (24, 32)).all()
    assert _native.mask_boxes(*arguments(masks), (24, 32)).tolist() == [[0, 0, 32, 24]]
    assert_equals_twin(masks, (24, 32))


def test_each_edge_of_the_grid_continues_outwards_and_the_others_fade():
    crop = np.full((2, 2), 255, np.uint8)
    corners = [(0, 2), (4, 2), (2, 0), (2, 4)]
    masks = make_masks([crop] * 4, corners, (6, 6), (0.25, 0.25))
    boxes = _native.mask_boxes(*arguments(masks), (24, 24))
    # a sample covers 4 pixels; towards a sample of 0 the half-way line is its own edge
    assert boxes.tolist() == [[0, 8, 8, 16], [16, 8, 24, 16], [8, 0, 16, 8], [8, 16, 16, 24]]


def test_value_exactly_at_the_threshold_is_outside():
    _, fractions = grid_positions(1, 2.0, 2)
    assert fractions.tolist() == [1024]  # half-way between the two cells
    for pair, inside in (([255, 0], 0), ([0, 255], 0), ([255, 1], 1), ([127, 128], 0), ([128, 128], 1)):
        masks = make_masks([np.array([pair], np.uint8)], [(0, 0)], (1, 2), (1.0, 2.0))
        assert fill(masks, 0, (1, 1)).tolist() == [[inside]]


def test_no_mask_gives_empty_values():
    masks = make_masks([], [], (6, 6), (0.25, 0.25))
    assert _native.mask_boxes(*arguments(masks), (24, 24)).shape == (0, 4)
    assert _native.encode_masks(*arguments(masks), (24, 24)) == []


def test_mask_without_a_pixel_has_a_zero_box_and_an_all_zero_code():
    crops = [np.zeros((3, 3), np.uint8), np.empty((0, 4), np.uint8), np.full((2, 2), 127, np.uint8)]
    masks = make_masks(crops, [(1, 1)] * 3, (6, 6), (0.25, 0.25))
    assert _native.mask_boxes(*arguments(masks), (24, 24)).tolist() == [[0, 0, 0, 0]] * 3
    assert_equals_twin(masks, (24, 24))


def test_mask_in_the_padding_below_the_picture_is_empty():
    masks = make_masks([np.full((2, 2), 255, np.uint8)], [(2, 4)], (6, 6), (0.25, 0.25))
    assert_equals_twin(masks, (12, 24))
    assert _native.mask_boxes(*arguments(masks), (12, 24)).tolist() == [[0, 0, 0, 0]]


def test_agrees_with_real_interpolation_away_from_the_threshold():
    rng = np.random.default_rng(3)
    masks = random_masks(rng, 8, (20, 30), (0.0713, 0.0931))
    height, width = 260, 300
    for i in range(len(masks)):
        grid = np.zeros((20, 30))
        x0, y0, x1, y1 = masks.regions[i]
        grid[y0:y1, x0:x1] = masks.crop(i)
        ys = np.clip((np.arange(height) + 0.5) * masks.step[0] - 0.5, 0, 19)
        xs = np.clip((np.arange(width) + 0.5) * masks.step[1] - 0.5, 0, 29)
        rows = np.stack([np.interp(ys, np.arange(20), column) for column in grid.T], 1)
        values = np.stack([np.interp(xs, np.arange(30), row) for row in rows])
        clear = np.abs(values - 127.5) > 255 / 2048  # rounding moves a position by 1/4096 of a cell in either axis
        np.testing.assert_array_equal(fill(masks, i, (height, width))[clear], (values > 127.5)[clear])
        assert clear.mean() > 0.9


def test_fill_writes_a_window_and_leaves_other_pixels_alone():
    masks = random_masks(np.random.default_rng(5), 8, (12, 20), (0.25, 0.25))
    for i in range(len(masks)):
        whole = dense_mask(masks, i, (48, 80))
        padded = np.full((20, 64), 7, np.uint8)
        window = padded[:, :33]
        _native.fill_mask(*arguments(masks), i, window, (11, 30))
        np.testing.assert_array_equal(window, np.where(whole[11:31, 30:63] == 1, 1, 7))
        assert (padded[:, 33:] == 7).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"regions": np.zeros((2, 4), np.int64)}, TypeError, r"regions: expected int32 \[any, 4\], got int64 \[2, 4\]"),
        ({"regions": np.zeros((2, 3), np.int32)}, ValueError, r"regions: expected int32 .*, got int32 \[2, 3\]"),
        ({"offsets": np.zeros(2, np.int64)}, ValueError, r"offsets: expected int64 \[3\], got int64 \[2\]"),
        ({"data": np.zeros(18, np.float32)}, TypeError, r"data: expected uint8 \[any\], got float32 \[18\]"),
        ({"data": np.zeros(36, np.uint8)[::2]}, ValueError, "data: expected a contiguous array"),
        ({"data": np.zeros(17, np.uint8)}, ValueError, "mask_boxes: sizes contradict"),
        ({"offsets": np.array([0, 8, 18])}, ValueError, "mask_boxes: sizes contradict"),
        ({"offsets": np.array([9, 18, 27])}, ValueError, "mask_boxes: sizes contradict"),
        ({"regions": np.array([[0, 0, 3, 3], [4, 4, 7, 7]], np.int32)}, ValueError, "mask_boxes: sizes contradict"),
        ({"regions": np.array([[3, 3, 0, 0], [3, 3, 6, 6]], np.int32)}, ValueError, "mask_boxes: sizes contradict"),
        ({"grid_size": (0, 6)}, ValueError, "mask_boxes: sizes contradict"),
        ({"grid_size": (5000, 6)}, ValueError, "mask_boxes: sizes contradict"),
        ({"step": (0.0, 1.0)}, ValueError, "mask_boxes: an argument is out of range"),
        ({"step": (1.0, float("nan"))}, ValueError, "mask_boxes: an argument is out of range"),
        ({"frame_size": (0, 5)}, ValueError, "mask_boxes: sizes contradict"),
        ({"frame_size": (70000, 5)}, ValueError, "mask_boxes: sizes contradict"),
    ],
)
def test_refuses_what_does_not_fit(change, error, message):
    values = {
        "data": np.zeros(18, np.uint8),
        "offsets": np.array([0, 9, 18]),
        "regions": np.array([[0, 0, 3, 3], [3, 3, 6, 6]], np.int32),
        "grid_size": (6, 6),
        "step": (0.25, 0.25),
        "frame_size": (24, 24),
    }
    _native.mask_boxes(**values)
    with pytest.raises(error, match=message):
        _native.mask_boxes(**(values | change))


def test_fill_refuses_a_bad_index_and_outputs_it_cannot_write():
    masks = make_masks([np.full((2, 2), 255, np.uint8)], [(0, 0)], (2, 2), (0.5, 0.5))
    out = np.zeros((4, 4), np.uint8)
    for index in (-1, 1):
        with pytest.raises(ValueError, match="fill_mask: an argument is out of range"):
            _native.fill_mask(*arguments(masks), index, out)
    with pytest.raises(ValueError, match="out: expected contiguous rows"):
        _native.fill_mask(*arguments(masks), 0, out[:, ::2])
    with pytest.raises(TypeError, match=r"out: expected uint8 \[any, any\], got float64 \[4, 4\]"):
        _native.fill_mask(*arguments(masks), 0, np.zeros((4, 4)))
    with pytest.raises(ValueError, match="fill_mask: sizes contradict"):
        _native.fill_mask(*arguments(masks), 0, out, (-1, 0))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected an array that may be written to"):
        _native.fill_mask(*arguments(masks), 0, out)
