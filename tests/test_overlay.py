"""The overlay kernel against blending of whole frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlay_twin import blend_masks, make_planes, weights_of
from soft_mask_twin import dense_mask, make_masks, random_masks

from solo_rt import _native
from solo_rt.types import Masks, UInt8

SIZES = [(48, 80), (47, 79), (48, 79), (47, 80), (1, 1), (2, 1), (1, 2), (3, 3)]


def overlay(planes: tuple[UInt8, ...], masks: Masks, colours: UInt8, alpha: float, outline: int) -> None:
    _native.overlay(
        planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, colours, alpha, outline
    )


def assert_equals_twin(masks: Masks, size: tuple[int, int], alpha: float, outline: int) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (len(masks), 3), np.uint8)
    for pixel_format in ("rgb24", "yuv420p"):
        planes = make_planes(size, pixel_format)
        expected = blend_masks(planes, masks, colours, alpha, outline)
        overlay(planes, masks, colours, alpha, outline)
        for plane, wanted in zip(planes, expected, strict=True):
            np.testing.assert_array_equal(plane, wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("alpha", "outline"), [(0.45, 2), (0.0, 1), (1.0, 0), (0.45, 0), (0.3, 5)])
def test_overlay_equals_the_twin(size, alpha, outline):
    masks = random_masks(np.random.default_rng(2), 9, (12, 20), (0.25, 0.25))
    assert_equals_twin(masks, size, alpha, outline)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_overlay_equals_the_twin_on_any_geometry(data):
    grid_size = data.draw(st.tuples(st.integers(1, 10), st.integers(1, 10)))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    step = data.draw(st.tuples(st.floats(0.02, 3), st.floats(0.02, 3)))
    masks = random_masks(np.random.default_rng(data.draw(st.integers(0, 2**32))), 4, grid_size, step)
    assert_equals_twin(masks, size, data.draw(st.floats(0, 1)), data.draw(st.integers(0, 8)))


def test_overlay_leaves_padding_and_pixels_outside_alone():
    masks = make_masks([np.full((2, 2), 255, np.uint8)], [(2, 2)], (8, 8), (0.25, 0.25))
    wide = np.full((32, 41, 3), 9, np.uint8)
    overlay((wide[:, :32],), masks, np.array([[255, 0, 0]], np.uint8), 0.5, 1)
    np.testing.assert_array_equal((wide[:, :32] != 9).any(-1), dense_mask(masks, 0, (32, 32)))
    assert (wide[:, 32:] == 9).all()


def test_first_mask_lies_on_top():
    masks = make_masks([np.full((4, 4), 255, np.uint8)] * 2, [(0, 0)] * 2, (4, 4), (0.25, 0.25))
    rgb = np.zeros((16, 16, 3), np.uint8)
    overlay((rgb,), masks, np.array([[200, 0, 0], [0, 200, 0]], np.uint8), 1.0, 0)
    assert (rgb == [200, 0, 0]).all()


def test_overlay_names_what_does_not_fit():
    masks = make_masks([np.full((2, 2), 255, np.uint8)], [(0, 0)], (2, 2), (0.5, 0.5))
    rgb, colours = np.zeros((4, 4, 3), np.uint8), np.zeros((1, 3), np.uint8)
    with pytest.raises(ValueError, match=r"alpha: expected 0\.\.1, got 1\.5"):
        overlay((rgb,), masks, colours, 1.5, 1)
    with pytest.raises(ValueError, match=r"outline: expected 0\.\.32 pixels, got 33"):
        overlay((rgb,), masks, colours, 0.5, 33)
    with pytest.raises(ValueError, match=r"colours: expected uint8 \[1, 3\], got uint8 \[2, 3\]"):
        overlay((rgb,), masks, np.zeros((2, 3), np.uint8), 0.5, 1)
    rgb.flags.writeable = False
    with pytest.raises(ValueError, match="rgb plane: expected an array that may be written to"):
        overlay((rgb,), masks, colours, 0.5, 1)


def test_opencv_erodes_to_the_same_core():
    mask = dense_mask(random_masks(np.random.default_rng(6), 3, (12, 20), (0.25, 0.25)), 2, (48, 80))
    disc = np.array([[dy * dy + dx * dx <= 9 for dx in range(-3, 4)] for dy in range(-3, 4)], np.uint8)
    np.testing.assert_array_equal(weights_of(mask, 0.5, 3) == 128, cv2.erode(mask, disc) == 1)
