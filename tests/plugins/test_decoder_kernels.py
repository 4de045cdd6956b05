"""The CUDA kernels of the decoder against numpy, on a GPU and on the emulator."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from card import KERNELS
from decoder import (
    BitMasks,
    Candidates,
    binarise_masks,
    find_candidates,
    find_candidates_reference,
    logits_of,
    matrix_nms,
    matrix_nms_steps,
    pack_words,
    region_of,
    sigmoid,
    soft_masks,
)

from solo_rt import _native
from solo_rt.gpu.kernels import ConvShape, NmsOptions, logit_threshold

TYPES = ("float32", "float16")


def same_candidates(found, expected):
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(("count", "offset"), [(1, 0), (37, 0), (640, 0), (5000, 0), (5001, 0), (640, 4)])
def test_candidates_are_the_best_scores_in_order(device, count, offset, type_name):
    rng = np.random.default_rng(count)
    scores = (rng.integers(0, 64, (2, count)) / 64).astype(np.float32)  # ties, and exact in every type
    for slots in (1, 32, 500):
        found = find_candidates(device, scores, threshold=0.5, slots=slots, type_name=type_name, offset=offset)
        same_candidates(found, find_candidates_reference(scores, threshold=0.5, slots=slots))


def test_no_candidates(device):
    scores = np.full((3, 100), 0.1, np.float32)  # equal to the threshold
    scores[1] = np.nan
    found = find_candidates(device, scores, threshold=0.1, slots=7)
    assert not found.counts.any()
    assert not found.scores.any()
    assert not found.indices.any()


@pytest.mark.parametrize("equal", [False, True])
def test_more_candidates_than_can_be_sorted_at_once(device, equal):
    rng = np.random.default_rng(0)
    scores = np.full((1, 9000), 0.75, np.float32) if equal else rng.random((1, 9000), np.float32)
    found = find_candidates(device, scores, threshold=0.25, slots=600)
    same_candidates(found, find_candidates_reference(scores, threshold=0.25, slots=600))
    assert found.counts[0, 1] > 2048


def test_negative_scores_are_ordered_too(device):
    scores = np.linspace(-2, 1, 100, dtype=np.float32)[None]
    found = find_candidates(device, scores, threshold=-1.5, slots=100)
    same_candidates(found, find_candidates_reference(scores, threshold=-1.5, slots=100))


def conv_case(rng, *, batch, cells, channels, size, slots, counts, classes):
    """Small integers, whose products and sums every type holds exactly."""
    kernels = rng.integers(-2, 3, (batch, cells, channels)).astype(np.float32)
    features = rng.integers(-2, 3, (batch, channels, *size)).astype(np.float32)
    candidates = rng.integers(0, cells * classes, (batch, slots)).astype(np.int32)
    return kernels, features, candidates, np.array([[n, n] for n in counts], np.int32)


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(
    ("size", "channels", "slots", "counts", "offset"),
    [
        ((1, 1), 1, 1, (1, 0), 0),
        ((7, 9), 5, 3, (0, 3), 0),
        ((8, 16), 64, 20, (17, 20), 0),
        ((8, 16), 64, 20, (17, 20), 2),
        ((13, 24), 40, 150, (150, 129), 0),
        ((16, 24), 33, 40, (40, 1), 0),
    ],
)
def test_masks_areas_and_soft_sums(device, size, channels, slots, counts, offset, type_name):
    if offset and type_name == "float32":
        offset = 4
    rng = np.random.default_rng(slots)
    classes, threshold = 3, 0.5
    kernels, features, candidates, counted = conv_case(
        rng, batch=2, cells=11, channels=channels, size=size, slots=slots, counts=counts, classes=classes
    )
    found = binarise_masks(
        device, kernels, features, candidates, counted, divisor=classes, threshold=threshold, type_name=type_name,
        offset=offset,
    )  # fmt: skip
    for b, n in enumerate(counts):
        logits = logits_of(kernels[b], features[b], candidates[b, :n] // classes)
        inside = logits > threshold
        np.testing.assert_array_equal(found.words[b, :n], pack_words(inside))
        np.testing.assert_array_equal(found.areas[b, :n], inside.sum(axis=(1, 2)))
        sums = np.where(inside, sigmoid(logits), 0).sum(axis=(1, 2))
        np.testing.assert_allclose(found.soft_sums[b, :n], sums, rtol=2e-6)
        assert not found.areas[b, n:].any()
        assert not found.soft_sums[b, n:].any()


@pytest.mark.parametrize("type_name", TYPES)
def test_every_pixel_is_inside_at_threshold_zero_and_none_of_nan(device, type_name):
    kernels = np.ones((1, 2, 8), np.float32)
    features = np.full((1, 8, 5, 10), -100, np.float32)
    candidates = np.array([[0, 1]], np.int32)
    counts = np.array([[2, 2]], np.int32)
    everything = binarise_masks(
        device, kernels, features, candidates, counts, divisor=1, threshold=logit_threshold(0), type_name=type_name
    )
    assert everything.areas.tolist() == [[50, 50]]
    assert everything.words.tolist() == [[[2**32 - 1, 2**18 - 1]] * 2]
    features[:] = np.nan
    nothing = binarise_masks(device, kernels, features, candidates, counts, divisor=1, type_name=type_name)
    assert not nothing.areas.any()
    assert not nothing.words.any()
    assert not nothing.soft_sums.any()


def boxes(rng, n, size):
    masks = np.zeros((n, *size), np.bool_)
    for mask in masks:
        y, x = (int(rng.integers(0, side)) for side in size)
        mask[y : y + rng.integers(1, size[0] + 1), x : x + rng.integers(1, size[1] + 1)] = True
    return masks


def nms_case(rng, *, size, slots, counts, classes, cells):
    """Random boxes as bit masks, scores in few steps so that many are equal."""
    batch = len(counts)
    candidates = Candidates(
        np.zeros((batch, slots), np.float32),
        np.zeros((batch, slots), np.int32),
        np.array([[n, n + 1] for n in counts], np.int32),
    )
    bits = [boxes(rng, n, size) for n in counts]
    words = np.full((batch, slots, -(-size[0] * size[1] // 32)), 0xFFFFFFFF, np.uint32)
    areas, sums = np.zeros((batch, slots), np.int32), np.zeros((batch, slots), np.float32)
    for b, n in enumerate(counts):
        candidates.scores[b, :n] = np.sort(rng.integers(10, 20, n) / 20)[::-1]
        candidates.indices[b, :n] = rng.choice(cells * classes, n, replace=False)
        words[b, :n] = pack_words(bits[b])
        areas[b, :n] = bits[b].sum(axis=(1, 2))
        sums[b, :n] = areas[b, :n] * rng.choice([0.75, 0.875], n)
    return candidates, bits, BitMasks(words, areas, sums)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    ("size", "slots", "counts", "classes"),
    [((4, 5), 1, (0, 1), 1), ((9, 11), 40, (40, 17), 2), ((40, 60), 75, (70, 75), 1), ((9, 11), 60, (60, 0), 30)],
)
def test_instances_after_matrix_nms(device, size, slots, counts, classes, linear):
    rng = np.random.default_rng(slots)
    candidates, bits, masks = nms_case(rng, size=size, slots=slots, counts=counts, classes=classes, cells=100)
    options = {
        "classes": classes, "grids": (6, 8), "strides": (4, 12), "linear": linear, "update_threshold": 0.2,
        "max_instances": min(slots, 20),
    }  # fmt: skip
    found = matrix_nms(device, candidates, masks, **options)
    expected = matrix_nms_steps(candidates, bits, masks, **options)
    np.testing.assert_array_equal(found.num_dets, expected.num_dets)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6)
    for name in ("labels", "cells", "slots"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_equal_overlaps_lower_nothing_where_a_multiplication_and_an_addition_are_one(tmp_path):
    """As nvcc makes them: then a difference of two equal squares is what rounding one of them left over."""
    program = tmp_path / "equal"
    source = """
      #include "decay.h"
      int main() {
        int wrong = 0;
        for (int b = 1; b <= 60; ++b)
          for (int a = 0; a <= b; ++a) {
            volatile float iou = static_cast<float>(a) / static_cast<float>(b);
            wrong += solo::decay_quotient(iou, iou, false) != 0.0f;
          }
        return wrong != 0;
      }
    """
    if "fma" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("this CPU has no fused multiply-add")
    flags = ["-std=c++17", "-O2", "-mfma", "-ffp-contract=fast", f"-I{KERNELS}"]
    subprocess.run(["g++", *flags, "-x", "c++", "-", "-o", program], input=source.encode(), check=True, timeout=60)
    assert subprocess.run([program], timeout=10).returncode == 0


def test_area_equal_to_the_stride_is_dropped_and_score_equal_to_the_threshold_is_kept(device):
    masks = np.zeros((2, 4, 4), np.bool_)
    masks[0, 0] = True  # 4 pixels
    masks[1, 1:, :2] = True  # 6 pixels
    candidates = Candidates(
        np.array([[0.5, 0.25]], np.float32), np.array([[0, 1]], np.int32), np.array([[2, 2]], np.int32)
    )
    bits = BitMasks(pack_words(masks)[None], np.array([[4, 6]], np.int32), np.array([[4, 6]], np.float32))
    found = matrix_nms(
        device, candidates, bits, classes=1, grids=(2,), strides=(4,), update_threshold=0.25, max_instances=2
    )
    assert found.num_dets.tolist() == [1]
    assert found.scores.tolist() == [[0.25, 0]]
    assert found.cells.tolist() == [[1, 0]]
    assert found.slots.tolist() == [[1, 0]]


def test_equal_masks_of_equal_score_keep_the_lower_candidate_first(device):
    n = 5
    masks = np.ones((n, 6, 6), np.bool_)
    candidates = Candidates(
        np.full((1, n), 0.5, np.float32), np.array([[9, 3, 7, 1, 5]], np.int32), np.array([[n, n]], np.int32)
    )
    bits = BitMasks(pack_words(masks)[None], np.full((1, n), 36, np.int32), np.full((1, n), 36, np.float32))
    found = matrix_nms(device, candidates, bits, classes=2, grids=(3,), strides=(8,), max_instances=n)
    assert found.num_dets.tolist() == [n]
    np.testing.assert_allclose(found.scores[0], 0.5 * np.exp([0.0, -2, -2, -2, -2]), rtol=1e-5)
    assert (found.cells[0] * 2 + found.labels[0]).tolist() == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize(
    ("size", "channels", "counts", "offset"),
    [((1, 1), 1, (1, 0), 0), ((16, 16), 16, (9, 3), 0), ((17, 23), 24, (0, 20), 0), ((10, 40), 8, (20, 20), 2)],
)
def test_soft_masks_inside_their_regions(device, size, channels, counts, offset, type_name):
    if offset and type_name == "float32":
        offset = 4
    rng = np.random.default_rng(channels)
    n, threshold = max(counts), 1.5
    kernels, features, _, _ = conv_case(
        rng, batch=2, cells=13, channels=channels, size=size, slots=n, counts=counts, classes=1
    )
    # Sparse masks have small regions.
    features *= (rng.random((2, 1, *size)) < 0.1) | (rng.random((2, 1, size[0], 1)) < 0.1)
    cells = rng.integers(0, 13, (2, n)).astype(np.int32)
    slots = np.stack([rng.permutation(n) for _ in counts]).astype(np.int32)
    logits = np.stack([logits_of(kernels[b], features[b], cells[b]) for b in range(2)])
    inside = logits > threshold
    words = np.empty((2, n, pack_words(inside).shape[2]), np.uint32)
    for b in range(2):
        words[b, slots[b]] = pack_words(inside[b])
    instances = type("Found", (), {"num_dets": np.array(counts, np.int32), "cells": cells, "slots": slots})
    regions, soft = soft_masks(
        device, kernels, features, words, instances, threshold=threshold, type_name=type_name, offset=offset
    )
    for b, count in enumerate(counts):
        assert not regions[b, count:].any()
        for i in range(count):
            region = region_of(inside[b, i])
            assert regions[b, i].tolist() == region
            value = np.floor(255 * sigmoid(logits[b, i] - threshold) + 0.5)
            value = np.where(inside[b, i], np.maximum(value, 128), np.minimum(value, 127))
            expected = np.zeros(size, np.uint8)
            x0, y0, x1, y1 = region
            expected[y0:y1, x0:x1] = value[y0:y1, x0:x1]
            difference = np.abs(soft[b, i].astype(int) - expected)
            assert difference.max(initial=0) <= 1  # the last bit of the exponential
            assert ((soft[b, i] > 127) == (expected > 127)).all()


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("mask_threshold", [0.5, 0.7])
def test_the_whole_chain_is_the_decoder_of_the_cpu(device, mask_threshold, linear):
    rng = np.random.default_rng(7)
    grids, strides, classes, channels, size = (5, 3), (4, 9), 3, 12, (16, 20)
    cells = sum(grid * grid for grid in grids)
    scores = (rng.integers(0, 50, (1, cells, classes)) / 100).astype(np.float32)
    # A few objects: each cell has the kernel of one of them, so that masks overlap.
    objects = rng.integers(-2, 3, (6, channels)).astype(np.float32)
    kernels = objects[rng.integers(0, 6, (1, cells))]
    features = rng.integers(-1, 2, (1, channels, *size)).astype(np.float32)
    options = {"linear": linear, "sigma": 2.0, "update_threshold": 0.05, "max_instances": 12}
    threshold = logit_threshold(mask_threshold)

    candidates = find_candidates(device, scores.reshape(1, -1), threshold=0.3, slots=64)
    assert candidates.counts[0, 0] < 64  # all of them, as on the CPU
    masks = binarise_masks(
        device, kernels, features, candidates.indices, candidates.counts, divisor=classes, threshold=threshold
    )
    found = matrix_nms(device, candidates, masks, classes=classes, grids=grids, strides=strides, **options)
    regions, soft = soft_masks(device, kernels, features, masks.words, found, threshold=threshold)

    cell_strides = np.repeat(np.array(strides, np.int32), [grid * grid for grid in grids])
    expected = _native.solov2_decode(
        scores[0], kernels[0], features[0], cell_strides, 0.3, mask_threshold, 500, linear, 2.0, 0.05, 12, 1
    )
    n = int(found.num_dets[0])
    assert n == len(expected[0]) > 5
    np.testing.assert_allclose(found.scores[0, :n], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.labels[0, :n], expected[1])
    np.testing.assert_array_equal(found.cells[0, :n], expected[2])
    np.testing.assert_array_equal(regions[0, :n], expected[3])
    for i, (x0, y0, x1, y1) in enumerate(expected[3]):
        crop = expected[5][expected[4][i] : expected[4][i + 1]].reshape(y1 - y0, x1 - x0)
        assert np.abs(soft[0, i, y0:y1, x0:x1].astype(int) - crop).max() <= 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"batch": 0}, 1),
        ({"cells": 0}, 1),
        ({"channels": 0}, 1),
        ({"width": 0}, 1),
        ({"height": 1 << 20, "width": 1 << 20}, 1),
        ({"slots": 2049}, 1),
        ({"divisor": 0}, 2),
        ({"type": 2}, 2),
    ],
)
def test_impossible_sizes_of_the_convolution_are_refused(device, change, status):
    sizes = {"type": 0, "batch": 1, "cells": 4, "channels": 4, "height": 4, "width": 4, "slots": 4, "divisor": 1}
    shape = ConvShape(**(sizes | change))
    nothing = [ctypes.c_void_p(0)] * 4
    arguments = (ctypes.byref(shape), *nothing, ctypes.c_float(0), ctypes.c_void_p(0), ctypes.c_int64(1 << 40))
    assert device.call("solo_cuda_binarise_masks", *arguments, *nothing[:3]) == status


def test_a_small_workspace_is_refused(device):
    shape = ConvShape(0, 1, 4, 4, 4, 4, 4, 1)
    nothing = [ctypes.c_void_p(0)] * 4
    arguments = (ctypes.byref(shape), *nothing, ctypes.c_float(0), ctypes.c_void_p(0), ctypes.c_int64(8))
    assert device.call("solo_cuda_binarise_masks", *arguments, *nothing[:3]) == 3


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"slots": 0}, 1),
        ({"levels": 9}, 1),
        ({"max_instances": 11}, 1),
        ({"classes": 0}, 1),
        ({"linear": 2}, 2),
        ({"sigma": 0.0}, 2),
        ({"sigma": float("nan")}, 2),
    ],
)
def test_impossible_options_of_matrix_nms_are_refused(device, change, status):
    options = {
        "batch": 1, "slots": 10, "words": 4, "classes": 1, "levels": 1, "grids": (2,), "strides": (4,),
        "linear": 0, "sigma": 2.0, "update_threshold": 0.05, "max_instances": 10,
    }  # fmt: skip
    nothing = [ctypes.c_void_p(0)] * 7
    found = NmsOptions(**(options | change))
    arguments = (ctypes.byref(found), *nothing, ctypes.c_int64(1 << 40))
    assert device.call("solo_cuda_matrix_nms", *arguments, *nothing[:5]) == status
