"""The CUDA kernels on pictures against those of the CPU, on a GPU and on the emulator."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from label_twin import blobs
from overlay_twin import make_planes
from pictures import DeviceMasks, DevicePicture, group_norm, letterbox, overlay, overlay_labels
from soft_mask_twin import make_masks, random_masks

from solo_rt import _native
from solo_rt.errors import EngineError
from solo_rt.gpu.kernels import LabelMap, LabelStyle, OverlayStyle

TYPES = ("float32", "float16")
PRECISION = {"float32": 1e-6, "float16": 2.0**-11}
MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def cpu_planes(pixel_format):
    return "rgb24" if pixel_format == "rgb24" else "yuv420p"


@pytest.mark.parametrize("pixel_format", ["rgb24", "i420", "nv12"])
@pytest.mark.parametrize(
    ("frame", "size", "resized", "pad", "offset"),
    [
        ((1, 1), (4, 4), (3, 2), 0, 0),
        ((37, 61), (32, 40), (24, 40), 3, 0),
        ((24, 33), (18, 270), (18, 261), 0, 0),
        ((90, 50), (13, 7), (13, 7), 1, 4),
    ],
)
def test_letterbox_is_that_of_the_cpu(device, frame, size, resized, pad, offset, pixel_format):
    planes = make_planes(frame, cpu_planes(pixel_format))
    for bt709, full_range, type_name in ((False, False, "float32"), (True, True, "float16"), (True, False, "float32")):
        expected = np.full((3, *size), 9, np.float32)
        _native.letterbox(list(planes), bt709, full_range, resized, MEAN, STD, expected)
        found = letterbox(
            device, DevicePicture(device, planes, pixel_format, pad), size=size, resized=resized, mean=MEAN, std=STD,
            bt709=bt709, full_range=full_range, type_name=type_name, offset=offset,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=PRECISION[type_name], atol=3e-6)


@pytest.mark.parametrize("pixel_format", ["rgb24", "i420", "nv12"])
@pytest.mark.parametrize(
    ("frame", "grid", "outline", "alpha"),
    [
        ((1, 1), (2, 2), 0, 0.5),
        ((47, 131), (12, 33), 0, 0.5),
        ((47, 131), (12, 33), 2, 0.25),
        ((70, 90), (9, 12), 32, 0.75),
        ((33, 65), (40, 80), 5, 1.0),
    ],
)
def test_overlay_gives_the_bytes_of_the_cpu(device, frame, grid, outline, alpha, pixel_format):
    rng = np.random.default_rng(outline)
    step = (grid[0] / frame[0] * 0.93, grid[1] / frame[1])
    masks = random_masks(rng, 9, grid, step)
    colours = rng.integers(0, 256, (9, 3), np.uint8)
    planes = make_planes(frame, cpu_planes(pixel_format))
    picture = DevicePicture(device, planes, pixel_format, pad=5)
    found = overlay(device, picture, DeviceMasks(device, masks), colours, alpha=round(alpha * 256), outline=outline)
    expected = [plane.copy() for plane in planes]
    _native.overlay(
        expected, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, colours, alpha, outline
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_overlay_paints_more_masks_than_a_block_has_threads_in_order(device):
    crops = [np.full((2, 3), 255, np.uint8) for _ in range(300)]
    masks = make_masks(crops, [(i % 7, i % 5) for i in range(300)], (8, 10), (0.4, 0.5))
    colours = np.random.default_rng(0).integers(0, 256, (300, 3), np.uint8)
    planes = make_planes((20, 20), "rgb24")
    found = overlay(
        device, DevicePicture(device, planes, "rgb24"), DeviceMasks(device, masks), colours, alpha=100, outline=1
    )
    expected = [planes[0].copy()]
    _native.overlay(
        expected, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, colours, 100 / 256, 1
    )
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("pixel_format", ["rgb24", "i420", "nv12"])
@pytest.mark.parametrize("size", [(1, 1), (6, 8), (47, 61)])
def test_copy_is_the_same_picture_and_leaves_the_padding(device, size, pixel_format):
    source, target = (
        DevicePicture(device, make_planes(size, cpu_planes(pixel_format), seed), pixel_format, pad)
        for seed, pad in ((0, 5), (1, 2))
    )
    device.kernels.copy_picture(source.struct, target.struct, stream=device.stream)
    for a, b in zip(target.planes(), source.planes(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_copies_between_different_pictures_are_refused(device):
    small, large = (DevicePicture(device, make_planes(size, "yuv420p"), "nv12").struct for size in ((4, 4), (4, 5)))
    other = DevicePicture(device, make_planes((4, 4), "yuv420p"), "i420").struct
    with pytest.raises(EngineError, match="a size"):
        device.kernels.copy_picture(small, large, stream=0)
    with pytest.raises(EngineError, match="an argument"):
        device.kernels.copy_picture(small, other, stream=0)


def test_overlay_of_no_mask_changes_nothing(device):
    planes = make_planes((9, 9), "yuv420p")
    masks = make_masks([], [], (3, 3), (0.33, 0.33))
    nothing = np.empty((0, 3), np.uint8)
    found = overlay(
        device, DevicePicture(device, planes, "nv12"), DeviceMasks(device, masks), nothing, alpha=256, outline=3
    )
    for a, b in zip(found, planes, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("pixel_format", ["rgb24", "i420", "nv12"])
@pytest.mark.parametrize(
    ("frame", "grid"),
    [((1, 1), (1, 1)), ((2, 1), (3, 5)), ((47, 131), (12, 33)), ((33, 64), (66, 128)), ((20, 30),) * 2],
)
def test_labels_are_painted_to_the_bytes_of_the_cpu(device, frame, grid, pixel_format):
    rng = np.random.default_rng(grid[0])
    labels = blobs(rng, grid, [0, 1, 18, 255], block=3)
    colours, alphas = rng.integers(0, 256, (256, 3), np.uint8), rng.integers(0, 257, 256).astype(np.uint16)
    alphas[[0, 18]] = 0, 256
    planes = make_planes(frame, cpu_planes(pixel_format))
    expected = [np.empty_like(plane) for plane in planes]
    _native.overlay_labels(planes, labels, colours, alphas, expected)
    picture = DevicePicture(device, planes, pixel_format, pad=3)
    for a, b in zip(overlay_labels(device, picture, labels, colours, alphas, pad=7), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_of_large_maps_are_found_where_products_exceed_32_bits(device):
    labels = (np.arange(60000) % 251).astype(np.uint8)[:, None]
    colours, alphas = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3), np.full(256, 256, np.uint16)
    planes = make_planes((40000, 2), "rgb24")
    (found,) = overlay_labels(device, DevicePicture(device, planes, "rgb24"), labels, colours, alphas)
    rows = (2 * np.arange(40000, dtype=np.int64) + 1) * 60000 // 80000
    np.testing.assert_array_equal(found, np.broadcast_to(labels[rows, :, None], found.shape))


def test_empty_label_maps_are_refused(device):
    picture = DevicePicture(device, make_planes((4, 4), "rgb24"), "rgb24").struct
    with pytest.raises(EngineError, match="a size"):
        device.kernels.overlay_labels(picture, LabelMap(0, 4, 0, 4), LabelStyle(0, 0), stream=0)


def normalise(values, gamma, beta, groups, relu):
    grouped = values.astype(np.float64).reshape(*values.shape[:2], groups, -1)
    mean, variance = (moment(axis=(1, 3), keepdims=True) for moment in (grouped.mean, grouped.var))
    result = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(values.shape) * gamma + beta
    return np.maximum(result, 0) if relu else result


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(
    ("shape", "groups", "offset"),
    [
        ((1, 1, 1), 1, 0), ((2, 35, 6), 3, 0), ((1, 5000, 4), 2, 0), ((2, 1024, 8), 2, 4), ((2, 900, 128), 32, 0),
        ((1, 300, 144), 12, 0), ((2, 40, 12), 1, 0), ((1, 9, 512), 2, 0), ((1, 9, 512), 2, 4), ((1, 70, 21), 3, 0),
    ],
)  # fmt: skip
def test_group_norm(device, shape, groups, offset, type_name):
    rng = np.random.default_rng(groups)
    values = (rng.integers(-64, 64, shape) + 100).astype(np.float32)  # the mean is far from zero
    gamma, beta = rng.normal(1, 0.2, shape[2]), rng.normal(0, 0.2, shape[2])
    for relu in (False, True):
        found = group_norm(device, values, gamma, beta, groups=groups, relu=relu, type_name=type_name, offset=offset)
        expected = normalise(values, gamma, beta, groups, relu)
        np.testing.assert_allclose(found, expected, rtol=PRECISION[type_name], atol=5e-6)


@pytest.mark.parametrize(
    ("shape", "groups"), [((1, 4, 257), 1), ((1, 4, 10), 4), ((0, 4, 4), 2), ((1, 0, 4), 2), ((65536, 1, 4), 2)]
)
def test_impossible_groups_are_refused(device, shape, groups):
    with pytest.raises(EngineError, match="a size"):
        group_norm(device, np.zeros(shape), *np.zeros((2, shape[2])), groups=groups)


@pytest.mark.parametrize(("alpha", "outline", "status"), [(257, 0, 2), (-1, 0, 2), (0, 33, 2), (0, -1, 2)])
def test_impossible_styles_are_refused(device, alpha, outline, status):
    picture = DevicePicture(device, make_planes((4, 4), "rgb24"), "rgb24")
    masks = DeviceMasks(device, make_masks([], [], (2, 2), (0.5, 0.5)))
    style = OverlayStyle(0, alpha, outline)
    structs = (ctypes.byref(picture.struct), ctypes.byref(masks.struct), ctypes.byref(style))
    assert device.call("solo_cuda_overlay", *structs) == status
