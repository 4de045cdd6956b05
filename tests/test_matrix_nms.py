"""Matrix NMS: the native kernel, the matrix form of the paper and a plain double loop agree."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from solo_rt import _native
from solo_rt.decode.matrix_nms import mask_iou, matrix_nms, matrix_nms_reference, pack_bits

KERNELS: tuple[Literal["gaussian", "linear"], ...] = ("gaussian", "linear")


def double_loop(masks, scores, class_ids, kernel, sigma=2.0):
    """The closed form: only better masks of the same class matter, and decay is at most 1."""
    iou = mask_iou(masks)

    def f(x):
        return math.exp(-sigma * x * x) if kernel == "gaussian" else 1 - x

    worst = [max((iou[k, i] for k in range(i) if class_ids[k] == class_ids[i]), default=0.0) for i in range(len(masks))]
    decayed = []
    for j, score in enumerate(scores):
        quotients = [f(iou[i, j]) / max(f(worst[i]), 1e-6) for i in range(j) if class_ids[i] == class_ids[j]]
        decayed.append(score * min([1.0, *quotients]))
    return np.array(decayed, np.float32)


def random_masks(rng, n, size, classes):
    """Boxes, many of them overlapping, in descending order of score."""
    height, width = size
    masks = np.zeros((n, height, width), np.bool_)
    for mask in masks:
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    scores = np.sort(rng.uniform(0.1, 1, n).astype(np.float32))[::-1].copy()
    return masks, scores, rng.integers(0, classes, n).astype(np.int32)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets())
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (5, 13), (24, 40)])
@pytest.mark.parametrize("n", [0, 1, 2, 60])
def test_native_reference_and_double_loop_agree(n, size, kernel, instruction_set):
    masks, scores, class_ids = random_masks(np.random.default_rng(n), n, size, classes=3)
    areas = masks.sum(axis=(1, 2), dtype=np.int32)
    native = _native.matrix_nms(pack_bits(masks), areas, scores, class_ids, kernel == "linear", 2.0, instruction_set)
    reference = matrix_nms_reference(masks, scores, class_ids=class_ids, kernel=kernel)
    assert native.dtype == np.float32
    assert native.shape == (n,)
    np.testing.assert_allclose(native, reference, rtol=1e-5, atol=1e-6 if kernel == "linear" else 0)
    np.testing.assert_allclose(reference, double_loop(masks, scores, class_ids, kernel), rtol=1e-5, atol=1e-7)


def test_overlaps_change_scores():
    masks, scores, class_ids = random_masks(np.random.default_rng(0), 60, (24, 40), classes=3)
    assert (matrix_nms(masks, scores, class_ids=class_ids) < scores).sum() > 30


def test_wrapper_packs_the_masks():
    masks, scores, class_ids = random_masks(np.random.default_rng(1), 20, (9, 11), classes=2)
    expected = matrix_nms_reference(masks, scores, class_ids=class_ids, kernel="linear")
    np.testing.assert_allclose(matrix_nms(masks, scores, class_ids=class_ids, kernel="linear"), expected, rtol=1e-5)


def test_half_overlap_has_the_decay_of_the_formula():
    masks = np.zeros((2, 1, 4), np.bool_)
    masks[0, 0, :2] = True
    masks[1, 0, :4] = True  # iou 1/2
    scores = np.array([0.9, 0.8], np.float32)
    same = np.zeros(2, np.int32)
    np.testing.assert_allclose(matrix_nms(masks, scores, class_ids=same), [0.9, 0.8 * math.exp(-2.0 * 0.25)], rtol=1e-6)
    np.testing.assert_allclose(matrix_nms(masks, scores, class_ids=same, kernel="linear"), [0.9, 0.4], rtol=1e-6)


def test_other_classes_do_not_decay():
    masks = np.ones((3, 4, 4), np.bool_)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    np.testing.assert_array_equal(matrix_nms(masks, scores, class_ids=np.arange(3, dtype=np.int32)), scores)


@pytest.mark.parametrize("implementation", [matrix_nms, matrix_nms_reference])
def test_three_copies(implementation):
    masks = np.ones((3, 5, 5), np.bool_)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    same = np.zeros(3, np.int32)
    # The third copy is compared with the second, which is itself fully covered: the first one decides.
    gaussian = implementation(masks, scores, class_ids=same)
    np.testing.assert_allclose(gaussian, scores * [1, math.exp(-2), math.exp(-2)], rtol=1e-6)
    linear = implementation(masks, scores, class_ids=same, kernel="linear")
    np.testing.assert_array_equal(linear, np.array([0.9, 0, 0], np.float32))


def test_order_ranks_equal_scores():
    masks = np.ones((2, 5, 5), np.bool_)
    decayed = matrix_nms(masks, np.full(2, 0.5, np.float32), class_ids=np.zeros(2, np.int32))
    assert decayed[0] == np.float32(0.5)
    assert decayed[1] < 0.1


def test_masks_without_a_pixel_are_left_alone():
    masks = np.zeros((2, 3, 3), np.bool_)
    scores = np.array([0.5, 0.4], np.float32)
    np.testing.assert_array_equal(matrix_nms(masks, scores, class_ids=np.zeros(2, np.int32)), scores)


def test_pack_bits_counts_from_the_low_end():
    mask = np.zeros((1, 5, 20), np.bool_)  # 100 pixels: two words
    mask.reshape(-1)[[0, 9, 63, 64, 99]] = True
    bits = pack_bits(mask)
    assert bits.dtype == np.uint64
    assert bits.tolist() == [[1 | 1 << 9 | 1 << 63, 1 | 1 << 35]]


def valid_arguments():
    return [np.zeros((2, 1), np.uint64), np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(2, np.int32)]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.zeros(2, np.uint64), r"bits: expected uint64 \[any, any\], got uint64 \[2\]"),
        (0, np.zeros((2, 4), np.uint64)[:, ::2], "bits: expected a contiguous array"),
        (1, np.zeros(3, np.int32), r"areas: expected int32 \[2\], got int32 \[3\]"),
        (2, np.array([0.5, 0.6], np.float32), "scores: expected descending, got 0.5"),
        (2, np.array([0.5, np.nan], np.float32), "scores: expected descending"),
        (3, np.zeros(1, np.int32), r"class_ids: expected int32 \[2\], got int32 \[1\]"),
    ],
)
def test_bad_arrays_are_named(position, value, message):
    arguments = valid_arguments()
    arguments[position] = value
    with pytest.raises(ValueError, match=message):
        _native.matrix_nms(*arguments, False, 2.0)


@pytest.mark.parametrize(("position", "dtype"), [(0, np.int64), (1, np.int64), (2, np.float64), (3, np.uint32)])
def test_arrays_are_not_converted(position, dtype):
    arguments = valid_arguments()
    arguments[position] = arguments[position].astype(dtype)
    with pytest.raises(TypeError, match=f"expected .* got {np.dtype(dtype)}"):
        _native.matrix_nms(*arguments, False, 2.0)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="matrix_nms: an argument is out of range"):
        _native.matrix_nms(*valid_arguments(), False, 0.0)
    with pytest.raises(ValueError, match="expected best, plain, avx2 or avx512, got mmx"):
        _native.matrix_nms(*valid_arguments(), False, 2.0, "mmx")
