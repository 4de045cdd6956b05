"""The procedural world: deterministic, exact, and as lively as promised."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.world import CLASSES, World
from solo_rt.world.shapes import REACH, SHAPES


def test_a_frame_depends_on_seed_and_index_alone() -> None:
    forward = World(3, height=90, width=160)
    backward = World(3, height=90, width=160)
    frames = {i: forward.render(i) for i in (0, 40, 200)}
    for i in (200, 40, 0):
        again = backward.render(i)
        np.testing.assert_array_equal(again.rgb, frames[i].rgb)
        np.testing.assert_array_equal(again.ids, frames[i].ids)
        np.testing.assert_array_equal(again.track_ids, frames[i].track_ids)
    assert not np.array_equal(World(4, height=90, width=160).render(0).rgb, frames[0].rgb)


def test_every_listed_object_is_visible_and_every_pixel_has_an_owner() -> None:
    world = World(1, height=120, width=200, objects=12)
    for index in range(0, 300, 30):
        scene = world.render(index)
        assert scene.rgb.shape == (120, 200, 3)
        assert scene.rgb.dtype == np.uint8
        assert sorted(set(np.unique(scene.ids)) - {0}) == list(range(1, len(scene.class_ids) + 1))
        assert len(set(scene.track_ids)) == len(scene.track_ids) == len(scene.class_ids)


def test_objects_enter_leave_move_and_hide_one_another() -> None:
    world = World(5, height=90, width=160, objects=10)
    seen: dict[int, list[tuple[int, float]]] = {}
    for index in range(0, 600, 5):
        scene = world.render(index)
        for k, track in enumerate(scene.track_ids, 1):
            columns = np.flatnonzero((scene.ids == k).any(axis=0))
            seen.setdefault(int(track), []).append((int((scene.ids == k).sum()), float(columns.mean())))
    long_lived = [states for states in seen.values() if len(states) > 8]
    assert len(seen) > world.objects, "nobody entered"
    assert all(max(s[0] for s in states) > min(s[0] for s in states) for states in long_lived), "nobody changed size"
    assert any(abs(states[0][1] - states[-1][1]) > 40 for states in long_lived), "nobody crossed the picture"


def test_the_same_scene_is_drawn_at_every_size() -> None:
    small, large = (World(2, height=h, width=h * 2).render(77) for h in (72, 216))
    assert set(small.track_ids) <= set(large.track_ids)  # a larger picture may show slivers a small one cannot
    owners = [np.concatenate([[0], scene.track_ids])[scene.ids] for scene in (small, large)]
    assert (owners[0] == owners[1][1::3, 1::3]).mean() > 0.98


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (33, 2), (101, 77)])
def test_any_size_can_be_drawn(height: int, width: int) -> None:
    scene = World(0, height=height, width=width).render(10)
    assert scene.ids.shape == (height, width)


def test_an_empty_world_has_no_objects() -> None:
    scene = World(0, height=20, width=30, objects=0).render(5)
    assert len(scene.class_ids) == 0
    assert not scene.ids.any()


def test_all_classes_occur() -> None:
    found = {int(c) for seed in range(12) for c in World(seed, height=72, width=128).render(0).class_ids}
    assert found == set(range(len(CLASSES)))


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(ValueError, match="0x10"):
        World(0, height=0, width=10)
    with pytest.raises(ValueError, match="256 objects"):
        World(0, objects=256)


@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes_fill_their_outline_and_stay_in_reach(name: str) -> None:
    axis = np.linspace(-2, 2, 401, dtype=np.float32)
    inside = SHAPES[name](axis[None, :], axis[:, None]) < 0
    distance = np.hypot(axis[None, :], axis[:, None])
    assert 0.6 < inside.mean() * 16 < 4.0  # area in square radii
    assert distance[inside].max() <= REACH
