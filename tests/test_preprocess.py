"""The input tensor against a slow twin in numpy and OpenCV, the geometry against points that can be computed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solo_rt import _native
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.spec import InputSpec
from solo_rt.types import Frame, UInt8

SPEC = InputSpec(64, 96)
PLAIN = InputSpec(64, 96, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
# landscape, portrait, odd, upscaled, extreme, one pixel
SIZES = [(1080, 1920), (640, 360), (63, 95), (99, 77), (5, 7), (64, 96), (3, 1000), (1000, 3), (1, 1), (2, 1), (1, 2)]


def padded(plane: UInt8) -> UInt8:
    """Return the same samples in rows that are not adjacent."""
    wide = np.full((plane.shape[0], plane.shape[1] + 5, *plane.shape[2:]), 77, np.uint8)
    wide[:, : plane.shape[1]] = plane
    return wide[:, : plane.shape[1]]


def make_frame(size: tuple[int, int], pixel_format: str, *, seed: int = 0, **tags: object) -> Frame:
    h, w = size
    half = ((h + 1) // 2, (w + 1) // 2)
    rng = np.random.default_rng(seed)
    shapes = [(h, w, 3)] if pixel_format == "rgb24" else [(h, w), half, half]
    planes = tuple(padded(rng.integers(0, 256, shape, np.uint8)) for shape in shapes)
    return Frame(planes, pixel_format, **tags)  # type: ignore[arg-type]


def yuv_matrix(matrix: str, full_range: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverse of the standards' definition of Y, U and V, and the black levels."""
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    rows = [luma, (np.array([0, 0, 1]) - luma) / (2 - 2 * kb), (np.array([1, 0, 0]) - luma) / (2 - 2 * kr)]
    sizes = np.array([255.0] * 3) if full_range else np.array([219.0, 224.0, 224.0])
    return np.linalg.inv(sizes[:, None] / 255 * np.array(rows)), np.array([0.0 if full_range else 16.0, 128.0, 128.0])


def resize(plane: np.ndarray, size: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """Return `plane` sampled bilinearly at half-pixel centres, `scale` source samples per target pixel."""
    positions = [
        np.clip((np.arange(n) + 0.5) * s - 0.5, 0, side - 1)
        for n, s, side in zip(size, scale, plane.shape, strict=True)
    ]
    lows = [np.floor(p).astype(int) for p in positions]
    highs = [np.minimum(low + 1, side - 1) for low, side in zip(lows, plane.shape, strict=True)]
    fy, fx = (positions[0] - lows[0])[:, None], positions[1] - lows[1]
    plane = plane.astype(np.float64)
    top = plane[lows[0]][:, lows[1]] * (1 - fx) + plane[lows[0]][:, highs[1]] * fx
    bottom = plane[highs[0]][:, lows[1]] * (1 - fx) + plane[highs[0]][:, highs[1]] * fx
    return top * (1 - fy) + bottom * fy


def twin(frame: Frame, spec: InputSpec) -> np.ndarray:
    factor = min(spec.height / frame.height, spec.width / frame.width)
    size = tuple(max(1, int(side * factor + 0.5)) for side in (frame.height, frame.width))
    scale = (frame.height / size[0], frame.width / size[1])
    if frame.pixel_format == "rgb24":
        rgb = np.stack([resize(frame.planes[0][..., c], size, scale) for c in range(3)], -1)
    else:
        halves = [1, 2, 2]
        yuv = [resize(p, size, (scale[0] / k, scale[1] / k)) for p, k in zip(frame.planes, halves, strict=True)]
        inverse, black = yuv_matrix(frame.matrix, frame.full_range)
        rgb = np.clip((np.stack(yuv, -1) - black) @ inverse.T, 0, 255)
    tensor = np.zeros((1, 3, spec.height, spec.width))
    tensor[0, :, : size[0], : size[1]] = ((rgb - spec.mean) / spec.std).transpose(2, 0, 1)
    return tensor


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_tensor_equals_the_twin(size, pixel_format):
    frame = make_frame(size, pixel_format)
    tensor, box = prepare(frame, PLAIN)
    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 3, 64, 96)
    # float32 at values up to 255 rounds to 1.5e-5; four roundings of interpolation, times the matrix's 2.1
    np.testing.assert_allclose(tensor, twin(frame, PLAIN), rtol=0, atol=2e-4)
    assert (tensor[0, :, box.resized[0] :] == 0).all()
    assert (tensor[0, :, :, box.resized[1] :] == 0).all()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_normalised_tensor_follows_matrix_and_range(matrix, full_range):
    frame = make_frame((90, 122), "yuv420p", matrix=matrix, full_range=full_range)
    np.testing.assert_allclose(prepare(frame, SPEC)[0], twin(frame, SPEC), rtol=0, atol=5e-6)


def test_rgb_is_resized_like_opencv():
    frame = make_frame((217, 300), "rgb24")
    tensor, box = prepare(frame, PLAIN)
    expected = cv2.resize(frame.planes[0].astype(np.float32), box.resized[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(
        tensor[0, :, : box.resized[0], : box.resized[1]].transpose(1, 2, 0), expected, rtol=0, atol=0.02
    )  # OpenCV keeps its positions in float32


def test_wide_picture_is_resized_across_tiles():
    spec = InputSpec(32, 640)
    frame = make_frame((40, 801), "yuv420p")
    np.testing.assert_allclose(prepare(frame, spec)[0], twin(frame, spec), rtol=0, atol=5e-6)


def test_flat_colours_come_out_exactly():
    for rgb in ([255, 0, 0], [0, 255, 0], [12, 200, 90]):
        frame = Frame((np.broadcast_to(np.array(rgb, np.uint8), (9, 5, 3)).copy(),), "rgb24")
        tensor, box = prepare(frame, PLAIN)
        assert (tensor[0, :, : box.resized[0], : box.resized[1]] == np.array(rgb).reshape(3, 1, 1)).all()


def test_out_is_filled_whatever_it_held_and_returned():
    out = np.full((1, 3, 64, 96), np.nan, np.float32)
    frame = make_frame((50, 40), "rgb24")
    tensor, _ = prepare(frame, SPEC, out=out)
    assert tensor is out
    np.testing.assert_array_equal(out, prepare(frame, SPEC)[0])


def test_out_of_another_kind_is_refused():
    frame = make_frame((50, 40), "rgb24")
    read_only = np.zeros((1, 3, 64, 96), np.float32)
    read_only.flags.writeable = False
    for out in (np.zeros((3, 64, 96), np.float32), np.zeros((1, 3, 64, 96)), read_only):
        with pytest.raises(UsageError, match=r"contiguous, writable float32 \[1, 3, 64, 96\] as out, got"):
            prepare(frame, SPEC, out=out)


def test_letterbox_keeps_the_ratio_and_fills_one_side():
    assert Letterbox.fit((1080, 1920), (256, 448)).resized == (252, 448)
    assert Letterbox.fit((1920, 1080), (256, 448)).resized == (256, 144)
    assert Letterbox.fit((1, 5000), (64, 96)).resized == (1, 96)
    assert Letterbox.fit((8, 8), (64, 96)).resized == (64, 64)


def test_letterbox_maps_corners_and_mask_cells():
    box = Letterbox.fit((1080, 1920), (256, 448))
    assert box.resized == (252, 448)
    assert box.step(4) == (252 / 1080 / 4, 448 / 1920 / 4)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 40), st.integers(1, 40))
def test_letterbox_fits(h, w, rows, columns):
    box = Letterbox.fit((h, w), (32 * rows, 32 * columns))
    assert all(1 <= side <= target for side, target in zip(box.resized, box.input_size, strict=True))
    assert any(side == target for side, target in zip(box.resized, box.input_size, strict=True))


def test_letterbox_kernel_names_what_does_not_fit():
    rgb, out = np.zeros((4, 6, 3), np.uint8), np.zeros((3, 8, 8), np.float32)
    rest = (False, False, (4, 6), (0.0,) * 3, (1.0,) * 3)
    y, half = np.zeros((4, 6), np.uint8), np.zeros((2, 3), np.uint8)
    _native.letterbox((y, half, half), *rest, out)
    with pytest.raises(ValueError, match=r"u plane: expected uint8 \[2, 3\], got uint8 \[4, 6\]"):
        _native.letterbox((y, y, half), *rest, out)
    with pytest.raises(ValueError, match=r"planes: expected \(rgb,\) or \(y, u, v\), got 2 planes"):
        _native.letterbox((y, half), *rest, out)
    with pytest.raises(ValueError, match="rgb plane: expected contiguous rows"):
        _native.letterbox((rgb[:, ::2],), *rest, out)
    with pytest.raises(TypeError, match=r"rgb plane: expected uint8 \[any, any, 3\], got float32 \[4, 6, 3\]"):
        _native.letterbox((rgb.astype(np.float32),), *rest, out)
    with pytest.raises(ValueError, match="letterbox: sizes contradict"):
        _native.letterbox((rgb,), False, False, (9, 6), (0.0,) * 3, (1.0,) * 3, out)
    with pytest.raises(ValueError, match="letterbox: sizes contradict"):
        _native.letterbox((np.zeros((0, 6, 3), np.uint8),), *rest, out)
    with pytest.raises(ValueError, match="letterbox: an argument is out of range"):
        _native.letterbox((rgb,), False, False, (4, 6), (0.0,) * 3, (1.0, 0.0, 1.0), out)


@pytest.mark.parametrize(
    ("frame_size", "resized", "got"),
    [((0, 5), (24, 39), "0x5 and 24x39"), ((46, 75), (25, 39), "46x75 and 25x39"), ((46, 75), (24, 41), "and 24x41")],
)
def test_a_letterbox_that_cannot_be_is_refused(frame_size, resized, got):
    with pytest.raises(UsageError, match=f"a resized size within 24x40, got .*{got}"):
        Letterbox(frame_size, (24, 40), resized)
