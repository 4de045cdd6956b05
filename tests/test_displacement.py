"""Scenes that change, and masks that move with the picture."""

from __future__ import annotations

import numpy as np
import pytest
from soft_mask_twin import iou, make_instances, make_masks

from solo_rt.errors import UsageError
from solo_rt.track.displacement import Displacement
from solo_rt.track.scene import Scene, SmallPicture
from solo_rt.types import DevicePicture, Frame, Instances

SIZE = (180, 320)


def texture(seed, size=SIZE):
    """Return smooth noise, `uint8 [H, W, 3]`, that can be followed."""
    import cv2

    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (size[0] // 6 + 2, size[1] // 6 + 2, 3), np.uint8)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)


def shown(x, y, *, angle=0.0, radius=40, pixel_format="rgb24", size=SIZE):
    """Return a frame with a textured, turned disc at x, y, and its true mask."""
    import cv2

    turn = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), angle, 1.0)
    turn[:, 2] += (x - size[1] / 2, y - size[0] / 2)
    disc = cv2.warpAffine(texture(1, size), turn, size[::-1])
    rows, columns = np.mgrid[: size[0], : size[1]]
    mask = np.hypot(columns - x, rows - y) < radius
    rgb = np.where(mask[..., None], disc, texture(2, size) // 2)
    if pixel_format == "rgb24":
        return Frame((rgb,), "rgb24"), mask
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel()
    cut = np.split(planes, [size[0] * size[1], size[0] * size[1] * 5 // 4])
    halves = [part.reshape(size[0] // 2, size[1] // 2) for part in cut[1:]]
    return Frame((cut[0].reshape(size), *halves), "yuv420p"), mask


def found(*masks, stride=4):
    """Return instances as a network of quarter size would find them."""
    h, w = (side // stride for side in masks[0].shape)
    crops = [(255 * mask.reshape(h, stride, w, stride).mean((1, 3))).astype(np.uint8) for mask in masks]
    return make_instances(make_masks(crops, [(0, 0)] * len(crops), (h, w), (1 / stride, 1 / stride)), masks[0].shape)


def small(frame):
    return SmallPicture.of(frame)


@pytest.mark.parametrize("pixel_format", ["rgb24", "yuv420p"])
def test_a_mask_goes_where_its_object_goes(pixel_format):
    first, mask = shown(100, 90, pixel_format=pixel_format)
    displacement = Displacement(small(first), found(mask))
    for step in range(1, 7):
        frame, truth = shown(100 + 5 * step, 90 - 3 * step, pixel_format=pixel_format)
        moved = displacement.move(small(frame))
        assert iou(moved.dense(0), truth) > 0.95
    ys, xs = np.nonzero(moved.dense(0))
    assert moved.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert iou(mask, truth) < 0.5


def test_a_mask_turns_with_its_object():
    first, disc = shown(160, 90)
    half = disc & (np.arange(SIZE[1]) < 160)  # of which only the left half is an object
    displacement = Displacement(small(first), found(half))
    for angle in range(5, 35, 5):
        moved = displacement.move(small(shown(160, 90, angle=angle)[0]))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] - np.array([90, 160])[:, None, None]
    turned = disc & (x * np.cos(np.radians(30)) - y * np.sin(np.radians(30)) < 0)
    assert iou(moved.dense(0), turned) > 0.9 > 0.8 > iou(half, turned)


def test_objects_move_each_for_itself_and_one_that_leaves_does_not_come_back():
    first, mask = shown(280, 90)
    resting = np.zeros(SIZE, np.bool_)
    resting[20:80, 20:80] = True
    displacement = Displacement(small(first), found(mask, resting))
    for step in range(1, 14):
        moved = displacement.move(small(shown(280 + 7 * step, 90)[0]))
        assert iou(moved[moved.class_ids == 1].dense(0), resting) > 0.97
    gone = moved[moved.class_ids == 0]
    assert len(gone) == 0 or gone.boxes[0, 0] > 300


def test_an_object_without_a_pixel_in_the_frame_is_left_out():
    first, mask = shown(100, 90)
    resting = np.zeros(SIZE, np.bool_)
    resting[120:160, 240:300] = True
    displacement = Displacement(small(first), found(mask, resting))
    displacement._maps = [np.array([[1, 0, 9999], [0, 1, 0]]), np.eye(2, 3)]
    displacement._is_seen[:] = False
    moved = displacement.move(small(first))
    assert (moved.class_ids.tolist(), moved.scores.tolist()) == ([1], found(mask, resting).scores.tolist()[1:])


def test_a_picture_that_is_as_before_has_the_instances_of_before():
    first, mask = shown(100, 90)
    instances = found(mask)
    displacement = Displacement(small(first), instances)
    displacement.move(small(shown(130, 90)[0]))
    assert displacement.stay() is instances
    assert iou(displacement.move(small(shown(104, 90)[0])).dense(0), shown(104, 90)[1]) > 0.95


def test_nothing_found_and_masks_without_a_sample_inside_move_as_well():
    first, mask = shown(100, 90)
    assert len(Displacement(small(first), Instances.none(SIZE)).move(small(first))) == 0
    thin = np.zeros_like(mask)
    thin[90:92] = True
    assert len(Displacement(small(first), found(thin)).move(small(first))) <= 1


def test_a_flat_picture_gives_no_points_to_follow_and_nothing_moves():
    flat = Frame((np.full((*SIZE, 3), 80, np.uint8),), "rgb24")
    mask = shown(100, 90)[1]
    assert iou(Displacement(small(flat), found(mask)).move(small(flat)).dense(0), mask) > 0.95


def test_noise_is_no_change_and_a_small_object_that_moves_is_one():
    scene, (first, _) = Scene(), shown(100, 90, radius=12)
    scene.begin(small(first))
    rng = np.random.default_rng(0)
    noisy = np.clip(first.planes[0] + rng.normal(0, 3, (*SIZE, 3)), 0, 255).astype(np.uint8)
    assert scene.change(small(Frame((noisy,), "rgb24"))).is_still
    change = scene.change(small(shown(106, 90, radius=12)[0]))
    assert not change.is_still
    assert 0.001 < change.farthest < 0.03


def test_how_far_things_have_gone_counts_from_the_key_frame():
    scene = Scene()
    scene.begin(small(shown(100, 90)[0]))
    distances = [scene.change(small(shown(100 + 4 * step, 90)[0])).farthest for step in range(1, 8)]
    np.testing.assert_allclose(distances, [4 * step / np.hypot(*SIZE) for step in range(1, 8)], rtol=0.35)


def test_a_cut_and_another_size_are_other_pictures():
    scene = Scene()
    scene.begin(small(shown(100, 90)[0]))
    assert scene.change(small(shown(103, 90)[0])) is not None
    assert scene.change(small(Frame((texture(7),), "rgb24"))) is None
    scene.begin(small(shown(100, 90)[0]))
    assert scene.change(small(Frame((texture(1, (182, 320)),), "rgb24"))) is None


def test_pictures_of_few_pixels_are_looked_at_too():
    scene = Scene()
    for size in ((1, 1), (3, 900), (16, 16)):
        scene.begin(small(Frame((np.zeros((*size, 3), np.uint8),), "rgb24")))
        scene.change(small(Frame((np.full((*size, 3), 200, np.uint8),), "rgb24")))
        assert scene.change(small(Frame((np.zeros((*size, 3), np.uint8),), "rgb24"))).is_still


def test_a_frame_on_a_gpu_is_refused():
    picture = DevicePicture((1, 2), (320, 320), *SIZE, None)
    with pytest.raises(UsageError, match="expected a frame in host memory"):
        SmallPicture.of(Frame((), "yuv420p", device=picture))
