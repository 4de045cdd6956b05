"""Decoded FFmpeg pictures as `Frame`s: views where the decoder gave 8-bit 4:2:0, one conversion where it did not."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import Interpolation

from solo_rt.colour import BT2020, FULL, LIMITED, MATRIX_OF_TAG, SMPTE240M, TAG_OF_MATRIX, default_matrix
from solo_rt.types import ColourMatrix, DevicePicture, Frame, UInt8

# Bilinear, with SWS_ACCURATE_RND and SWS_BITEXACT: without these swscale rounds differently from one CPU to the next.
# As numbers, because PyAV has names for them from 18 on only.
_EXACT = Interpolation.BILINEAR.value | 0x40000 | 0x80000


def to_frame(picture: av.VideoFrame, *, index: int, pts: int, time_base: Fraction, captured_at: float) -> Frame:
    """Return the picture upright as a yuv420p `Frame` with read-only planes.

    8-bit 4:2:0 costs nothing: the planes are views of the decoder's buffer and keep it alive; of NV12, as GPUs give it,
    only U and V are taken apart. Every other layout goes through swscale once: luma of 8-bit YUV is kept exactly,
    chroma is averaged down to 4:2:0, deeper pictures are reduced to 8 bits, grey gets neutral chroma, RGB becomes
    limited-range YUV, alpha is dropped. Matrix and range are kept, but BT.2020 and SMPTE 240M become BT.709; HDR is
    not tone-mapped. A picture on a GPU, which the caller has waited for, stays there if it is NV12 the right way up;
    else it is copied to the host first.
    """
    transform = _display_matrix(picture)
    is_foreign = picture.colorspace in (SMPTE240M, BT2020)  # a matrix that Frame has no word for
    matrix = "bt709" if is_foreign else MATRIX_OF_TAG.get(picture.colorspace, default_matrix(picture.height))
    full_range = _has_full_range(picture)
    made = partial(
        Frame,
        pixel_format="yuv420p",
        index=index,
        pts=pts,
        time_base=time_base,
        captured_at=captured_at,
        matrix=matrix,
        full_range=full_range,
    )
    if picture.format.name == "cuda":
        if not is_foreign and picture.sw_format.name == "nv12" and _is_upright(transform):
            return made((), device=_on_gpu(picture))
        picture = in_host_memory(picture)
    is_8_bit_420 = picture.format.name in ("yuv420p", "yuvj420p", "nv12") and all(
        p.line_size > 0 for p in picture.planes
    )
    if is_foreign or not is_8_bit_420:
        picture = _to_planar_420(picture, matrix, full_range)
    planes = upright(split_nv12(picture) if picture.format.name == "nv12" else _views(picture), transform)
    for plane in planes:
        plane.flags.writeable = False
    return made(planes)


def in_host_memory(picture: av.VideoFrame) -> av.VideoFrame:
    """Return the picture, copied to the host if it is on a GPU; its times, tags and flags stay."""
    return picture.reformat(format=picture.sw_format.name) if picture.format.name == "cuda" else picture


def upright(planes: tuple[UInt8, ...], transform: tuple[int, int, int, int]) -> tuple[UInt8, ...]:
    """Return the planes turned and mirrored the way the file asks to be shown; the planes themselves when it does not.

    `transform` is a, b, c, d of the display matrix: pixel (x, y) is shown at (a x + c y, b x + d y), moved into view.
    Only multiples of 90 degrees are applied, other angles to the nearest. With an odd size the chroma of a mirrored
    picture is off by half a pixel of its own.
    """
    a, b, c, d = transform
    if _is_upright(transform):
        return planes
    if abs(b) > abs(a):
        planes = tuple(cv2.transpose(plane) for plane in planes)
        left, up = c < 0, b < 0
    else:
        left, up = a < 0, d < 0
    if not (left or up):
        return planes
    axis = -1 if left and up else int(left)  # cv2.flip: 1 mirrors columns, 0 rows, -1 both
    return tuple(cv2.flip(plane, axis) for plane in planes)


def is_turned(picture: av.VideoFrame) -> bool:
    """Return whether the picture's rows are shown as columns."""
    a, b, _, _ = _display_matrix(picture)
    return abs(b) > abs(a)


def _is_upright(transform: tuple[int, int, int, int]) -> bool:
    a, b, _, d = transform
    return abs(b) <= abs(a) and a >= 0 and d >= 0


def _has_full_range(picture: av.VideoFrame) -> bool:
    """Return whether luma spans 0..255 in the frame to be. Untagged YUV is limited; untagged grey full, as in FFmpeg.

    RGB says that it is full, which is so, but it becomes limited YUV.
    """
    if _is_rgb(picture):
        return False
    name: str = picture.format.name
    untagged_grey = name.startswith("gray") and picture.color_range != LIMITED
    return name.startswith("yuvj") or untagged_grey or bool(picture.color_range == FULL)


def _is_rgb(picture: av.VideoFrame) -> bool:
    return bool(picture.format.is_rgb) or picture.format.name == "pal8"


def _to_planar_420(picture: av.VideoFrame, matrix: ColourMatrix, full_range: bool) -> av.VideoFrame:
    is_rgb = _is_rgb(picture)
    colour_range = FULL if full_range else LIMITED
    tag = TAG_OF_MATRIX[matrix]
    return picture.reformat(
        format="yuv420p",
        src_colorspace=None if is_rgb or picture.colorspace in (SMPTE240M, BT2020) else tag,
        dst_colorspace=tag,
        src_color_range=None if is_rgb else colour_range,
        dst_color_range=colour_range,
        interpolation=_EXACT,
        threads=1,  # the decoder and the network have better uses for the cores
    )


def _views(picture: av.VideoFrame) -> tuple[UInt8, ...]:
    """Return Y, U, V as views `uint8 [h, w]`; each holds its plane, which holds the picture's buffer."""
    w, h = picture.width, picture.height
    sizes = [(h, w)] + [((h + 1) // 2, (w + 1) // 2)] * 2
    return tuple(
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:rows, :columns]
        for plane, (rows, columns) in zip(picture.planes, sizes, strict=True)
    )


def _on_gpu(picture: av.VideoFrame) -> DevicePicture:
    luma, chroma = picture.planes
    planes, strides = (luma.buffer_ptr, chroma.buffer_ptr), (luma.line_size, chroma.line_size)
    return DevicePicture(planes, strides, picture.height, picture.width, owner=picture)


def split_nv12(picture: av.VideoFrame) -> tuple[UInt8, ...]:
    """Return Y, U, V `uint8 [h, w]` of an NV12 picture: Y as a view, U and V in arrays of their own."""
    w, h = picture.width, picture.height
    rows, columns = (h + 1) // 2, (w + 1) // 2
    luma, chroma = (np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in picture.planes)
    u, v = cv2.split(chroma[:rows, : 2 * columns].reshape(rows, columns, 2))
    return luma[:h, :w], np.asarray(u, np.uint8), np.asarray(v, np.uint8)


def _display_matrix(picture: av.VideoFrame) -> tuple[int, int, int, int]:
    # Not picture.side_data: the picture would keep that, which keeps the picture, and the decoder's buffers would stay
    # until the garbage collector comes by. At 4K that is half a gigabyte.
    data = SideDataContainer(picture).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return a, b, c, d
