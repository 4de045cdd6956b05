"""The values that cross the seams of the pipeline: `Frame`, `Instances` and `SemanticMap`.

Masks stay small on purpose. A hundred boolean masks of a 1080p frame are 207 MB; the same masks as `uint8`
probabilities on the network's quarter-resolution grid, cropped to their boxes, are well under one. Every full-size
form (run-length code, dense mask, polygon, overlay) is computed on demand, inside the box, by native code. The classes
of all pixels stay on the network's grid for the same reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native
from solo_rt.errors import UsageError

UInt8 = NDArray[np.uint8]
Output = NDArray[np.float32 | np.uint8 | np.int32]  # of a network; which of them, its decoder says
PixelFormat = Literal["rgb24", "yuv420p"]
ColourMatrix = Literal["bt601", "bt709"]
Trail = NDArray[np.float32]  # [K, 2] xy in pixels of the frame, oldest first

DEFAULT_FRAME_RATE = Fraction(25)  # of videos that name none, as in FFmpeg, and of pictures
IGNORED = 255
"""The label of a pixel that belongs to no class."""


@dataclass(frozen=True, slots=True)
class DevicePicture:
    """A picture in the memory of a GPU, in NV12: what a video decoder there gives and an encoder there takes.

    `planes` are the addresses of Y `[height, width]` and of U and V by turns `[ceil(height/2), 2 * ceil(width/2)]`,
    bytes, in the primary context of the GPU; `strides` are the bytes from one row to the next. The picture is complete:
    whoever made it has waited until it was written. It is read-only then, and stays so for as long as `owner` lives.
    """

    planes: tuple[int, int]
    strides: tuple[int, int]
    height: int
    width: int
    owner: object

    def __post_init__(self) -> None:
        rows = (self.width, (self.width + 1) // 2 * 2)
        if min(self.height, self.width) < 1 or any(a < b for a, b in zip(self.strides, rows, strict=True)):
            raise ValueError(
                f"picture of {self.height}x{self.width} on a GPU: expected strides of at least {rows}, "
                f"got {self.strides}"
            )


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source, as the decoder gave it. Read-only for everybody after the source.

    `planes` is one `uint8 [H, W, 3]` RGB array for `rgb24`, or Y `[H, W]`, U and V `[ceil(H/2), ceil(W/2)]` for
    `yuv420p`. Rows may be padded: only the last axis is contiguous. Planes keep the decoder's buffer alive.
    A frame on a GPU has `device` instead: then there are no planes, and the pixel format is `yuv420p`, of which NV12 is
    another order.
    """

    planes: tuple[UInt8, ...]
    pixel_format: PixelFormat
    _: KW_ONLY
    index: int = 0  # position in the source, from 0; dropped frames leave gaps
    pts: int = 0  # presentation time in units of time_base
    time_base: Fraction = Fraction(1, 1000)
    captured_at: float = field(default_factory=time.monotonic)  # when the decoder returned it, seconds
    matrix: ColourMatrix = "bt601"  # meaning of U and V; ignored for rgb24
    full_range: bool = False  # Y in 0..255 instead of 16..235; ignored for rgb24
    name: str = ""  # file name of a picture; empty for video
    image_id: int | None = None  # the number of that name, where every picture of the source has one of its own
    device: DevicePicture | None = None

    def __post_init__(self) -> None:
        if self.device is not None:
            if self.planes or self.pixel_format != "yuv420p":
                raise ValueError(
                    f"frame on a GPU: expected yuv420p without planes, got {self.pixel_format} with {len(self.planes)}"
                )
            return
        h, w = self.planes[0].shape[:2]
        expected: list[tuple[int, ...]] = (
            [(h, w, 3)] if self.pixel_format == "rgb24" else [(h, w), *[((h + 1) // 2, (w + 1) // 2)] * 2]
        )
        if [plane.shape for plane in self.planes] != expected or h < 1 or w < 1:
            raise ValueError(
                f"{self.pixel_format} frame: expected planes {expected}, got {[p.shape for p in self.planes]}"
            )

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0]) if self.device is None else self.device.height

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1]) if self.device is None else self.device.width

    @property
    def time_s(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    def require_planes(self) -> None:
        """Return if the planes are there. Raises: UsageError for a frame on a GPU."""
        if self.device is not None:
            raise UsageError(
                "expected a frame in host memory, got one on a GPU; only an engine there can prepare and paint it"
            )

    def rgb(self) -> UInt8:
        """Return the picture as `uint8 [H, W, 3]` RGB: the plane itself for `rgb24`, a new array otherwise.

        Raises: UsageError for a frame on a GPU.
        """
        self.require_planes()
        if self.pixel_format == "rgb24":
            return self.planes[0]
        y, u, v = self.planes
        return _native.yuv420_to_rgb(y, u, v, self.matrix == "bt709", self.full_range)


@dataclass(frozen=True, slots=True)
class Masks:
    """N soft masks on the decoder's grid, each cropped to its region.

    `data` holds the crops one after another, row-major: `uint8`, probability times 255, inside where > 127.
    Region i is `regions[i]` = xyxy in grid cells, half-open, one cell wider than the mask on every side the grid
    allows, so that interpolation fades out inside it. `offsets[i]:offsets[i+1]` is its slice of `data`.
    Frame pixel (x, y) lies at grid position `((x + 0.5) * step_x - 0.5, (y + 0.5) * step_y - 0.5)`.
    """

    data: UInt8
    offsets: NDArray[np.int64]
    regions: NDArray[np.int32]
    grid_size: tuple[int, int]  # height, width in cells
    step: tuple[float, float]  # grid cells per frame pixel: vertical, horizontal

    def __len__(self) -> int:
        return len(self.regions)

    def crop(self, i: int) -> UInt8:
        """Return mask i as `uint8 [h, w]` on the grid, a view."""
        x0, y0, x1, y1 = self.regions[i]
        return self.data[self.offsets[i] : self.offsets[i + 1]].reshape(y1 - y0, x1 - x0)


@dataclass(frozen=True, slots=True)
class Instances:
    """The objects of one frame, best score first. No object is a value of length 0, never None."""

    frame_size: tuple[int, int]  # height, width in pixels
    boxes: NDArray[np.float32]  # [N, 4] xyxy, frame pixels, half-open, tight around the mask
    scores: NDArray[np.float32]  # [N] in 0..1
    class_ids: NDArray[np.int32]  # [N] index into ModelSpec.classes
    masks: Masks
    track_ids: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        lengths = [len(self.boxes), len(self.class_ids), len(self.masks)]
        if any(length != n for length in lengths) or (self.track_ids is not None and len(self.track_ids) != n):
            raise ValueError(f"instances: {n} scores but {lengths} boxes, classes and masks")

    @classmethod
    def none(cls, frame_size: tuple[int, int]) -> Instances:
        """Return no instances of a frame of `frame_size` = height, width."""
        offsets, regions = np.zeros(1, np.int64), np.zeros((0, 4), np.int32)
        masks = Masks(np.zeros(0, np.uint8), offsets, regions, grid_size=(1, 1), step=(1.0, 1.0))
        nothing = np.zeros(0, np.float32)
        return cls(frame_size, np.zeros((0, 4), np.float32), nothing, np.zeros(0, np.int32), masks)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Instances]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | list[int] | NDArray[np.bool_] | NDArray[np.integer]) -> Instances:
        """Return the chosen instances in the given order; `index` is a number, a slice, numbers or a boolean mask [N].

        Raises: IndexError.
        """
        chosen = np.atleast_1d(np.arange(len(self))[index])
        parts = [self.masks.data[self.masks.offsets[i] : self.masks.offsets[i + 1]] for i in chosen]
        masks = Masks(
            data=np.concatenate(parts) if parts else np.empty(0, np.uint8),
            offsets=np.cumsum([0, *map(len, parts)], dtype=np.int64),
            regions=self.masks.regions[chosen],
            grid_size=self.masks.grid_size,
            step=self.masks.step,
        )
        track_ids = None if self.track_ids is None else self.track_ids[chosen]
        return Instances(
            self.frame_size, self.boxes[chosen], self.scores[chosen], self.class_ids[chosen], masks, track_ids
        )

    def rles(self, *, threads: int = 1) -> list[dict[str, object]]:
        """Return the masks at frame size as COCO run-length codes, `{"size": [H, W], "counts": str}` each.

        At most `threads` threads are used; the result does not depend on it.
        """
        counts = _native.encode_masks(*self._native_masks(), self.frame_size, threads)
        return [{"size": list(self.frame_size), "counts": text} for text in counts]

    def dense(self, i: int) -> NDArray[np.bool_]:
        """Return mask i as `bool [H, W]` at frame size."""
        mask = np.zeros(self.frame_size, np.bool_)
        _native.fill_mask(*self._native_masks(), i, mask.view(np.uint8))
        return mask

    def polygons(self, i: int) -> list[NDArray[np.int32]]:
        """Return the outer contours of mask i, `int32 [K, 2] xy` each: the pixels on its border, joined by lines.

        Source: Suzuki and Abe 1985, as cv2.findContours with CHAIN_APPROX_SIMPLE. Holes are not reported; a single
        pixel is a contour of one point.
        """
        import cv2

        x0, y0, x1, y1 = (int(v) for v in self.boxes[i])
        if x0 >= x1 or y0 >= y1:
            return []
        window = np.zeros((y1 - y0, x1 - x0), np.uint8)
        _native.fill_mask(*self._native_masks(), i, window, (y0, x0))
        contours, _ = cv2.findContours(window, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x0, y0))
        return [contour.reshape(-1, 2).astype(np.int32) for contour in contours]

    def _native_masks(self) -> tuple[UInt8, NDArray[np.int64], NDArray[np.int32], tuple[int, int], tuple[float, float]]:
        m = self.masks
        return m.data, m.offsets, m.regions, m.grid_size, m.step


@dataclass(frozen=True, slots=True)
class SemanticMap:
    """The class of every pixel of one frame, on the decoder's grid, which covers the frame.

    A label is an index into ModelSpec.classes, 255 is none. Frame pixel (x, y) has the label of the cell that holds its
    centre: row `floor((y + 0.5) * step_y)`, column `floor((x + 0.5) * step_x)`.
    """

    frame_size: tuple[int, int]  # height, width in pixels
    labels: UInt8  # [h, w]; rows may be padded, as in a crop of the network's output
    counts: NDArray[np.int64] = field(init=False)  # [256] pixels of the frame by label

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", _native.count_labels(self.labels, self.frame_size))

    @property
    def step(self) -> tuple[float, float]:
        """Grid cells per frame pixel: vertical, horizontal."""
        return self.labels.shape[0] / self.frame_size[0], self.labels.shape[1] / self.frame_size[1]

    def dense(self) -> UInt8:
        """Return the labels at frame size, `uint8 [H, W]`, a new array."""
        return _native.fill_labels(self.labels, self.frame_size)

    def shares(self) -> dict[int, float]:
        """Return the part of the frame's pixels that each class has, by class id, of those that occur, largest first.

        They add up to 1 unless pixels belong to no class.
        """
        present = [int(i) for i in np.argsort(-self.counts, kind="stable") if self.counts[i] and i != IGNORED]
        return {i: float(self.counts[i] / self.counts.sum()) for i in present}


Found = Instances | SemanticMap
"""What a model finds in a frame; which of the two is the model's kind."""
