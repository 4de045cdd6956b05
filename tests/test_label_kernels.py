"""The label kernels against whole arrays in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_twin import blend_labels, blobs, dense_labels, enlarge
from overlay_twin import make_planes

from solo_rt import _native
from solo_rt.types import UInt8

SIZES = [(48, 80), (47, 79), (48, 79), (47, 80), (1, 1), (2, 1), (1, 2), (3, 3), (1, 200), (70, 131)]
GRIDS = [(48, 80), (12, 20), (13, 37), (96, 160), (101, 203), (1, 1), (5, 1), (1, 7)]
RNG = np.random.default_rng(1)
COLOURS = RNG.integers(0, 256, (256, 3), np.uint8)
ALPHAS = RNG.integers(0, 257, 256).astype(np.uint16)
ALPHAS[:4] = [256, 0, 115, 115]


def padded(array: UInt8) -> UInt8:
    """Return the same values in rows that are not adjacent."""
    wide = np.full((array.shape[0], array.shape[1] + 3, *array.shape[2:]), 77, np.uint8)
    wide[:, : array.shape[1]] = array
    return wide[:, : array.shape[1]]


def overlay(planes: tuple[UInt8, ...], labels: UInt8, *, threads: int = 1) -> tuple[UInt8, ...]:
    out = tuple(padded(np.zeros_like(plane)) for plane in planes)
    _native.overlay_labels(planes, labels, COLOURS, ALPHAS, out, threads)
    for plane in out:
        beyond = plane.base[:, plane.shape[1] :]
        assert (beyond == 77).all(), "written beyond the end of a row"
    return out


def assert_equals_twin(labels: UInt8, size: tuple[int, int]) -> None:
    dense = dense_labels(labels, size)
    np.testing.assert_array_equal(_native.fill_labels(labels, size), dense)
    np.testing.assert_array_equal(_native.count_labels(labels, size), np.bincount(dense.ravel(), minlength=256))
    for pixel_format in ("rgb24", "yuv420p"):
        planes = make_planes(size, pixel_format)
        for got, expected in zip(overlay(planes, labels), blend_labels(planes, labels, COLOURS, ALPHAS), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("grid", GRIDS)
def test_pixels_counts_and_overlay_equal_the_twin(size, grid):
    for block in (1, 5, 40):
        assert_equals_twin(padded(blobs(np.random.default_rng(2), grid, [0, 1, 2, 3, 9, 255], block)), size)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_grid_on_any_frame_equals_the_twin(data):
    size, grid = (data.draw(st.tuples(st.integers(1, 60), st.integers(1, 90))) for _ in range(2))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    assert_equals_twin(blobs(rng, grid, list(range(256)), data.draw(st.integers(1, 50))), size)


@pytest.mark.parametrize("label", [0, 1, 255])
def test_a_map_of_one_label_is_one_run(label):
    labels = np.full((24, 50), label, np.uint8)
    counts = _native.count_labels(labels, (45, 81))
    assert (counts[label], counts.sum()) == (45 * 81, 45 * 81)
    assert_equals_twin(labels, (45, 81))


def test_a_label_without_opacity_leaves_the_picture_alone():
    for pixel_format in ("rgb24", "yuv420p"):
        planes = make_planes((31, 45), pixel_format)
        for before, after in zip(planes, overlay(planes, np.ones((31, 45), np.uint8)), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_threads_do_not_change_the_result(pixel_format):
    planes, labels = make_planes((131, 70), pixel_format), blobs(RNG, (64, 40), [0, 1, 2, 3])
    for one, many in zip(overlay(planes, labels), overlay(planes, labels, threads=3), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 1, 1), (19, 7, 31), (256, 3, 4), (3, 2, 2100)])
def test_argmax_equals_numpy(shape, threads):
    logits = np.random.default_rng(3).integers(-3, 3, shape).astype(np.float32)  # many equal ones
    for size in (shape[1:], (1, 1), (shape[1], max(1, shape[2] - 1))):
        labels = _native.argmax(logits, size, threads)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, logits.argmax(0)[: size[0], : size[1]])


def test_argmax_takes_infinities_and_never_nan():
    logits = np.array([[[0.0]], [[np.nan]], [[-np.inf]], [[1.0]], [[np.inf]]], np.float32)
    assert _native.argmax(logits, (1, 1)) == 4
    assert _native.argmax(logits[:3], (1, 1)) == 0


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ([NAN, 5], 1),
        ([5, NAN], 0),
        ([NAN, NAN, -1], 2),
        ([NAN, -INF, -9, NAN, 3, 3], 4),
        ([-INF, NAN, -1e38], 2),
        ([NAN, INF, INF], 1),
        ([NAN, NAN], 0),
        ([NAN, -INF], 0),
        ([-INF, NAN], 0),
    ],
)
def test_the_first_channel_has_no_start_over_the_others(values, label):
    logits = np.broadcast_to(np.array(values, np.float32), (3, 5, len(values)))
    whole = np.full((3, 5), label)
    np.testing.assert_array_equal(_native.argmax(np.ascontiguousarray(logits.transpose(2, 0, 1)), (3, 5)), whole)
    np.testing.assert_array_equal(_native.enlarged_argmax(logits.copy(), (3, 5), False, (3, 5)), whole)
    assert (_native.enlarged_argmax(logits.copy(), (30, 50), True, (30, 50)) == label).all()


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("shape", "full"),
    [
        ((3, 5, 4), (24, 40)),
        ((7, 9, 19), (50, 61)),
        ((4, 4, 3), (1, 1)),
        ((1, 1, 3), (9, 9)),
        ((8, 8, 5), (8, 8)),
        ((9, 13, 6), (4, 5)),
        ((2, 2, 256), (70, 131)),
        ((5, 3, 1), (20, 12)),
    ],
)
def test_enlarged_argmax_is_the_argmax_of_enlarged_logits(shape, full, corners, threads):
    logits = np.random.default_rng(4).normal(0, 1, shape).astype(np.float32)
    logits[: shape[0] // 2] += np.eye(shape[2], dtype=np.float32)[0] * 9  # cells of one label as well
    expected = enlarge(logits, full, corners=corners)
    clear = np.ones(full, bool)
    if shape[2] > 1:
        clear = np.diff(np.sort(expected, -1)[..., -2:])[..., 0] > 1e-5
    assert clear.mean() > 0.95
    for size in (full, (1, 1), (full[0], max(1, full[1] - 3))):
        labels = _native.enlarged_argmax(logits, full, corners, size, threads)
        part = np.s_[: size[0], : size[1]]
        np.testing.assert_array_equal(labels[clear[part]], expected.argmax(-1)[part][clear[part]])


def test_enlarged_argmax_takes_the_first_of_equals():
    logits = np.zeros((3, 4, 5), np.float32)
    assert not _native.enlarged_argmax(logits, (20, 30), True, (20, 30)).any()
    logits[1, 2, 3:] = 1  # equal in one corner
    assert set(np.unique(_native.enlarged_argmax(logits, (20, 30), True, (20, 30)))) == {0, 3}


@pytest.mark.parametrize("corners", [True, False])
def test_a_class_that_is_impossible_does_not_win_the_borders_of_others(corners):
    logits = np.zeros((2, 2, 3), np.float32)
    logits[..., 0] = -INF
    logits[:, 0, 1] = logits[:, 1, 2] = 5
    labels = _native.enlarged_argmax(logits, (8, 8), corners, (8, 8))
    assert labels.tolist() == [[1] * 4 + [2] * 4] * 8


@pytest.mark.parametrize("corners", [True, False])
def test_one_nan_spoils_its_own_class_alone(corners):
    logits = np.zeros((4, 4, 2), np.float32)
    logits[..., 1] = 5
    logits[1, 1, 0] = NAN
    assert (_native.enlarged_argmax(logits, (16, 16), corners, (16, 16)) == 1).all()


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("channels", [2, 7, 19, 40])
def test_enlarged_argmax_takes_infinities_for_large_numbers(channels, corners):
    rng = np.random.default_rng(channels)
    logits = rng.normal(0, 1, (9, 12, channels)).astype(np.float32)
    for value in (NAN, -INF, INF):
        logits[rng.random(logits.shape) < 0.1 / channels] = value
    large = np.finfo(np.float32).max / 2
    finite = np.nan_to_num(logits.astype(np.float64), nan=-large, posinf=large, neginf=-large)
    expected = enlarge(finite, (50, 61), corners=corners)
    second, first = np.sort(expected, -1)[..., -2:].transpose(2, 0, 1)
    clear = first - second > 1e-5 * np.maximum(np.abs(first), 1)
    assert clear.mean() > 0.9
    labels = _native.enlarged_argmax(logits, (50, 61), corners, (50, 61))
    np.testing.assert_array_equal(labels[clear], expected.argmax(-1)[clear])


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_the_picture_itself_is_no_place_for_the_overlay(pixel_format):
    planes, labels = make_planes((8, 6), pixel_format), np.zeros((4, 3), np.uint8)
    others = tuple(np.empty_like(plane) for plane in planes)
    message = "out: expected memory of its own, got that of planes"
    for out in (planes, tuple(plane[:] for plane in planes), (*others[:-1], planes[-1]), (planes[0], *others[1:])):
        with pytest.raises(ValueError, match=message):
            _native.overlay_labels(planes, labels, COLOURS, ALPHAS, out)
    with pytest.raises(ValueError, match=message):
        _native.overlay_labels(planes, labels, COLOURS, ALPHAS, tuple(plane[::-1] for plane in planes))


def test_overlay_may_write_beside_the_picture_but_not_into_a_part_of_it():
    (rgb,) = make_planes((8, 12), "rgb24")
    labels = blobs(RNG, (8, 6), [0, 1, 2, 3])
    left, right = rgb[:, :6], rgb[:, 6:]
    (expected,) = overlay((left.copy(),), labels)
    for out in (rgb[:, 5:11], rgb[:, 1:7], rgb[1:8, 5:11]):
        with pytest.raises(ValueError, match="out: expected memory of its own"):
            _native.overlay_labels((left[: len(out)],), labels, COLOURS, ALPHAS, (out,))
    _native.overlay_labels((left,), labels, COLOURS, ALPHAS, (right,))
    np.testing.assert_array_equal(right, expected)


def test_arguments_that_do_not_fit_are_named():
    planes, labels = make_planes((8, 6), "rgb24"), np.zeros((4, 3), np.uint8)
    with pytest.raises(ValueError, match=r"labels: expected uint8 \[any, any\], got uint8 \[1, 4, 3\]"):
        _native.fill_labels(labels[None], (8, 6))
    with pytest.raises(TypeError, match=r"labels: expected uint8 \[any, any\], got int64 \[4, 3\]"):
        _native.count_labels(labels.astype(np.int64), (8, 6))
    for size in ((0, 6), (8, 65536)):
        with pytest.raises(ValueError, match="fill_labels: sizes contradict"):
            _native.fill_labels(labels, size)
        with pytest.raises(ValueError, match="count_labels: sizes contradict"):
            _native.count_labels(labels, size)
    with pytest.raises(ValueError, match="count_labels: sizes contradict"):
        _native.count_labels(labels[:0], (8, 6))
    for out in (make_planes((8, 7), "rgb24"), make_planes((8, 6), "yuv420p")):
        with pytest.raises(ValueError, match="overlay_labels: sizes contradict"):
            _native.overlay_labels(planes, labels, COLOURS, ALPHAS, out)
    with pytest.raises(ValueError, match=r"colours: expected uint8 \[256, 3\], got uint8 \[4, 3\]"):
        _native.overlay_labels(planes, labels, COLOURS[:4], ALPHAS, make_planes((8, 6), "rgb24"))
    with pytest.raises(ValueError, match="overlay_labels: an argument is out of range"):
        _native.overlay_labels(planes, labels, COLOURS, ALPHAS + np.uint16(1), make_planes((8, 6), "rgb24"))
    with pytest.raises(ValueError, match=r"logits: expected float32 \[any, any, any\], got float32 \[3, 4\]"):
        _native.enlarged_argmax(np.zeros((3, 4), np.float32), (8, 8), True, (8, 8))
    for full, size in (((8, 8), (9, 8)), ((8, 8), (8, 0)), ((70000, 8), (8, 8))):
        with pytest.raises(ValueError, match="enlarged_argmax: sizes contradict"):
            _native.enlarged_argmax(np.zeros((2, 2, 3), np.float32), full, True, size)
    for channels in (0, 257):
        with pytest.raises(ValueError, match="enlarged_argmax: an argument is out of range"):
            _native.enlarged_argmax(np.zeros((2, 2, channels), np.float32), (8, 8), True, (8, 8))
    logits = np.zeros((3, 4, 5), np.float32)
    for size in ((0, 5), (5, 5), (4, 6), (-1, 5)):
        with pytest.raises(ValueError, match="argmax: sizes contradict"):
            _native.argmax(logits, size)
    for bad in (np.zeros((0, 4, 5), np.float32), np.zeros((257, 4, 5), np.float32)):
        with pytest.raises(ValueError, match="argmax: an argument is out of range"):
            _native.argmax(bad, (4, 5))
