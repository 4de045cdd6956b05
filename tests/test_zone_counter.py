"""Entering, leaving, staying and crossing, frame by frame; compared with one object and one zone at a time."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from found import found
from hypothesis import given
from hypothesis import strategies as st
from test_sides import contains_slowly, crossings_slowly, sides_of

from solo_rt.errors import UsageError
from solo_rt.events import Event
from solo_rt.track.anchors import NUDGE, find_anchors
from solo_rt.track.counter import GONE_FRAMES, GONE_SECONDS, MARGIN, ZoneCounter
from solo_rt.track.zones import Zone
from solo_rt.types import Instances

CLASSES = ("cat", "big dog")
SIZE = (48, 64)  # height, width
STEP = 0.25  # seconds between frames, exact as a float
ROOM = Zone("room", ((20, 10), (44, 10), (44, 38), (20, 38)), size=(64, 48))
GATE = Zone("gate", ((32, 0), (32, 48)), is_line=True, size=(64, 48))  # downwards: forward is to the left


def at(x: float, y: float, *, side: int = 4) -> tuple[int, int, int, int]:
    """Return a box whose lower edge has its middle there; its margin is 0.4."""
    return (int(x - side / 2), int(y - side), int(x + side / 2), int(y))


def feed(zones, *frames, times=None, classes=None):
    """Return the last states and all events with the number of their frame; `frames` are boxes by track."""
    counter = ZoneCounter(zones, CLASSES)
    events, states = [], ()
    for index, boxes in enumerate(frames):
        objects = found(*boxes.values(), tracks=list(boxes))
        if classes is not None:
            objects = replace(objects, class_ids=np.array([classes[track] for track in boxes], np.int32))
        states, new = counter.update(objects, index * STEP if times is None else times[index])
        events += [(index, event) for event in new]
    return states, events


def walk(*xs, y=24):
    """Return frames of one object, track 1, None where it is not seen."""
    return [{} if x is None else {1: at(x, y)} for x in xs]


def kinds(events):
    return [(frame, event.kind) for frame, event in events]


def test_an_object_enters_stays_and_leaves():
    (state,), events = feed([replace(ROOM, dwell=0.5)], *walk(10, 18, 20, 26, 30, 34, 44, 46, 50))
    assert events == [
        (3, Event("enter", "room", 1, 0)),
        (5, Event("dwell", "room", 1, 0, seconds=0.5)),
        (7, Event("leave", "room", 1, 0, seconds=1.0)),
    ]
    assert (state.inside, state.entered, state.left) == ({}, {0: 1}, {0: 1})
    assert (state.name, state.is_line) == ("room", False)
    np.testing.assert_array_equal(state.points, ROOM.points_on(SIZE))


def test_who_is_inside_at_first_has_entered():
    (state,), events = feed([ROOM], *walk(30))
    assert (kinds(events), state.inside) == ([(0, "enter")], {0: 1})


def test_who_trembles_on_a_border_enters_once():
    """The margin of a box of 24 x 24 is 2.4 pixels."""
    frames = [{1: at(x, 30, side=24)} for x in (15, 21, 19, 21, 18, 22, 19, 18, 21)]
    assert kinds(feed([ROOM], *frames)[1]) == [(1, "enter")]
    assert kinds(feed([ROOM], *frames, {1: at(17, 30, side=24)})[1]) == [(1, "enter"), (9, "leave")]


def test_who_trembles_does_so_beside_others():
    frames = [{1: at(x, 30, side=24), 2: at(32, 30)} for x in (15, 21, 19, 21, 18)]
    assert [(frame, event.track_id) for frame, event in feed([ROOM], *frames)[1]] == [(0, 2), (1, 1)]


def test_larger_objects_have_wider_margins():
    for side, leaves in ((10, True), (30, False)):
        events = feed([ROOM], {1: at(30, 30, side=side)}, {1: at(18, 30, side=side)})[1]
        assert len(events) == 1 + leaves


def test_a_margin_is_a_tenth_of_the_mean_side():
    tall = (13, 10, 17, 35)  # 4 x 25: 10 in the mean
    for x, leaves in ((30, False), (31, True)):  # 1 pixel out on the right, less the nudge, and 2
        shifted = (tall[0] + x, tall[1], tall[2] + x, tall[3])
        assert len(feed([ROOM], {1: (28, 10, 32, 35)}, {1: shifted})[1]) == 1 + leaves
    assert pytest.approx(0.1) == MARGIN


def test_who_is_inside_for_one_frame_is_counted():
    assert kinds(feed([ROOM], *walk(5, 30, 60))[1]) == [(1, "enter"), (2, "leave")]


def test_zones_at_the_lower_edge_hold_what_is_cut_off_there():
    floor = Zone("floor", ((0, 0.5), (1, 0.5), (1, 1), (0, 1)))
    assert kinds(feed([floor], {1: (10, 40, 20, 48)})[1]) == [(0, "enter")]


def test_dwell_is_said_once_per_stay():
    zone = replace(ROOM, dwell=0.5)
    _, events = feed([zone], *walk(30, 30, 30, 30, 30, 5, 30, 30, 30, 30))
    assert kinds(events) == [(0, "enter"), (2, "dwell"), (5, "leave"), (6, "enter"), (8, "dwell")]


def test_dwell_is_due_in_the_frame_of_its_time_however_times_are_rounded():
    frames = walk(*[30] * 40)
    _, events = feed([replace(ROOM, dwell=0.5)], *frames, times=[0.2 + i / 30 for i in range(40)])
    assert kinds(events) == [(0, "enter"), (15, "dwell")]


def test_only_what_has_a_dwell_tells_of_it():
    _, events = feed([ROOM, replace(ROOM, name="wait", dwell=0.25)], *walk(30, 30, 30))
    assert [(frame, event.kind, event.zone) for frame, event in events] == [
        (0, "enter", "room"), (0, "enter", "wait"), (1, "dwell", "wait"),
    ]  # fmt: skip


def test_who_vanishes_inside_leaves_when_it_has_been_gone_for_a_while():
    unseen = round(GONE_SECONDS / STEP)
    (state,), events = feed([ROOM], *walk(30, 30, 30, *[None] * unseen))
    assert (kinds(events), state.inside) == ([(0, "enter")], {0: 1})
    (state,), events = feed([ROOM], *walk(30, 30, 30, *[None] * (unseen + 1)))
    assert events[1] == (3 + unseen, Event("leave", "room", 1, 0, seconds=2 * STEP))
    assert (state.inside, state.left) == ({}, {0: 1})


def test_who_was_hidden_for_less_is_still_inside():
    _, events = feed([ROOM], *walk(30, *[None] * 7, 30, *[None] * 7, 30))
    assert kinds(events) == [(0, "enter")]


def test_who_is_seen_again_after_a_gap_without_frames_never_left():
    assert kinds(feed([ROOM], *walk(30, 30), times=[0, 3600])[1]) == [(0, "enter")]
    assert kinds(feed([ROOM], *walk(30, 5), times=[0, 3600])[1]) == [(0, "enter"), (1, "leave")]


def test_a_track_that_comes_back_after_it_was_given_up_enters_again():
    _, events = feed([ROOM], *walk(30, *[None] * 9, 30))
    assert kinds(events) == [(0, "enter"), (9, "leave"), (10, "enter")]


def test_frames_without_times_that_go_on_forget_as_well():
    counter = ZoneCounter([ROOM], CLASSES)
    counter.update(found(at(30, 24), tracks=[1]), 0.0)
    left = [counter.update(found(tracks=[]), 0.0)[1] for _ in range(GONE_FRAMES + 1)]
    assert [len(events) for events in left] == [0] * GONE_FRAMES + [1]


def test_time_that_goes_back_is_none_and_goes_on_from_there():
    _, events = feed([replace(ROOM, dwell=3)], *walk(30, 30, 30, 30, 30), times=[100, 101, 5, 6, 7])
    assert kinds(events) == [(0, "enter"), (4, "dwell")]
    assert events[1][1].seconds == 3


def test_crossing_a_line_has_a_direction():
    (state,), events = feed([GATE], *walk(20, 28, 36, 44, 36, 28))
    assert events == [(2, Event("cross", "gate", 1, 0, forward=False)), (5, Event("cross", "gate", 1, 0, forward=True))]
    assert (state.inside, state.entered, state.left, state.is_line) == ({}, {0: 1}, {0: 1}, True)


def test_forward_is_to_the_right_of_who_looks_along_the_line():
    along = Zone("along", ((0, 0.5), (1, 0.5)), is_line=True)  # looking right: forward is down
    _, events = feed([along], {1: at(30, 10)}, {1: at(30, 40)})
    assert [event.forward for _, event in events] == [True]
    back = replace(along, points=along.points[::-1])
    assert [event.forward for _, event in feed([back], {1: at(30, 10)}, {1: at(30, 40)})[1]] == [False]


def test_who_trembles_on_a_line_crosses_it_once():
    frames = [{1: at(x, 30, side=20)} for x in (25, 33, 31, 33, 31, 34, 31, 33, 32, 36, 40)]
    assert kinds(feed([GATE], *frames)[1]) == [(9, "cross")]


def test_who_turns_back_on_a_line_has_not_crossed_it():
    frames = [{1: at(x, 30, side=20)} for x in (25, 33, 31, 33, 31, 25, 20)]
    assert kinds(feed([GATE], *frames)[1]) == []


def test_who_vanishes_behind_a_line_has_crossed_it():
    frames = [{1: at(x, 30, side=20)} for x in (25, 33)] + [{}] * 9
    (state,), events = feed([GATE], *frames)
    assert (kinds(events), state.left) == ([(10, "cross")], {0: 1})


def test_who_jumps_over_a_line_or_is_hidden_on_it_has_crossed_it():
    assert kinds(feed([GATE], *walk(5, 60))[1]) == [(1, "cross")]
    assert kinds(feed([GATE], *walk(28, None, None, 36))[1]) == [(3, "cross")]


def test_passing_the_end_of_a_line_is_no_crossing():
    short = Zone("short", ((32, 0), (32, 20)), is_line=True, size=(64, 48))
    assert feed([short], *walk(20, 44, y=24))[1] == []
    around = [{1: at(x, y)} for x, y in ((28, 16), (28, 24), (36, 24), (36, 16))]
    assert feed([short], *around)[1] == []


def test_going_around_the_end_after_a_crossing_leaves_it_counted():
    short = Zone("short", ((32, 0), (32, 20)), is_line=True, size=(64, 48))
    around = [{1: at(x, y)} for x, y in ((28, 16), (36, 16), (36, 24), (28, 24), (28, 16))]
    assert kinds(feed([short], *around)[1]) == [(1, "cross")]


def test_a_line_that_turns_is_crossed_as_often_as_it_is():
    spiral = Zone("spiral", ((24, 0), (24, 40), (56, 40), (56, 12), (40, 12), (40, 28)), is_line=True, size=(64, 48))
    _, events = feed([spiral], *walk(10, 48, y=24))
    assert [event.forward for _, event in events] == [False, False]
    twice = Zone("twice", ((24, 0), (24, 40), (8, 40), (8, 44), (40, 44), (40, 4)), is_line=True, size=(64, 48))
    (state,), events = feed([twice], *walk(10, 60, y=24))
    assert (events, state.entered, state.left) == ([], {}, {})  # once to each side, in one step


def test_classes_choose_who_counts():
    for zone in (replace(ROOM, classes=("big dog",)), replace(GATE, classes=("big dog",))):
        (state,), events = feed([zone], *[{1: at(x, 20), 2: at(x, 30)} for x in (10, 28, 36)], classes={1: 0, 2: 1})
        assert [event.track_id for _, event in events] == [2]
        assert sum(state.entered.values()) + sum(state.left.values()) == 1
        assert {*state.entered, *state.left} == {1}


def test_who_changes_its_class_inside_leaves_as_what_it_came():
    counter = ZoneCounter([replace(ROOM, classes=("cat",), dwell=STEP)], CLASSES)
    said = []
    for index, (x, class_id) in enumerate([(30, 0), (30, 1), (5, 1)]):
        objects = replace(found(at(x, 24), tracks=[1]), class_ids=np.array([class_id], np.int32))
        (state,), events = counter.update(objects, index * STEP)
        said += [(event.kind, event.class_id) for event in events]
    assert said == [("enter", 0), ("dwell", 0), ("leave", 0)]
    assert (state.inside, state.entered, state.left) == ({}, {0: 1}, {0: 1})


def test_objects_that_are_none_are_as_if_they_were_not_there():
    objects = found(at(30, 24), at(30, 26), at(30, 28), at(10, 30), at(30, 30), tracks=[5, 0, -1, 7, 7])
    objects.boxes[0, 2] = np.nan
    (state,), events = ZoneCounter([ROOM], CLASSES).update(objects, 0.0)
    assert (events, state.inside) == ((), {})  # of the two called 7 the first is the better one
    everywhere = Zone("all", ((0, 0), (1, 0), (1, 1), (0, 1)))
    for box in ((0, 0, 0, 0), (5, 5, 5, 9), (5, 5, 9, 5), (9, 9, 5, 5), (5, 5, np.inf, 9), (-np.inf, 5, np.inf, 9)):
        objects = found(at(30, 24), tracks=[1])
        objects.boxes[0] = box
        assert ZoneCounter([everywhere], CLASSES).update(objects, 0.0)[1] == (), box


def test_objects_without_tracks_are_refused_and_no_objects_are_not():
    counter = ZoneCounter([ROOM], CLASSES)
    assert counter.update(Instances.none(SIZE), 0.0)[1] == ()
    with pytest.raises(UsageError, match="expected objects with track ids, got none; switch tracking on"):
        counter.update(found(at(30, 24)), 0.0)


def test_frames_of_another_size_stretch_what_was_known():
    counter = ZoneCounter([ROOM, GATE], CLASSES)
    counter.update(found(at(26, 24), tracks=[1]), 0.0)
    (room, gate), events = counter.update(found(at(39, 48), tracks=[1], size=(96, 96)), STEP)
    assert events == ()
    np.testing.assert_array_equal(room.points, ROOM.points_on((96, 96)))
    np.testing.assert_array_equal(gate.points, GATE.points_on((96, 96)))
    tilted = Zone("tilted", ((0, 0), (1, 1)), is_line=True)
    counter = ZoneCounter([tilted], CLASSES)
    counter.update(found(at(40, 24), tracks=[1]), 0.0)  # above the line, as it is stretched to 60, 24
    assert counter.update(found(at(70, 30), tracks=[1], size=(48, 96)), STEP)[1] == ()
    counter = ZoneCounter([ROOM, GATE], CLASSES)
    counter.update(found(at(39, 48), tracks=[1], size=(96, 96)), 0.0)
    _, events = counter.update(found(at(36, 24), tracks=[1]), 2 * STEP)
    assert [event.kind for event in events] == ["cross"]


def test_states_that_were_given_out_stay_and_are_new_only_where_something_changed():
    counter = ZoneCounter([ROOM, GATE], CLASSES)
    first, _ = counter.update(found(tracks=[]), 0.0)
    second, _ = counter.update(found(at(26, 24), tracks=[1]), STEP)
    third, _ = counter.update(found(at(27, 24), tracks=[1]), 2 * STEP)
    fourth, _ = counter.update(found(at(60, 24), tracks=[1]), 3 * STEP)
    assert [state[0].inside for state in (first, second, fourth)] == [{}, {0: 1}, {}]
    assert [state[0].entered for state in (first, second, fourth)] == [{}, {0: 1}, {0: 1}]
    assert [state[0].left for state in (first, second, fourth)] == [{}, {}, {0: 1}]
    assert second[1] is first[1]
    assert third[0] is second[0]


def test_events_of_a_frame_are_by_zone_and_then_by_track():
    other = replace(ROOM, name="a room")
    boxes = {9: at(30, 20), 2: at(30, 30), 5: at(26, 30)}
    _, events = feed([ROOM, other], boxes)
    assert [(event.zone, event.track_id) for _, event in events] == [
        ("room", 2), ("room", 5), ("room", 9), ("a room", 2), ("a room", 5), ("a room", 9),
    ]  # fmt: skip


def test_who_is_gone_is_told_among_the_others():
    frames = [{2: at(30, 20)}, *[{}] * 8, {9: at(30, 20), 1: at(30, 30)}]
    _, events = feed([ROOM], *frames)
    assert [(event.track_id, event.kind) for _, event in events[1:]] == [(1, "enter"), (2, "leave"), (9, "enter")]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_a_zone_tells_does_not_depend_on_its_place(order):
    upper, lower = ((32, 0), (32, 39)), ((32, 21), (32, 48))  # the middle of 1 crosses, the lower edge of 2
    zones = [
        replace(GATE, points=upper, classes=("cat",), anchor="centre"), replace(ROOM, classes=("big dog",), dwell=STEP),
        replace(GATE, points=lower, classes=("big dog",), name="g2"),
        replace(ROOM, classes=("cat",), anchor="centre", name="r2"),
    ]  # fmt: skip
    boxes = [{1: at(x, 42, side=12), 2: at(x, 24, side=12)} for x in (10, 26, 28, 40, 60)]  # only the middle of 1 is in
    _, events = feed([zones[i] for i in order], *boxes, classes={1: 0, 2: 1})
    assert sorted((frame, event.zone, event.kind, event.track_id) for frame, event in events) == [
        (1, "r2", "enter", 1), (1, "room", "enter", 2), (2, "room", "dwell", 2), (3, "g2", "cross", 2),
        (3, "gate", "cross", 1), (4, "r2", "leave", 1), (4, "room", "leave", 2),
    ]  # fmt: skip


def test_states_are_in_the_order_of_the_zones():
    zones = [GATE, ROOM, replace(GATE, name="g2"), replace(ROOM, name="r2")]
    states, events = feed(zones, *walk(26, 36))
    assert [(state.name, state.is_line) for state in states] == [
        ("gate", True), ("room", False), ("g2", True), ("r2", False),
    ]  # fmt: skip
    assert [event.zone for _, event in events] == ["room", "r2", "gate", "g2"]


def test_what_is_kept_does_not_grow_with_time():
    counter = ZoneCounter([ROOM, GATE], CLASSES)
    sizes = []
    for index in range(400):
        counter.update(found(at(26, 24), at(10, 10), tracks=[2 * index + 1, 2 * index + 2]), index * STEP)
        sizes.append((len(counter._table), len(counter._row)))
    assert max(sizes) == (18, 18)  # of two seconds, both ends included
    (room, _), _ = counter.update(found(tracks=[]), 1e6)
    assert (room.inside, room.entered, room.left) == ({}, {0: 400}, {0: 400})


# Anchors.


def test_anchors_are_the_middle_of_the_lower_edge_of_the_box_and_of_the_mask():
    objects = found((10, 20, 20, 40), (0, 0, 8, 4), (5, 5, 9, 9))
    crop = objects.masks.crop(0)
    crop[1:-1, 6:-1] = 127  # half of the mask is gone: columns 15 to 19
    crop[1:-1, 1:6] = 128
    objects.masks.crop(2)[:] = 100  # all of it
    anchors = find_anchors(objects, np.array([0, 1, 2]), with_masks=True) - NUDGE
    np.testing.assert_allclose(anchors[0], [(15, 40), (15, 30), (12.5, 30)])
    np.testing.assert_allclose(anchors[1], [(4, 4), (4, 2), (4, 2)])
    np.testing.assert_allclose(anchors[2], [(7, 9), (7, 7), (7, 7)])
    chosen = find_anchors(objects, np.array([2, 0]), with_masks=False) - NUDGE
    np.testing.assert_allclose(chosen[1], [(15, 40), (15, 30), (15, 30)])
    np.testing.assert_allclose(find_anchors(objects, np.array([1, 0]), with_masks=True)[1], anchors[0] + NUDGE)
    assert find_anchors(objects, np.array([], np.intp), with_masks=True).shape == (0, 3, 2)


def test_masks_on_a_coarse_grid_have_their_centre_of_gravity_in_pixels():
    objects = found((4, 4, 8, 12), size=(12, 16))
    coarse = replace(objects, masks=replace(objects.masks, step=(0.5, 0.25)), frame_size=(24, 64))
    anchors = find_anchors(coarse, np.array([0]), with_masks=True) - NUDGE
    np.testing.assert_allclose(anchors[0, 2], [6 / 0.25, 8 / 0.5])


@pytest.mark.parametrize(("anchor", "inside"), [("bottom", False), ("centre", True), ("mask", True)])
def test_a_zone_asks_about_its_own_anchor(anchor, inside):
    upper = Zone("upper", ((0, 0), (1, 0), (1, 0.5), (0, 0.5)), anchor=anchor)
    lower = Zone("lower", ((0, 0.6), (1, 0.6), (1, 1), (0, 1)))
    states, _ = feed([lower, upper], {1: (20, 6, 30, 36)})
    assert [bool(state.inside) for state in states] == [True, inside]


def test_a_zone_asks_about_masks_beside_zones_that_do_not():
    objects = found((10, 20, 20, 40), tracks=[1])
    objects.masks.crop(0)[11:] = 0  # the lower half of it
    upper = Zone("upper", ((0, 0), (1, 0), (1, 0.6), (0, 0.6)))
    zones = [replace(upper, name=anchor, anchor=anchor) for anchor in ("bottom", "centre", "mask")]
    states, _ = ZoneCounter(zones, CLASSES).update(objects, 0.0)
    assert [state.name for state in states if state.inside] == ["mask"]


@pytest.mark.parametrize("anchor", ["centre", "mask"])
def test_a_line_asks_about_its_own_anchor(anchor):
    middle = Zone("middle", ((0, 0.5), (1, 0.5)), is_line=True, anchor=anchor)
    frames = [{1: (20, 6, 30, 20)}, {1: (20, 18, 30, 28)}]  # the lower edge crosses, the middle does not
    assert [event.zone for _, event in feed([middle, replace(middle, name="low", anchor="bottom")], *frames)[1]] == [
        "low"
    ]


# The slow way.


def distance(shape, point, *, closed):
    x, y = point
    found = []
    for (ax, ay), (bx, by) in sides_of(shape, closed=closed):
        along = (bx - ax, by - ay)
        share = ((x - ax) * along[0] + (y - ay) * along[1]) / (along[0] ** 2 + along[1] ** 2)
        share = min(max(share, 0), 1)
        found.append(math.dist(point, (ax + share * along[0], ay + share * along[1])))
    return min(found)


def count_slowly(zones, frames):
    """Return the events of all frames, one track and one zone after the other, as a set with counts."""
    events: Counter[tuple[int, Event]] = Counter()
    for track in {track for _, boxes in frames for track in boxes}:
        for zone in zones:
            is_inside, crossed, before, since, seen = False, 0, None, 0.0, -math.inf
            for index, (time, boxes) in enumerate(frames):
                if track not in boxes:
                    if before is not None and time - seen > GONE_SECONDS:
                        if is_inside:
                            events[index, Event("leave", zone.name, track, 0, seconds=seen - since)] += 1
                        if crossed:
                            events[index, Event("cross", zone.name, track, 0, forward=crossed > 0)] += abs(crossed)
                        is_inside, crossed, before = False, 0, None
                    continue
                x0, _, x1, y1 = boxes[track]
                point = ((x0 + x1) / 2 + NUDGE[0], y1 + NUDGE[1])
                margin = MARGIN * math.sqrt((x1 - x0) * (y1 - boxes[track][1]))
                far = distance(zone.points, point, closed=not zone.is_line) > margin
                if zone.is_line:
                    crossed += 0 if before is None else crossings_slowly(zone.points, before, point)
                    if crossed and far:
                        events[index, Event("cross", zone.name, track, 0, forward=crossed > 0)] += abs(crossed)
                        crossed = 0
                else:
                    within = contains_slowly(zone.points, point)
                    if within and not is_inside:
                        events[index, Event("enter", zone.name, track, 0)] += 1
                        is_inside, since = True, time
                    elif is_inside and not within and far:
                        events[index, Event("leave", zone.name, track, 0, seconds=time - since)] += 1
                        is_inside = False
                before, seen = point, time
    return events


borders = st.sampled_from([10, 17, 18, 19, 20, 21, 22, 30, 31, 32, 33, 34, 43, 44, 45, 46, 60])
spots = st.tuples(borders, st.integers(20, 48), st.sampled_from([4, 8, 20]))
clips = st.lists(
    st.tuples(st.sampled_from([0.25, 0.25, 1.0, 4.0]), st.dictionaries(st.integers(1, 3), spots, max_size=3)),
    max_size=14,
)
SCENE = (
    ROOM,
    Zone("wedge", ((40, 16), (64, 48), (24, 48), (40, 40)), size=(64, 48)),
    GATE,
    Zone("hook", ((10, 20), (50, 20), (50, 40), (30, 40), (30, 28)), is_line=True, size=(64, 48)),
)


@given(clips)
def test_events_are_those_of_the_slow_way_and_counts_always_add_up(clip):
    time, frames = 0.0, []
    for pause, objects in clip:
        time += pause
        frames.append((time, {track: at(x, y, side=side) for track, (x, y, side) in objects.items()}))
    counters, events = [ZoneCounter(SCENE, CLASSES) for _ in range(2)], Counter()
    for index, (when, boxes) in enumerate(frames):
        objects = found(*boxes.values(), tracks=list(boxes))
        objects = replace(objects, class_ids=np.zeros(len(boxes), np.int32))
        states, new = counters[0].update(objects, when)
        again, shuffled = counters[1].update(objects[::-1], when)  # the order of objects is no matter
        assert shuffled == new
        assert [(s.inside, s.entered, s.left) for s in again] == [(s.inside, s.entered, s.left) for s in states]
        events.update((index, event) for event in new)
        for state in states:
            present, entered, left = (sum(by.values()) for by in (state.inside, state.entered, state.left))
            assert present == (0 if state.is_line else entered - left)
            assert min((0, *state.inside.values(), *state.entered.values(), *state.left.values())) == 0
            assert present <= 3
    assert events == count_slowly(SCENE, frames)
