"""The kernel that pastes labels against the drawing of labels on the CPU, on a GPU and on the emulator."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from overlay_twin import make_planes
from pictures import DevicePicture

from solo_rt.errors import EngineError
from solo_rt.gpu.kernels import LABEL, Picture
from solo_rt.render.lettering import Label, draw_label, label_colours, text_coverage
from solo_rt.types import Frame


def paste(device, picture, frame, labels):
    """Return the planes with the labels pasted on them, one call for all."""
    table, text = np.zeros(len(labels), LABEL), [np.zeros(3, np.uint8)]  # text may begin anywhere
    for entry, label in zip(table, labels, strict=True):
        entry["x"], entry["y"] = label.x, label.y
        entry["height"], entry["width"] = label.coverage.shape
        entry["coverage"] = sum(part.size for part in text)
        colours = label_colours(frame, label)
        entry["ink"][:3], entry["paper"][:3] = colours
        text += [label.coverage.ravel(), label.half_coverage.ravel()]
    memory, coverage = device.array(table.view(np.uint8)), device.array(np.concatenate(text))
    device.kernels.paste_labels(
        picture.struct, memory.ptr, coverage=coverage.ptr, count=len(labels), stream=device.stream
    )
    return picture.planes()


def some_labels(rng, frame_size, count):
    """Return labels of text and of noise, many of them over one another or beyond the frame's end."""
    labels = []
    for i in range(count):
        y, x = (2 * int(rng.integers(0, (side + 1) // 2)) for side in frame_size)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        coverage, half = text_coverage(f"label {i}", 14)
        if i % 3 == 0:
            height, width = (2 * int(side) for side in rng.integers(1, 20, 2))
            coverage = rng.integers(0, 256, (height, width), np.uint8)
            half = rng.integers(0, 256, (height // 2, width // 2), np.uint8)
        labels.append(Label(x, y, coverage, half, colour))
    return labels


@pytest.mark.parametrize("pixel_format", ["i420", "nv12"])
@pytest.mark.parametrize(
    ("size", "count"), [((1, 1), 2), ((47, 131), 1), ((90, 120), 0), ((89, 121), 40), ((300, 400), 300)]
)
def test_pasted_labels_are_drawn_labels(device, size, count, pixel_format):
    rng = np.random.default_rng(count)
    for matrix, full_range in (("bt601", False), ("bt709", True)):
        planes = make_planes(size, "yuv420p")
        frame = Frame(planes, "yuv420p", matrix=matrix, full_range=full_range)
        labels = some_labels(rng, size, count)
        found = paste(device, DevicePicture(device, planes, pixel_format, pad=5), frame, labels)
        expected = tuple(plane.copy() for plane in planes)
        for label in labels:
            draw_label(frame, expected, label)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not count or any((a != b).any() for a, b in zip(expected, planes, strict=True))


def test_a_label_is_what_the_header_says(device):
    assert (LABEL.itemsize, LABEL.fields["coverage"][1], LABEL.fields["paper"][1]) == (32, 16, 28)


@pytest.mark.parametrize(
    ("height", "width", "pixel_format", "count", "cause"),
    [
        (0, 4, 3, 1, "a size"),
        (4, 65536, 3, 1, "a size"),
        (4, 4, 3, -1, "a size"),
        (4, 4, 0, 1, "an argument"),
        (4, 4, 4, 1, "an argument"),
    ],
)
def test_impossible_pictures_are_refused(device, height, width, pixel_format, count, cause):
    picture = Picture((0, 0, 0), (0, 0, 0), height, width, pixel_format)
    with pytest.raises(EngineError, match=cause):
        device.kernels.paste_labels(picture, 0, coverage=0, count=count, stream=0)
    assert ctypes.sizeof(picture) == 64
