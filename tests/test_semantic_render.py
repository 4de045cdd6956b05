"""Classes painted onto frames as the kernel's twin paints them, and a legend that says which is which."""

from __future__ import annotations

import numpy as np
import pytest
from label_twin import blend_labels, blobs
from overlay_twin import drawn_apart, make_frame

from solo_rt.errors import UsageError
from solo_rt.render import Style, render_semantic
from solo_rt.render.legend import PAPER, lay_out_legend
from solo_rt.render.legend import legend_rows as most_rows
from solo_rt.render.lettering import label_height, plane_colours
from solo_rt.types import Frame, SemanticMap

NAMES = ("road", "sky", "car", "a class with quite a long name")
PALETTE = ((128, 64, 128), (70, 130, 180), (0, 0, 142), (250, 170, 30))
BARE = Style(labels=False)
SIZES = [(120, 161), (45, 37), (47, 80), (1, 1), (2, 1), (1, 2), (3, 3)]


def some_map(size: tuple[int, int], labels: list[int] | None = None) -> SemanticMap:
    return SemanticMap(size, blobs(np.random.default_rng(5), (24, 31), labels or [0, 1, 2, 3, 255]))


def paint(frame: Frame, semantic: SemanticMap, *, unpainted: tuple[int, ...] = (), style: Style = BARE) -> Frame:
    return render_semantic(frame, semantic, NAMES, palette=PALETTE, unpainted=unpainted, style=style)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize("size", SIZES)
def test_every_pixel_takes_the_colour_of_its_class(pixel_format, size):
    frame, semantic = make_frame(size, pixel_format, matrix="bt709"), some_map(size)
    colours, alphas = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint16)
    colours[:4] = plane_colours(frame, np.array(PALETTE, np.uint8))
    alphas[[0, 2, 3]] = round(0.7 * 256)
    expected = blend_labels(frame.planes, semantic.labels, colours, alphas)
    drawn = paint(frame, semantic, unpainted=(1,), style=Style(alpha=0.7, labels=False))
    for plane, reference in zip(drawn.planes, expected, strict=True):
        np.testing.assert_array_equal(plane, reference)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize("size", [*SIZES, (300, 400)])
def test_the_picture_is_a_new_one_and_the_frame_is_left_alone(pixel_format, size):
    drawn_apart(
        make_frame(size, pixel_format, index=7, pts=3), lambda frame: paint(frame, some_map(size), style=Style())
    )


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_pixels_of_no_class_stay_as_they_are(pixel_format):
    frame = make_frame((45, 61), pixel_format)
    for drawn in (paint(frame, some_map((45, 61), [255])), paint(frame, some_map((45, 61), [1]), unpainted=(1,))):
        for plane, result in zip(frame.planes, drawn.planes, strict=True):
            np.testing.assert_array_equal(plane, result)


def legend_area(frame: Frame, semantic: SemanticMap, unpainted: tuple[int, ...] = ()) -> np.ndarray:
    """Return where the legend is, `bool [H, W]`."""
    bare = paint(frame, semantic, unpainted=unpainted).planes[0]
    drawn = paint(frame, semantic, unpainted=unpainted, style=Style()).planes[0]
    return (bare != drawn).reshape(*bare.shape[:2], -1).any(-1)


def legend_rows(frame: Frame, semantic: SemanticMap, unpainted: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Return the colours of the legend's swatches from the top."""
    height = label_height(frame)
    margin = height // 4 * 2
    drawn = paint(frame, semantic, unpainted=unpainted, style=Style(alpha=0)).rgb()
    rows = drawn[margin + height // 2 :: height, margin + height // 2]
    return [tuple(int(v) for v in row) for row in rows if tuple(row) in PALETTE]


def test_legend_lists_the_painted_classes_that_occur_by_id():
    labels = np.zeros((10, 10), np.uint8)
    labels[:6], labels[6:9], labels[9, :2] = 2, 3, 1  # 60, 30 and 2 %; 8 % are road
    labels[9, 8:] = 255
    frame, semantic = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24"), SemanticMap((300, 400), labels)
    assert legend_rows(frame, semantic) == [PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3]]
    assert legend_rows(frame, semantic, unpainted=(3,)) == [PALETTE[0], PALETTE[1], PALETTE[2]]
    assert legend_rows(frame, SemanticMap((300, 400), labels[:6])) == [PALETTE[2]]


def test_legend_without_room_for_all_lists_the_largest():
    labels = np.zeros((10, 10), np.uint8)
    labels[:6], labels[6:9], labels[9, :2] = 2, 3, 1
    frame = Frame((np.zeros((64, 400, 3), np.uint8),), "rgb24")
    rows = most_rows(frame)
    assert 0 < rows < 4
    largest = [2, 3, 0, 1][:rows]
    assert legend_rows(frame, SemanticMap((64, 400), labels)) == [PALETTE[i] for i in sorted(largest)]


@pytest.mark.parametrize("size", [(64, 400), (90, 160), (300, 200), (1000, 140), (720, 1280)])
def test_legend_covers_at_most_half_the_width_and_half_the_height(size):
    frame = Frame((np.full((*size, 3), 200, np.uint8),), "rgb24")
    area = legend_area(frame, some_map(size))
    ys, xs = np.nonzero(area)
    assert area.any()
    assert ys.max() < size[0] / 2
    assert xs.max() < size[1] / 2


@pytest.mark.parametrize("size", [(20, 400), (30, 30), (300, 90), (1, 1)])
def test_small_frames_have_no_legend(size):
    assert not legend_area(make_frame(size, "rgb24"), some_map(size)).any()


def test_nothing_painted_has_no_legend():
    assert not legend_area(make_frame((300, 400), "rgb24"), some_map((300, 400), [255])).any()


@pytest.mark.parametrize("size", [(300, 400), (301, 403), (1080, 1920)])
def test_every_part_of_a_legend_is_even(size):
    for label in lay_out_legend(make_frame(size, "rgb24"), [("thing", (1, 2, 3)), ("other", (4, 5, 6))]):
        assert not any(value % 2 for value in (label.x, label.y, *label.coverage.shape))


def test_legend_in_yuv_looks_like_the_one_in_rgb():
    semantic = some_map((300, 400))
    grey = np.full((150, 200), 128, np.uint8)
    rgb = Frame((np.full((300, 400, 3), 128, np.uint8),), "rgb24")
    yuv = Frame((np.full((300, 400), 126, np.uint8), grey, grey), "yuv420p", matrix="bt709")
    area = legend_area(rgb, semantic)
    pictures = [paint(frame, semantic, style=Style()).rgb().astype(int) for frame in (rgb, yuv)]
    difference = np.abs(pictures[0] - pictures[1])[area]
    assert difference.mean() < 3
    assert (np.abs(pictures[1][area] - PAPER).max(-1) < 4).mean() > 0.4


def test_maps_of_another_frame_or_other_classes_are_refused():
    frame = make_frame((60, 80), "rgb24")
    with pytest.raises(UsageError, match=r"expected classes of a frame of \(60, 80\), got \(80, 60\)"):
        paint(frame, some_map((80, 60)))
    with pytest.raises(UsageError, match="expected class ids below 4, got 9"):
        paint(frame, some_map((60, 80), [0, 9]))
    with pytest.raises(UsageError, match="expected class ids below 2, got 3"):
        render_semantic(frame, some_map((60, 80)), NAMES[:2], palette=PALETTE)
