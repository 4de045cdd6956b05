"""Rendered frames: masks as the overlay's twin paints them, labels and palette as they promise."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from overlay_twin import blend_masks, drawn_apart, make_frame
from soft_mask_twin import make_instances, make_masks, random_masks

from solo_rt.errors import UsageError
from solo_rt.render import Style, _place, instance_labels, render
from solo_rt.render.lettering import Label, label_colours, label_height, plane_colours, text_coverage
from solo_rt.render.palette import PALETTE
from solo_rt.types import Frame, Instances

CLASSES = tuple(f"class {i}" for i in range(40))
BARE = Style(labels=False)
SIZES = [(48, 80), (47, 79), (48, 79), (47, 80), (1, 1), (2, 1), (1, 2), (3, 3)]


def some_instances(size: tuple[int, int], count: int = 6, **changes: object) -> Instances:
    step = (10 / size[0], 16 / size[1])
    found = make_instances(random_masks(np.random.default_rng(4), count, (12, 20), step), size)
    fields = {name: getattr(found, name) for name in ("boxes", "scores", "class_ids", "masks")}
    return Instances(size, **(fields | changes))


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
@pytest.mark.parametrize("size", [(120, 161), (45, 37), (44, 9), *SIZES])
def test_render_returns_its_own_frame_and_leaves_the_input_alone(pixel_format, size):
    frame = make_frame(size, pixel_format, index=7, pts=3)
    drawn = drawn_apart(frame, lambda given: render(given, some_instances(size), CLASSES))
    if size[0] * size[1] > 9:
        assert any((a != b).any() for a, b in zip(frame.planes, drawn.planes, strict=True))


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_no_instance_gives_an_equal_picture(pixel_format):
    frame = make_frame((60, 80), pixel_format)
    masks = make_masks([], [], (12, 20), (0.25, 0.25))
    drawn = render(frame, make_instances(masks, (60, 80)), CLASSES)
    for plane, result in zip(frame.planes, drawn.planes, strict=True):
        np.testing.assert_array_equal(plane, result)


def test_render_paints_masks_as_the_overlay_does_in_class_colours():
    frame = make_frame((60, 80), "rgb24")
    found = some_instances((60, 80), class_ids=np.array([0, 33, 2, 0, 31, 32], np.int32))
    expected = blend_masks(frame.planes, found.masks, np.array(PALETTE, np.uint8)[[0, 1, 2, 0, 31, 0]], 0.45, 1)
    np.testing.assert_array_equal(render(frame, found, CLASSES, style=BARE).planes[0], expected[0])


def test_outline_grows_with_the_frame_unless_given():
    found = some_instances((900, 1200), 3)
    frame = Frame((np.zeros((900, 1200, 3), np.uint8),), "rgb24")
    automatic = render(frame, found, CLASSES, style=BARE).planes[0]
    np.testing.assert_array_equal(
        automatic, render(frame, found, CLASSES, style=Style(labels=False, outline=2)).planes[0]
    )
    assert (automatic != render(frame, found, CLASSES, style=Style(labels=False, outline=0)).planes[0]).any()


def one_object(size: tuple[int, int], corner: tuple[int, int], **changes: object) -> Instances:
    masks = make_masks([np.full((3, 3), 255, np.uint8)], [corner], (30, 40), (30 / size[0], 40 / size[1]))
    found = make_instances(masks, size)
    fields = {name: getattr(found, name) for name in ("boxes", "scores", "class_ids", "masks")}
    return Instances(size, **(fields | changes))


def label_area(frame: Frame, found: Instances) -> np.ndarray:
    """Return where labels changed the picture, `bool [H, W]`."""
    bare = render(frame, found, CLASSES, style=BARE).planes[0]
    labelled = render(frame, found, CLASSES).planes[0]
    return (bare != labelled).reshape(*bare.shape[:2], -1).any(-1)


def extent(area: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(area)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize("corner", [(0, 0), (37, 0), (0, 27), (37, 27), (18, 14)])
def test_whole_label_is_inside_the_frame_wherever_the_object_is(corner):
    frame = Frame((np.zeros((300, 401, 3), np.uint8),), "rgb24")
    in_middle = extent(label_area(frame, one_object((300, 401), (18, 14))))
    area = extent(label_area(frame, one_object((300, 401), corner)))
    assert (area[2] - area[0], area[3] - area[1]) == pytest.approx(
        (in_middle[2] - in_middle[0], in_middle[3] - in_middle[1]), abs=1
    )  # the mask's own colour hides a border of the label's


def test_label_sits_on_top_of_its_mask_and_leaves_it_when_that_place_is_taken():
    frame = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24")
    alone = one_object((300, 400), (18, 14))
    assert extent(label_area(frame, alone))[3] <= alone.boxes[0, 1]
    both = Instances(
        (300, 400),
        np.repeat(alone.boxes, 2, 0),
        np.array([0.9, 0.8], np.float32),
        np.array([0, 1], np.int32),
        make_masks([np.full((3, 3), 255, np.uint8)] * 2, [(18, 14)] * 2, (30, 40), alone.masks.step),
    )
    labels = label_area(frame, both)
    one = label_area(frame, alone)
    assert labels.sum() > 1.7 * one.sum()


def test_label_shows_the_track_and_the_score():
    frame = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24")
    plain = one_object((300, 400), (18, 14))
    tracked = one_object((300, 400), (18, 14), track_ids=np.array([12], np.int32))
    other = one_object((300, 400), (18, 14), scores=np.array([0.11], np.float32))
    widths = [extent(label_area(frame, found)) for found in (plain, tracked)]
    assert widths[1][2] - widths[1][0] > widths[0][2] - widths[0][0]
    assert (render(frame, plain, CLASSES).planes[0] != render(frame, other, CLASSES).planes[0]).any()


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_trails_have_the_colours_of_the_classes_and_the_best_is_on_top(pixel_format):
    frame = make_frame((61, 83), pixel_format)
    found = some_instances((61, 83), 3)
    crossing = [np.array([(40, y) for y in (5, 30, 55)], np.float32), np.array([(10, 30), (70, 30)], np.float32)]
    trails = [*crossing, np.zeros((1, 2), np.float32)]  # the third was seen once
    style = replace(BARE, masks=False)
    drawn = render(frame, found, CLASSES, trails=trails, style=style).planes[0].reshape(61, 83, -1)
    colours = plane_colours(frame, np.array(PALETTE, np.uint8)[found.class_ids])[:, : drawn.shape[2]]
    for (x, y), colour in (((40, 15), colours[0]), ((40, 30), colours[0]), ((20, 30), colours[1])):
        np.testing.assert_allclose(drawn[y, x].astype(int), colour, atol=40)  # edges are smoothed
    for unwanted in (
        render(frame, found, CLASSES, style=style),
        render(frame, found, CLASSES, trails=trails, style=replace(style, tracks=False)),
    ):
        np.testing.assert_array_equal(unwanted.planes[0], frame.planes[0])


def test_label_in_yuv_looks_like_the_one_in_rgb():
    found = one_object((300, 400), (18, 14))
    rgb = Frame((np.full((300, 400, 3), 128, np.uint8),), "rgb24")
    grey = np.full((150, 200), 128, np.uint8)
    yuv = Frame((np.full((300, 400), 126, np.uint8), grey, grey), "yuv420p", matrix="bt709")
    area = label_area(rgb, found)
    difference = render(rgb, found, CLASSES).rgb().astype(int) - render(yuv, found, CLASSES).rgb()
    assert np.abs(difference[area] @ (0.2126, 0.7152, 0.0722)).mean() < 1.5  # the letters' shape is in Y
    assert np.abs(difference[area]).mean() < 6  # their edges are soft in U and V
    x0, y0, x1, y1 = extent(area)
    assert (x0 % 2, y0 % 2, x1 % 2, y1 % 2) == (0, 0, 0, 0)


def test_an_object_between_two_cells_is_labelled_above_its_pixels():
    masks = make_masks([np.full((2, 2), 127, np.uint8)], [(19, 14)], (30, 40), (0.1, 0.1))  # no cell is inside
    boxes = np.array([[190, 140, 200, 150]], np.float32)
    frame = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24")
    (label,) = instance_labels(frame, replace(make_instances(masks, (300, 400)), boxes=boxes), CLASSES)
    height, width = label.coverage.shape
    assert (abs(label.x + width / 2 - 190) <= 2, label.y) == (True, 140 - height)


def test_a_mask_of_one_row_of_cells_has_its_label_in_the_middle():
    frame = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24")
    crop = np.pad(np.full((1, 9), 255, np.uint8), 1)
    found = make_instances(make_masks([crop], [(10, 14)], (30, 40), (0.1, 0.1)), (300, 400))
    (label,) = instance_labels(frame, found, CLASSES)
    assert abs(label.x + label.coverage.shape[1] / 2 - found.boxes[0, ::2].mean()) <= 2


def test_text_can_be_read_on_any_colour():
    frame = make_frame((60, 80), "rgb24")
    coverage, halves = text_coverage("a", 14)
    for colour in itertools.product(range(0, 256, 51), repeat=3):
        ink, paper = label_colours(frame, Label(0, 0, coverage, halves, colour)).astype(float) @ (0.299, 0.587, 0.114)
        assert abs(ink - paper) >= 115


def test_object_without_a_pixel_has_no_label():
    frame = Frame((np.zeros((300, 400, 3), np.uint8),), "rgb24")
    found = make_instances(make_masks([np.zeros((3, 3), np.uint8)], [(2, 2)], (30, 40), (0.1, 0.1)), (300, 400))
    assert not label_area(frame, found).any()


def test_a_frame_of_three_labels_has_room_for_one():
    height = label_height(Frame((np.zeros((60, 400, 3), np.uint8),), "rgb24"))
    for rows, drawn in ((3 * height, True), (3 * height - 1, False)):
        frame = Frame((np.zeros((rows, 400, 3), np.uint8),), "rgb24")
        assert label_height(frame) == height
        found = make_instances(make_masks([np.full((2, 4), 255, np.uint8)], [(2, 1)], (8, 40), (0.1, 0.1)), (rows, 400))
        assert bool(instance_labels(frame, found, CLASSES)) is drawn


@pytest.mark.parametrize(
    ("extent", "taken", "place"),
    [
        ((50, 40, 80), [], (30, 30)),  # above the mask
        ((50, 40, 80), [(30, 30, 70, 40)], (30, 40)),  # at its top
        ((50, 40, 80), [(30, 30, 70, 50)], (30, 70)),  # at its foot
        ((50, 40, 80), [(30, 30, 70, 80)], (30, 80)),  # below it
        ((50, 40, 80), [(30, 20, 70, 90)], (30, 30)),  # nowhere
        ((50, 40, 80), [(0, 30, 30, 40)], (30, 30)),  # neighbours touch: left,
        ((50, 40, 80), [(70, 30, 90, 40)], (30, 30)),  # right,
        ((50, 40, 80), [(30, 20, 70, 30)], (30, 30)),  # above,
        ((50, 40, 80), [(30, 40, 70, 50)], (30, 30)),  # below
        ((3, 2, 9), [], (0, 0)),  # and nothing leaves the frame
        ((99, 2, 99), [], (60, 0)),
        ((51, 41, 81), [], (30, 30)),  # nor is odd
    ],
)
def test_a_label_takes_the_first_free_place(extent, taken, place):
    taken = np.array(taken, np.int64).reshape(-1, 4)
    assert _place((10, 40), extent, (100, 100), taken) == place


def test_names_beyond_ascii_are_drawn():
    frame, found = make_frame((300, 400), "yuv420p"), one_object((300, 400), (18, 14))
    drawn = (render(frame, found, [name]).planes[0] for name in ("Straßenbahn 車", "Strasse"))
    assert (next(drawn) != next(drawn)).any()


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
def test_plane_colours_come_back_as_rgb(matrix, full_range):
    rgb = np.array([*PALETTE, *itertools.product((0, 255), repeat=3)], np.uint8)
    planes = plane_colours(make_frame((4, 4), "yuv420p", matrix=matrix, full_range=full_range), rgb)
    y, u, v = (np.repeat(np.repeat(planes[None, :, c], 2, 1), 2, 0) for c in range(3))
    shown = Frame((y, u[:1, ::2].copy(), v[:1, ::2].copy()), "yuv420p", matrix=matrix, full_range=full_range).rgb()
    np.testing.assert_allclose(shown[0, ::2].astype(int), rgb, atol=3)  # rounding of U and V, times up to 2.1
    np.testing.assert_array_equal(plane_colours(make_frame((4, 4), "rgb24"), rgb), rgb)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize(("full_range", "black", "white"), [(False, 16, 235), (True, 0, 255)])
def test_black_white_and_the_primaries_reach_the_ends_of_their_range(matrix, full_range, black, white):
    frame = make_frame((4, 4), "yuv420p", matrix=matrix, full_range=full_range)
    rgb = [(0, 0, 0), (255, 255, 255), (0, 0, 255), (255, 255, 0), (255, 0, 0), (0, 255, 255)]
    low, high = (0, 255) if full_range else (16, 240)
    planes = plane_colours(frame, np.array(rgb, np.uint8)).tolist()
    assert planes[:2] == [[black, 128, 128], [white, 128, 128]]
    assert [planes[2][1], planes[4][2]] == [high, high]
    assert [planes[3][1], planes[5][2]] == pytest.approx([low, low], abs=1)  # full range is 1..255 about 128


def test_palette_is_what_its_note_says():
    for k, colour in enumerate(PALETTE):
        lightness, hue = (0.74, 0.66, 0.84)[k % 3], np.radians(250 + 137.508 * k)
        inside, outside = 0.0, 0.4  # chroma; bisected to the edge of sRGB
        while outside - inside > 1e-12:
            middle = (inside + outside) / 2
            linear = oklch_to_linear_rgb(lightness, middle, hue)
            in_gamut = linear.min() >= 0 and linear.max() <= 1
            inside, outside = (middle, outside) if in_gamut else (inside, middle)
        linear = oklch_to_linear_rgb(lightness, min(inside, 0.2), hue)
        encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055)
        np.testing.assert_array_equal(np.round(255 * encoded), colour)
    assert len(set(PALETTE)) == len(PALETTE)


def oklch_to_linear_rgb(lightness: float, chroma: float, hue: float) -> np.ndarray:
    """Source: Björn Ottosson, A perceptual color space for image processing, 2020."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    to_lms = np.array([[0.3963377774, 0.2158037573], [-0.1055613458, -0.0638541728], [-0.0894841775, -1.2914855480]])
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    return to_rgb @ (lightness + to_lms @ [a, b]) ** 3


def test_nothing_of_another_frame_or_other_classes_is_drawn():
    frame = make_frame((60, 80), "rgb24")
    with pytest.raises(UsageError, match=r"expected instances of a frame of \(60, 80\), got \(80, 60\)"):
        render(frame, some_instances((80, 60)), CLASSES)
    with pytest.raises(UsageError, match="expected class ids below 3, got 5"):
        render(frame, some_instances((60, 80)), CLASSES[:3])


def test_style_refuses_values_out_of_range():
    with pytest.raises(UsageError, match=r"alpha in 0\.\.1, got 2"):
        Style(alpha=2)
    with pytest.raises(UsageError, match=r"outline in 0\.\.32 pixels, got -1"):
        Style(outline=-1)


MEMORY_PROBE = """
from pathlib import Path
import numpy as np
from soft_mask_twin import make_masks
from solo_rt import _native
from solo_rt.render import render
from solo_rt.types import Frame, Instances

def peak_mb():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

size, grid = (2160, 3840), (64, 112)
halves = np.zeros((1080, 1920), np.uint8), np.zeros((1080, 1920), np.uint8)
frame = Frame((np.zeros(size, np.uint8), *halves), "yuv420p")
for plane in frame.planes:
    plane[:] = 128
distance = np.hypot(*(np.mgrid[:34, :34] - 16.5))
blob = np.clip(127.5 + 16 * (15 - distance), 0, 255).astype(np.uint8)
corners = [(i * 7 % 79, i * 11 % 31) for i in range(100)]
masks = make_masks([blob] * 100, corners, grid, (63 / 2160, 112 / 3840))
before = peak_mb()
boxes = _native.mask_boxes(masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, size)
found = Instances(size, boxes, np.full(100, 0.9, np.float32), np.arange(100, dtype=np.int32) % 7, masks)
drawn = render(frame, found, [str(i) for i in range(7)])
codes = found.rles()
print(peak_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_objects_on_a_4k_frame_take_less_than_100_mb():
    # Their boolean masks would be 829 MB; the drawn frame itself is 12.
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", MEMORY_PROBE]
    probe = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 5 < float(probe.stdout) < 100
