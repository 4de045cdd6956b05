"""The CUDA kernels without TensorRT: libsolo_kernels_cuda.so, whose C functions are in plugins/kernels/*_cuda.h.

Memory is the caller's. An address is that of device memory, a stream a cudaStream_t, both as integers; the headers say
what lies there. Calls read the structures they are given, enqueue work and return, so a CUDA graph can record them. A
`Kernels` may be used by several threads, each with its own stream.
"""

from __future__ import annotations

import ctypes
import math
from ctypes import POINTER, c_double, c_float, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from solo_rt.gpu.native_library import Calls, load_function

TYPES = {"float32": 0, "float16": 1}  # SoloType
FORMATS = {"rgb24": 0, "i420": 1, "nv12": 2}  # SoloPixelFormat
MAX_LEVELS = 8


def _fields(kind: type, *names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names]


class Picture(ctypes.Structure):
    """SoloPicture: planes in device memory, strides in bytes, `format` of FORMATS."""

    _fields_ = [("planes", c_void_p * 3), ("strides", c_int64 * 3), *_fields(c_int32, "height", "width", "format")]


class LetterboxTarget(ctypes.Structure):
    """SoloLetterbox: the input tensor of a network, `type` of TYPES."""

    _fields_ = [
        *_fields(c_int32, "type", "height", "width", "resized_height", "resized_width"),
        *_fields(c_float * 3, "mean", "std"),
        *_fields(c_int32, "bt709", "full_range"),
    ]


class MaskGrid(ctypes.Structure):
    """SoloMaskGrid: soft masks, their regions and their number, all in device memory."""

    _fields_ = [
        *_fields(c_void_p, "data", "regions", "count"),
        *_fields(c_int32, "capacity", "grid_height", "grid_width"),
        *_fields(c_double, "step_y", "step_x"),
    ]


class OverlayStyle(ctypes.Structure):
    """SoloOverlayStyle: colours in device memory, alpha 0..256, outline in pixels."""

    _fields_ = [("colours", c_void_p), *_fields(c_int32, "alpha", "outline")]


class LabelMap(ctypes.Structure):
    """SoloLabelMap: a class for every pixel, uint8 [height, width] in device memory, `stride` in bytes."""

    _fields_ = [("labels", c_void_p), ("stride", c_int64), *_fields(c_int32, "height", "width")]


class LabelStyle(ctypes.Structure):
    """SoloLabelStyle: by label, opacity uint16 [256] of 0..256 and colours uint8 [256, 3], both in device memory."""

    _fields_ = _fields(c_void_p, "alphas", "colours")


class Choice(ctypes.Structure):
    """SoloChoice: how many instances and classes there are, and which of the instances are chosen."""

    _fields_ = [*_fields(c_int32, "slots", "classes"), ("min_score", c_float), ("max_dets", c_int32)]


class GroupNorm(ctypes.Structure):
    """SoloGroupNorm: `type` of TYPES, which input and output have; relu 0 or 1."""

    _fields_ = [*_fields(c_int32, "type", "batch", "channels", "pixels", "groups", "relu"), ("epsilon", c_float)]


class ConvShape(ctypes.Structure):
    """SoloConvShape: `type` of TYPES, which kernels and features have."""

    _fields_ = _fields(c_int32, "type", "batch", "cells", "channels", "height", "width", "slots", "divisor")


class NmsOptions(ctypes.Structure):
    """SoloNmsOptions; `grids` and `strides` take tuples of at most MAX_LEVELS."""

    _fields_ = [
        *_fields(c_int32, "batch", "slots", "words", "classes", "levels"),
        *_fields(c_int32 * MAX_LEVELS, "grids", "strides"),
        ("linear", c_int32),
        *_fields(c_float, "sigma", "update_threshold"),
        ("max_instances", c_int32),
    ]


LABEL = np.dtype(
    [(name, np.int32) for name in ("x", "y", "height", "width")]
    + [("coverage", np.int64), ("ink", np.uint8, 4), ("paper", np.uint8, 4)]
)  # SoloLabel


class Workspace(NamedTuple):
    """Scratch memory on the device, which only calls on one stream may share."""

    address: int  # a multiple of 256
    nbytes: int


class Candidates(NamedTuple):
    """Addresses of what `find_candidates` writes."""

    scores: int  # float32 [B, K]
    indices: int  # int32 [B, K]
    counts: int  # int32 [B, 2]


class BitMasks(NamedTuple):
    """Addresses of what `binarise_masks` writes."""

    words: int  # uint32 [B, K, W]
    areas: int  # int32 [B, K]
    soft_sums: int  # float32 [B, K]


class Detections(NamedTuple):
    """Addresses of instances of one picture, as `choose` takes them."""

    num_dets: int  # int32 [1]
    scores: int  # float32 [N]
    labels: int  # int32 [N]
    regions: int  # int32 [N, 4]


class DeviceInstances(NamedTuple):
    """Addresses of what `matrix_nms` writes."""

    num_dets: int  # int32 [B]
    scores: int  # float32 [B, N]
    labels: int  # int32 [B, N]
    cells: int  # int32 [B, N]
    slots: int  # int32 [B, N]


_CONV, _NMS, _NORM = POINTER(ConvShape), POINTER(NmsOptions), POINTER(GroupNorm)
_SIZES: dict[str, list[type[Any]]] = {
    "mask_words": [c_int32, c_int32],
    "group_norm_workspace": [_NORM],
    "find_candidates_workspace": [c_int32, c_int64],
    "binarise_masks_workspace": [_CONV],
    "matrix_nms_workspace": [_NMS],
}
_WORK: list[type[Any]] = [c_void_p, c_int64]
_CALLS: dict[str, list[type[Any]]] = {
    "copy_picture": [POINTER(Picture), POINTER(Picture), c_void_p],
    "letterbox": [POINTER(Picture), POINTER(LetterboxTarget), c_void_p, c_void_p],
    "overlay": [POINTER(Picture), POINTER(MaskGrid), POINTER(OverlayStyle), c_void_p],
    "overlay_labels": [POINTER(Picture), POINTER(LabelMap), POINTER(LabelStyle), c_void_p],
    "choose": [POINTER(Choice), *[c_void_p] * 8],
    "paste_labels": [POINTER(Picture), c_void_p, c_void_p, c_int32, c_void_p],
    "group_norm": [_NORM, *[c_void_p] * 3, *_WORK, *[c_void_p] * 2],
    "find_candidates": [c_void_p, c_int32, c_int32, c_int64, c_float, c_int32, *_WORK, *[c_void_p] * 4],
    "binarise_masks": [_CONV, *[c_void_p] * 4, c_float, *_WORK, *[c_void_p] * 4],
    "matrix_nms": [_NMS, *[c_void_p] * 6, *_WORK, *[c_void_p] * 6],
    "soft_masks": [_CONV, *[c_void_p] * 3, c_int32, *[c_void_p] * 3, c_float, *[c_void_p] * 3],
}


def logit_threshold(mask_threshold: float) -> float:
    """Return the logit whose sigmoid is `mask_threshold`, 0 <= t < 1."""
    return math.log(mask_threshold / (1 - mask_threshold)) if mask_threshold > 0 else -math.inf


class Kernels:
    """The functions of one library. Each raises EngineError where the library refuses sizes or cannot launch."""

    def __init__(self, path: Path) -> None:
        """Load the library. Raises: EngineError where it cannot be, or is of another version."""
        self._queue = Calls(path, _CALLS)
        self._sizes = {
            name: load_function(path, f"solo_cuda_{name}", arguments, c_int64) for name, arguments in _SIZES.items()
        }

    def copy_picture(self, source: Picture, target: Picture, *, stream: int) -> None:
        """Copy a picture to memory of its own, of the same size and format."""
        self._queue("copy_picture", source, target, stream)

    def letterbox(self, picture: Picture, target: LetterboxTarget, tensor: int, *, stream: int) -> None:
        """Write a picture as the input tensor [3, H, W] RGB of a network."""
        self._queue("letterbox", picture, target, tensor, stream)

    def overlay(self, picture: Picture, masks: MaskGrid, style: OverlayStyle, *, stream: int) -> None:
        """Blend masks into a picture, in place."""
        self._queue("overlay", picture, masks, style, stream)

    def overlay_labels(self, picture: Picture, labels: LabelMap, style: LabelStyle, *, stream: int) -> None:
        """Blend the colour of every pixel's label into a picture, in place."""
        self._queue("overlay_labels", picture, labels, style, stream)

    def choose(self, choice: Choice, found: Detections, *, table: int, chosen: int, colours: int, stream: int) -> None:
        """Write which instances are painted: their regions int32 [N, 4], and their colours uint8 [N, 3].

        `table uint8 [classes, 4]` holds the colour of every class, then 0 where it is not wanted.
        """
        self._queue("choose", choice, *found, table, chosen, colours, stream)

    def paste_labels(self, picture: Picture, labels: int, *, coverage: int, count: int, stream: int) -> None:
        """Paste labels [count], each one a LABEL whose text is in `coverage`, onto a picture of YUV, in place."""
        self._queue("paste_labels", picture, labels, coverage, count, stream)

    def group_norm_workspace(self, sizes: GroupNorm) -> int:
        """Return the bytes of workspace."""
        return self._size("group_norm_workspace", sizes)

    def group_norm(
        self,
        sizes: GroupNorm,
        source: int,
        target: int,
        *,
        gamma: int,
        beta: int,
        workspace: Workspace,
        stream: int,
    ) -> None:
        """Write `source [B, pixels, C]` normalised to `target`, which may be the same; gamma and beta float32 [C]."""
        self._queue("group_norm", sizes, source, gamma, beta, *workspace, target, stream)

    def mask_words(self, height: int, width: int) -> int:
        """Return the words of 32 bits of one bit mask."""
        return self._size("mask_words", height, width)

    def find_candidates_workspace(self, batch: int, count: int) -> int:
        """Return the bytes of workspace for `count` scores of each picture."""
        return self._size("find_candidates_workspace", batch, count)

    def find_candidates(
        self,
        scores: int,
        out: Candidates,
        *,
        kind: int,
        batch: int,
        count: int,
        threshold: float,
        slots: int,
        workspace: Workspace,
        stream: int,
    ) -> None:
        """Write the best of `scores [batch, count]`, elements of a `kind` of TYPES, that are above the threshold."""
        self._queue("find_candidates", scores, kind, batch, count, threshold, slots, *workspace, *out, stream)

    def binarise_masks_workspace(self, shape: ConvShape) -> int:
        """Return the bytes of workspace."""
        return self._size("binarise_masks_workspace", shape)

    def binarise_masks(
        self,
        shape: ConvShape,
        out: BitMasks,
        *,
        kernels: int,
        features: int,
        candidates: Candidates,
        logit_threshold: float,
        workspace: Workspace,
        stream: int,
    ) -> None:
        """Write the bit masks of candidates: kernels [B, cells, E] times features [B, E, h, w], above a threshold."""
        self._queue(
            "binarise_masks", shape, kernels, features, *candidates[1:], logit_threshold, *workspace, *out, stream
        )

    def matrix_nms_workspace(self, options: NmsOptions) -> int:
        """Return the bytes of workspace."""
        return self._size("matrix_nms_workspace", options)

    def matrix_nms(
        self,
        options: NmsOptions,
        out: DeviceInstances,
        *,
        candidates: Candidates,
        masks: BitMasks,
        workspace: Workspace,
        stream: int,
    ) -> None:
        """Write the instances among the candidates, best first."""
        self._queue("matrix_nms", options, *candidates, *masks, *workspace, *out, stream)

    def soft_masks(
        self,
        shape: ConvShape,
        found: DeviceInstances,
        *,
        kernels: int,
        features: int,
        words: int,
        mask_slots: int,
        logit_threshold: float,
        regions: int,
        soft: int,
        stream: int,
    ) -> None:
        """Write regions int32 [B, N, 4] and soft masks uint8 [B, N, h, w] of instances.

        `shape` has N slots and divisor 1; `words` are the bit masks, uint32 [B, mask_slots, W], that instances were
        chosen from.
        """
        self._queue(
            "soft_masks", shape, kernels, features, words, mask_slots, found.num_dets, found.cells, found.slots,
            logit_threshold, regions, soft, stream,
        )  # fmt: skip

    def _size(self, name: str, *arguments: object) -> int:
        return int(self._sizes[name](*arguments))
