"""What was found drawn onto a frame: translucent masks with outlines and labels, or classes with a legend.

Everything is drawn in the frame's own pixel format, so that a video frame needs no conversion on its way from the
decoder to the encoder, and only where there is something to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from solo_rt import _native, defaults
from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError
from solo_rt.render.legend import lay_out_legend, legend_rows
from solo_rt.render.lettering import Label, draw_label, label_height, plane_colours, text_coverage
from solo_rt.render.palette import class_colour, class_palette
from solo_rt.render.shapes import draw_box, draw_polyline
from solo_rt.types import Frame, Instances, SemanticMap, UInt8

_MAX_OUTLINE = 32  # kMaxOutline in plugins/kernels/overlay.h


@dataclass(frozen=True, slots=True)
class Style:
    """How instances and classes are drawn; the switches are `defaults.PARTS`."""

    alpha: float = defaults.ALPHA  # opacity of a mask or a class, 0..1
    outline: int | None = None  # thickness of its opaque outline in pixels, 0..32; None goes with the frame's size
    labels: bool = True  # class, track and score of instances, or a legend of the classes
    masks: bool = True  # of instances, or the colours of classes
    boxes: bool = False  # of instances
    tracks: bool = True  # where tracked instances were lately
    zones: bool = True  # with what they have counted

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"style: expected alpha in 0..1, got {self.alpha}")
        if self.outline is not None and not 0 <= self.outline <= _MAX_OUTLINE:
            raise UsageError(f"style: expected outline in 0..{_MAX_OUTLINE} pixels, got {self.outline}")

    @property
    def fits_engines(self) -> bool:
        """Whether an engine can paint it, but for its labels."""
        return self.masks and not self.boxes

    def outline_of(self, frame_size: tuple[int, int]) -> int:
        """Return the thickness of the outline on a frame of this height and width, in pixels."""
        return min(max(1, round(min(frame_size) / 400)), _MAX_OUTLINE) if self.outline is None else self.outline


DEFAULT_STYLE = Style()


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """What an engine paints onto a frame, and how: pixels or instances of `classes`, the best ones if they are many.

    `on_gpu` leaves the painted picture there, if the frame is there and of an even size, which encoders want.
    """

    classes: tuple[int, ...] | None = None  # ids; None is all
    conf: float = 0.0  # least score of an instance
    max_det: int | None = None  # most instances; None is all
    style: Style = DEFAULT_STYLE  # its labels are left to others: see `render.instance_labels`, `render.legend_labels`
    on_gpu: bool = False

    def keeps(self, frame: Frame) -> bool:
        """Return whether this frame stays on the GPU when it is painted."""
        return self.on_gpu and frame.device is not None and frame.height % 2 == frame.width % 2 == 0


def render(
    frame: Frame,
    instances: Instances,
    classes: Sequence[str],
    *,
    trails: Sequence[NDArray[np.float32]] = (),
    style: Style = DEFAULT_STYLE,
) -> Frame:
    """Return a copy of `frame` with the instances drawn on it, the best score on top; `frame` is left as it is.

    `classes` are the names by class id, `trails` where each instance was lately, as in `Result`. Labels are cut off
    where the frame ends; a frame less than three of them high gets none.
    Raises: UsageError for a frame on a GPU, or if the instances belong to one of another size or to other classes.
    """
    frame.require_planes()
    _check_instances(frame, instances, classes)
    painted = replace(frame, planes=tuple(np.array(plane, order="C") for plane in frame.planes))
    masks, size = instances.masks, (frame.height, frame.width)
    if style.masks:
        colours = class_colours(frame, len(classes))[instances.class_ids]
        _native.overlay(
            painted.planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, colours, style.alpha,
            style.outline_of(size),
        )  # fmt: skip
    if style.boxes:
        for box, class_id in zip(instances.boxes[::-1], instances.class_ids[::-1], strict=True):
            draw_box(painted, box, class_colour(class_id))
    if style.tracks:
        draw_trails(painted, instances, trails)
    if style.labels:
        draw_labels(painted, instance_labels(painted, instances, classes))
    return painted


def draw_trails(painted: Frame, instances: Instances, trails: Sequence[NDArray[np.float32]]) -> None:
    """Draw where instances were lately onto the planes of a frame, in the colours of their classes, the best on top.

    `trails` has one for each instance, or none at all.
    """
    for trail, class_id in zip(trails[::-1], instances.class_ids[::-1], strict=bool(trails)):
        draw_polyline(painted, trail, class_colour(class_id))


def draw_labels(painted: Frame, labels: Sequence[Label]) -> None:
    """Write labels onto the planes of a frame, each over those before it."""
    for label in labels:
        draw_label(painted, painted.planes, label)


def instance_labels(frame: Frame, instances: Instances, classes: Sequence[str]) -> list[Label]:
    """Return the labels of the instances in the order they are drawn, the best score last. Raises: as `render`."""
    _check_instances(frame, instances, classes)
    return _lay_out_labels(frame, instances, classes)[::-1]


def class_colours(frame: Frame, count: int) -> UInt8:
    """Return the colours of the first `count` classes in the channels of the frame, `uint8 [count, 3]`."""
    return plane_colours(frame, np.array(class_palette(count), np.uint8).reshape(count, 3))


def render_semantic(
    frame: Frame,
    semantic: SemanticMap,
    classes: Sequence[str],
    *,
    palette: Sequence[Rgb],
    unpainted: Sequence[int] = (),
    style: Style = DEFAULT_STYLE,
) -> Frame:
    """Return a copy of `frame` with every pixel tinted in the colour of its class; `frame` is left as it is.

    `classes` are the names and `palette` the colours by class id. Pixels of `unpainted` classes and of none stay as
    they are. The legend names the largest of the painted classes that it has room for, by id: in a video no row jumps.
    Raises: UsageError for a frame on a GPU, or if the map belongs to one of another size or to other classes.
    """
    frame.require_planes()
    _check_map(frame, semantic, classes, palette)
    colours, alphas = semantic_colours(frame, palette, unpainted=unpainted, style=style)
    planes = tuple(np.empty(plane.shape, np.uint8) for plane in frame.planes)
    _native.overlay_labels(frame.planes, semantic.labels, colours, alphas, planes)
    painted = replace(frame, planes=planes)
    if style.labels:
        draw_labels(painted, legend_labels(painted, semantic, classes, palette=palette, unpainted=unpainted))
    return painted


def legend_labels(
    frame: Frame,
    semantic: SemanticMap,
    classes: Sequence[str],
    *,
    palette: Sequence[Rgb],
    unpainted: Sequence[int] = (),
) -> list[Label]:
    """Return the labels of the legend in the order they are drawn. Raises: as `render_semantic`."""
    _check_map(frame, semantic, classes, palette)
    shown = [i for i in semantic.shares() if i not in unpainted][: legend_rows(frame)]
    return lay_out_legend(frame, [(classes[i], palette[i]) for i in sorted(shown)])


def semantic_colours(
    frame: Frame, palette: Sequence[Rgb], *, unpainted: Sequence[int], style: Style
) -> tuple[UInt8, NDArray[np.uint16]]:
    """Return colours in the channels of the frame `uint8 [256, 3]` and opacities 0..256 `[256]`, by label."""
    colours, alphas = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint16)
    colours[: len(palette)] = palette
    alphas[: len(palette)] = round(style.alpha * 256)
    alphas[list(unpainted)] = 0
    return plane_colours(frame, colours), alphas


def _check_instances(frame: Frame, instances: Instances, classes: Sequence[str]) -> None:
    size = (frame.height, frame.width)
    if instances.frame_size != size:
        raise UsageError(f"render: expected instances of a frame of {size}, got {instances.frame_size}")
    if len(instances) and not 0 <= instances.class_ids.min() <= instances.class_ids.max() < len(classes):
        raise UsageError(f"render: expected class ids below {len(classes)}, got {instances.class_ids.max()}")


def _check_map(frame: Frame, semantic: SemanticMap, classes: Sequence[str], palette: Sequence[Rgb]) -> None:
    size = (frame.height, frame.width)
    if semantic.frame_size != size:
        raise UsageError(f"render: expected classes of a frame of {size}, got {semantic.frame_size}")
    highest = max(semantic.shares(), default=0)
    if highest >= min(len(classes), len(palette)):
        raise UsageError(f"render: expected class ids below {min(len(classes), len(palette))}, got {highest}")


def _lay_out_labels(frame: Frame, instances: Instances, classes: Sequence[str]) -> list[Label]:
    """Return a label for every instance that has a pixel, best score first and so first to choose its place."""
    height = label_height(frame)
    if frame.height < 3 * height:
        return []
    labels: list[Label] = []
    taken = np.empty((len(instances), 4), np.int64)  # xyxy of the labels before
    for i in range(len(instances)):
        if instances.boxes[i, 3] <= instances.boxes[i, 1]:
            continue
        class_id = int(instances.class_ids[i])
        track = "" if instances.track_ids is None else f" #{instances.track_ids[i]}"
        coverage, halves = text_coverage(f"{classes[class_id]}{track} {instances.scores[i]:.2f}", height)
        width = coverage.shape[1]
        x, y = _place((height, width), _extent(instances, i), (frame.height, frame.width), taken[: len(labels)])
        taken[len(labels)] = x, y, x + width, y + height
        labels.append(Label(x, y, coverage, halves, class_colour(class_id)))
    return labels


def _extent(instances: Instances, i: int) -> tuple[int, int, int]:
    """Return where a label of mask i belongs: the middle x of its upper quarter, and its y range."""
    top, bottom = (int(y) for y in instances.boxes[i, 1::2])
    inside = instances.masks.crop(i) > 127
    rows = inside.any(1).nonzero()[0]
    if len(rows) == 0:  # nothing but pixels between two samples, or none
        return int(instances.boxes[i, 0]), top, bottom
    upper = inside[rows[0] : rows[0] + (len(rows) + 3) // 4]
    columns = upper.nonzero()[1]
    x = (instances.masks.regions[i, 0] + columns.sum() / len(columns) + 0.5) / instances.masks.step[1]
    return int(x), top, bottom


def _place(
    size: tuple[int, int], extent: tuple[int, int, int], frame_size: tuple[int, int], taken: NDArray[np.int64]
) -> tuple[int, int]:
    """Return the even x, y of a label: above its mask, at its top, at its foot or below it, the first that is free."""
    height, width = size
    x, top, bottom = extent
    x = max(0, min(x - width // 2, frame_size[1] - width)) // 2 * 2
    places = [max(0, min(y, frame_size[0] - height)) // 2 * 2 for y in (top - height, top, bottom - height, bottom)]
    beside = taken[(taken[:, 0] < x + width) & (taken[:, 2] > x)]  # few of them, if any
    for y in places:
        if not ((beside[:, 1] < y + height) & (beside[:, 3] > y)).any():
            return x, y
    return x, places[0]
