"""What the output tensors of a model mean: one dataclass per kind of decoder, a closed set.

A decoder travels inside the `ModelSpec`, names its output tensors and their shapes, and says how they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from solo_rt.errors import SpecError
from solo_rt.types import IGNORED

Task = Literal["instances", "semantic"]
OutputType = Literal["float32", "uint8", "int32"]
Rgb = tuple[int, int, int]  # 0..255


@dataclass(frozen=True, slots=True)
class SoloV2Decoder:
    """How the raw heads of SOLOv2 become instances (SOLOv2 paper, sections 3.2 and 3.3).

    Tensors, by name: `scores float32 [B, cells, C]` in 0..1, zero where points NMS removed the cell;
    `kernels float32 [B, cells, E]`; `features float32 [B, E, height/stride, width/stride]`.
    Cells run level by level, row-major: `start_of_level + row * grid + column`.
    """

    grids: tuple[int, ...]
    level_strides: tuple[int, ...]
    score_threshold: float = 0.1
    mask_threshold: float = 0.5
    nms_pre: int = 500
    nms_kernel: Literal["gaussian", "linear"] = "gaussian"
    nms_sigma: float = 2.0
    update_threshold: float = 0.05
    max_instances: int = 100
    mask_stride: int = 4
    kind: Literal["solov2"] = "solov2"
    task: ClassVar[Task] = "instances"

    def __post_init__(self) -> None:
        _check_limits(self)

    @property
    def cells(self) -> int:
        """Number of grid cells of all levels together."""
        return sum(grid * grid for grid in self.grids)

    def output_type(self, name: str) -> OutputType:
        """Return the type of the values of an output tensor."""
        return "float32"

    def output_shapes(self, batch: int, height: int, width: int, *, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the expected output tensors by name; -1 is the number of mask channels, which only the file knows."""
        return {
            "scores": (batch, self.cells, classes),
            "kernels": (batch, self.cells, -1),
            "features": (batch, -1, height // self.mask_stride, width // self.mask_stride),
        }

    def feature_channels(self, kernel_channels: int) -> dict[str, int]:
        """Return how many channels the features must have, by name, for kernels of so many."""
        return {"features": kernel_channels}

    def detections(self) -> DetectionsDecoder:
        """Return what is left to do where the engine has decoded the heads."""
        return DetectionsDecoder(
            max_instances=min(self.max_instances, self.nms_pre),
            mask_stride=self.mask_stride,
            score_threshold=self.score_threshold,
            mask_threshold=self.mask_threshold,
            nms_pre=self.nms_pre,
            update_threshold=self.update_threshold,
        )


@dataclass(frozen=True, slots=True)
class SoloDecoder:
    """How the raw heads of SOLO and Decoupled SOLO become instances (SOLO paper, section 3; TPAMI 2021, section 3.4).

    Tensors, by name, L being the number of a level and h x w the input size divided by its stride:
    `scores float32 [B, cells, C]` as for SOLOv2, and for `masks` = "cells", SOLO,
    `kernels float32 [B, cells, F + 1]` and `featuresL float32 [B, F, h, w]`: the mask of a cell has the logits
    `kernels[cell, :F] . features + kernels[cell, F]`, to be enlarged twice before they become probabilities;
    for "axes", Decoupled SOLO, `mapsL float32 [B, 2 * S, 2h, 2w]`: logits of the S columns, then of the S rows, the
    mask of a cell being the product of two of their probabilities. Cells run as for SOLOv2.
    Probabilities are enlarged to the grid at `mask_stride` before anything is compared or multiplied.
    """

    masks: Literal["cells", "axes"]
    # As in SoloV2Decoder, and not inherited from one place: their order, behind `masks`, is that of the JSON in files.
    grids: tuple[int, ...]
    level_strides: tuple[int, ...]
    score_threshold: float = 0.1
    mask_threshold: float = 0.5
    nms_pre: int = 500
    nms_kernel: Literal["gaussian", "linear"] = "gaussian"
    nms_sigma: float = 2.0
    update_threshold: float = 0.05
    max_instances: int = 100
    mask_stride: int = 4
    kind: Literal["solo"] = "solo"
    task: ClassVar[Task] = "instances"

    def __post_init__(self) -> None:
        if self.masks not in ("cells", "axes"):
            raise SpecError(f"decoder: expected masks of cells or axes, got {self.masks!r}")
        _check_limits(self)
        if any(stride % 2 or stride < 1 for stride in self.level_strides):  # sides are divided by them
            raise SpecError(f"decoder: expected even strides above 0, got {self.level_strides}")

    @property
    def cells(self) -> int:
        """Number of grid cells of all levels together."""
        return sum(grid * grid for grid in self.grids)

    def output_type(self, name: str) -> OutputType:
        """Return the type of the values of an output tensor."""
        return "float32"

    def output_shapes(self, batch: int, height: int, width: int, *, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the expected output tensors by name; -1 is a number of channels, which only the file knows."""
        shapes: dict[str, tuple[int, ...]] = {"scores": (batch, self.cells, classes)}
        if self.masks == "cells":
            shapes["kernels"] = (batch, self.cells, -1)
        for level, (grid, stride) in enumerate(zip(self.grids, self.level_strides, strict=True)):
            if self.masks == "cells":
                shapes[f"features{level}"] = (batch, -1, height // stride, width // stride)
            else:
                shapes[f"maps{level}"] = (batch, 2 * grid, 2 * height // stride, 2 * width // stride)
        return shapes

    def feature_channels(self, kernel_channels: int) -> dict[str, int]:
        """Return how many channels the features must have, by name, for kernels of so many."""
        return {f"features{level}": kernel_channels - 1 for level in range(len(self.grids))}


def _check_limits(decoder: SoloV2Decoder | SoloDecoder) -> None:
    """Raise SpecError for numbers that cannot be."""
    if not decoder.grids or len(decoder.grids) != len(decoder.level_strides) or min(decoder.grids) < 1:
        raise SpecError(
            f"decoder needs one stride per grid, got grids {decoder.grids} and strides {decoder.level_strides}"
        )
    if min(decoder.level_strides) < 0:
        raise SpecError(f"decoder: expected strides of at least 0, got {decoder.level_strides}")
    if decoder.nms_kernel not in ("gaussian", "linear"):
        raise SpecError(f"decoder: expected nms_kernel gaussian or linear, got {decoder.nms_kernel!r}")
    if decoder.nms_sigma <= 0:
        raise SpecError(f"decoder: nms_sigma must be positive, got {decoder.nms_sigma}")
    _check_thresholds(decoder)


def _check_thresholds(decoder: SoloV2Decoder | SoloDecoder | DetectionsDecoder) -> None:
    for name in ("score_threshold", "mask_threshold", "update_threshold"):
        if not 0 <= getattr(decoder, name) < 1:
            raise SpecError(f"decoder: {name} must be in [0, 1), got {getattr(decoder, name)}")
    if decoder.nms_pre < 1 or decoder.max_instances < 1 or decoder.mask_stride < 1:
        raise SpecError("decoder: nms_pre, max_instances and mask_stride must be positive")


@dataclass(frozen=True, slots=True)
class SemanticDecoder:
    """What the output of a network says that gives every pixel a class.

    One tensor, by its name: `labels uint8 [B, height, width]`, the class of every pixel of the input, 255 for none;
    `logits float32 [B, C, height, width]`, whose largest channel is the class, the first of equal ones;
    or `coarse float32 [B, h, w, C]`, logits that are still to be enlarged bilinearly to the size of the input.
    A label is an index into the classes of the model, what Cityscapes calls a trainId.
    """

    palette: tuple[Rgb, ...]  # one colour per class
    unpainted: tuple[int, ...] = ()  # classes that are counted but not painted, such as a background
    output: Literal["labels", "logits", "coarse"] = "labels"
    enlarged: Literal["corners", "half_pixel"] = "corners"  # coarse ones: PyTorch's interpolate, align_corners or not
    kind: Literal["semantic"] = "semantic"
    task: ClassVar[Task] = "semantic"

    def __post_init__(self) -> None:
        if not 1 <= len(self.palette) <= IGNORED:
            raise SpecError(f"decoder: expected a palette of 1..{IGNORED} colours, got {len(self.palette)}")
        for colour in self.palette:
            if len(colour) != 3 or not 0 <= min(colour) <= max(colour) <= 255:
                raise SpecError(f"decoder: expected palette colours of three values in 0..255, got {colour}")
        if any(not 0 <= index < len(self.palette) for index in self.unpainted):
            raise SpecError(f"decoder: expected unpainted classes below {len(self.palette)}, got {self.unpainted}")
        if self.output not in ("labels", "logits", "coarse"):
            raise SpecError(f"decoder: expected output labels, logits or coarse, got {self.output!r}")

    def output_type(self, name: str) -> OutputType:
        """Return the type of the values of an output tensor."""
        return "uint8" if name == "labels" else "float32"

    def output_shapes(self, batch: int, height: int, width: int, *, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the expected output tensor by its name; -1 is a size of coarse logits, which only the file knows."""
        shapes: dict[str, tuple[int, ...]] = {
            "labels": (batch, height, width),
            "logits": (batch, classes, height, width),
            "coarse": (batch, -1, -1, classes),
        }
        return {self.output: shapes[self.output]}


@dataclass(frozen=True, slots=True)
class DetectionsDecoder:
    """Instances as the engine itself found them, with our decoding operators behind the heads of SOLOv2.

    The thresholds are built into the engine. They are here to be read: a higher score can be asked for, a lower one
    cannot.

    Tensors, by name, N being `max_instances` and h x w the input size divided by `mask_stride`:
    `num_dets int32 [B, 1]`, at most N; `det_scores float32 [B, N]`, best first, 0 from num_dets on;
    `det_labels int32 [B, N]`; `det_regions int32 [B, N, 4]` and `det_masks int32 [B, N, h, w / 4]`, whose memory is
    `uint8 [B, N, h, w]`: the soft masks and their regions as in `types.Masks`; `det_counts int32 [B, 2]`, how many
    candidates were decoded and how many there were.
    """

    max_instances: int = 100
    mask_stride: int = 4
    score_threshold: float = 0.1
    mask_threshold: float = 0.5
    nms_pre: int = 500
    update_threshold: float = 0.05
    kind: Literal["detections"] = "detections"
    task: ClassVar[Task] = "instances"

    def __post_init__(self) -> None:
        _check_thresholds(self)

    def output_type(self, name: str) -> OutputType:
        """Return the type of the values of an output tensor."""
        return "float32" if name == "det_scores" else "int32"

    def output_shapes(self, batch: int, height: int, width: int, *, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the expected output tensors by name."""
        n, h, w = self.max_instances, height // self.mask_stride, width // self.mask_stride
        return {
            "num_dets": (batch, 1),
            "det_scores": (batch, n),
            "det_labels": (batch, n),
            "det_regions": (batch, n, 4),
            "det_masks": (batch, n, h, w // 4),
            "det_counts": (batch, 2),
        }


Decoder = SoloV2Decoder | SoloDecoder | DetectionsDecoder | SemanticDecoder
DECODERS: dict[str, type[Decoder]] = {  # by `kind`, which is what the JSON says
    "solov2": SoloV2Decoder,
    "solo": SoloDecoder,
    "detections": DetectionsDecoder,
    "semantic": SemanticDecoder,
}


def is_painted(decoder: Decoder) -> bool:
    """Return whether a `FrameEngine` paints what this decoder is for: only what it need not decode further."""
    return isinstance(decoder, DetectionsDecoder) or (
        isinstance(decoder, SemanticDecoder) and decoder.output == "labels"
    )
