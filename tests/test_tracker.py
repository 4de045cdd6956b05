"""Objects keep their ids, whatever a detector and a source do."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from found import found
from hypothesis import given, settings
from hypothesis import strategies as st

from solo_rt.track import Tracker
from solo_rt.track import tracker as tracker_module
from solo_rt.types import Instances

SIZE = (120, 200)
PERIOD = 1 / 25


def seen(*boxes, scores=None, classes=None, size=SIZE):
    """Return rectangles of class 0 that were found for certain, the first one best, unless said otherwise."""
    n = len(boxes)
    return replace(
        found(*boxes, size=size),
        scores=np.linspace(0.9, 0.8, n, dtype=np.float32) if scores is None else np.array(scores, np.float32),
        class_ids=np.zeros(n, np.int32) if classes is None else np.array(classes, np.int32),
    )


def box(x, y, side=20):
    return (int(x), int(y), int(x) + side, int(y) + side)


def ids(tracked):
    return tracked.track_ids.tolist()


def follow(frames, period=PERIOD, **settings):
    """Return the ids in every frame."""
    tracker = Tracker(**settings)
    return [ids(tracker.follow(frame, i * period)[0]) for i, frame in enumerate(frames)]


def test_ids_begin_with_1_in_the_order_of_the_scores():
    frame = seen(box(10, 10), box(60, 10), box(110, 10), scores=[0.6, 0.9, 0.8])
    assert follow([frame]) == [[3, 1, 2]]


def test_a_moving_object_keeps_its_id():
    assert follow([seen(box(4 * i, 2 * i)) for i in range(40)]) == [[1]] * 40


def test_an_object_faster_than_its_own_size_keeps_its_id_once_its_speed_is_known():
    places = np.cumsum([0, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 24])
    assert follow([seen(box(x, 20), size=(120, 300)) for x in places]) == [[1]] * len(places)


def test_objects_that_pass_each_other_keep_their_ids():
    frames = [seen(box(10 + 5 * i, 40), box(170 - 5 * i, 52)) for i in range(30)]
    assert follow(frames) == [[1, 2]] * 30


def test_an_object_keeps_its_id_behind_another_one_for_as_long_as_a_second():
    def at(i):
        return seen(box(10 + 3 * i, 40))

    hidden = [seen()] * 24
    assert follow([*map(at, range(10)), *hidden, at(34)])[-1] == [1]
    hidden = [seen()] * 27
    assert follow([*map(at, range(10)), *hidden, at(37)])[-1] == [2]


def test_an_object_that_scores_low_is_shown_from_its_second_frame_on():
    once, always = box(10, 10), box(100, 60)
    frames = [seen(once, always, scores=[0.3, 0.3])] + [seen(always, scores=[0.3])] * 2
    assert follow(frames) == [[], [1], [1]]


def test_an_object_goes_on_below_the_lowest_score_but_does_not_begin_there():
    frames = [seen(box(10, 10), scores=[0.9]), seen(box(10, 10), box(100, 60), scores=[0.15, 0.2])]
    assert follow([*frames, frames[1]]) == [[1], [1], [1]]


def test_a_low_score_does_not_revive_what_was_hidden():
    frames = [seen(box(10, 10)), seen(), seen(box(10, 10), scores=[0.2])]
    assert follow(frames) == [[1], [], []]


def test_conf_is_the_score_that_an_object_begins_with():
    frames = [seen(box(10, 10), scores=[0.6])] * 3
    assert follow(frames, conf=0.7) == [[], [], []]
    assert follow(frames, conf=0.6) == [[1], [1], [1]]


def test_objects_of_two_classes_are_not_taken_for_each_other():
    """One goes where the other comes from: nearer is the one of the other class."""
    before = seen(box(40, 40), box(52, 40), classes=[0, 1])
    after = seen(box(50, 40), box(42, 40), classes=[0, 1])
    assert follow([before, after]) == [[1, 2], [1, 2]]


def test_an_object_that_is_taken_for_another_class_now_and_then_keeps_its_id_and_its_class():
    tracker = Tracker()
    for i in range(20):
        tracked, _ = tracker.follow(seen(box(10 + i, 10), classes=[1 if i % 5 == 4 else 0]), i * PERIOD)
        assert (ids(tracked), tracked.class_ids.tolist()) == ([1], [0])


def test_an_object_changes_its_class_when_most_of_it_speaks_for_another():
    tracker = Tracker()
    classes = [tracker.follow(seen(box(10, 10), classes=[int(i > 2)]), i)[0].class_ids[0] for i in range(10)]
    assert classes == [0] * 6 + [1] * 4


@pytest.mark.parametrize("classes", [(0, 0), (0, 1)])
def test_duplicates_are_left_out(classes):
    frames = [seen(box(10, 10), box(12, 10), scores=[0.6, 0.8], classes=classes)] * 3
    assert follow(frames) == [[1]] * 3
    tracked, _ = Tracker().follow(frames[0], 0.0)
    assert tracked.scores.tolist() == [np.float32(0.8)]


def test_what_is_shown_stays_in_its_order_with_its_masks():
    frame = seen(box(60, 10, 30), box(10, 10), box(110, 10), scores=[0.5, 0.9, 0.9])
    tracked, _ = Tracker().follow(frame, 0.0)
    np.testing.assert_array_equal(tracked.boxes, frame.boxes)
    assert all((tracked.dense(i) == frame.dense(i)).all() for i in range(3))
    assert tracked.track_ids.dtype == np.int32


def test_empty_frames_have_no_tracks_and_end_none():
    tracker = Tracker()
    assert len(tracker.follow(Instances.none(SIZE), 0.0)[0]) == 0
    assert ids(tracker.follow(seen(box(10, 10)), PERIOD)[0]) == [1]
    tracked, trails = tracker.follow(Instances.none(SIZE), 2 * PERIOD)
    assert (ids(tracked), trails) == ([], ())
    assert ids(tracker.follow(seen(box(10, 10)), 3 * PERIOD)[0]) == [1]


def test_a_hundred_objects_keep_their_ids():
    def frame(i):
        return seen(*(box(14 * x + i, 11 * y, 9) for x in range(10) for y in range(10)))

    assert all(sorted(shown) == list(range(1, 101)) for shown in follow(map(frame, range(30))))


def test_missing_frames_do_no_harm():
    times = np.arange(100)[np.random.default_rng(0).random(100) < 0.4]
    tracker = Tracker()
    assert [ids(tracker.follow(seen(box(10 + 1.5 * t, 30)), t * PERIOD)[0]) for t in times] == [[1]] * len(times)


@pytest.mark.parametrize("jump", [-5.0, 60.0])
def test_where_time_jumps_what_stands_stays_and_what_moved_is_looked_for_where_it_was(jump):
    tracker = Tracker()
    for i in range(10):
        tracker.follow(seen(box(10, 80), box(10 + 10 * i, 10)), i * PERIOD)
    now = 9 * PERIOD + jump
    tracked, trails = tracker.follow(seen(box(10, 80), box(100, 10)), now)
    assert ids(tracked) == [1, 2]
    assert [len(trail) for trail in trails] == [1, 1]
    assert ids(tracker.follow(seen(box(10, 80), box(100, 60)), now + PERIOD)[0]) == [1, 3]


def test_a_time_that_comes_twice_does_no_harm():
    tracker, now = Tracker(), 0.0
    for i in range(20):
        now += 0.0 if i in (10, 11) else PERIOD
        tracked, trails = tracker.follow(seen() if i == 11 else seen(box(4 * i, 10)), now)
        assert ids(tracked) == ([] if i == 11 else [1])
    assert len(trails[0]) == 19


@pytest.mark.parametrize(("lacking", "expected"), [(24, 1), (26, 2)])
def test_what_is_hidden_while_time_stands_still_is_gone_after_as_many_frames_as_a_second_has(lacking, expected):
    frames = [seen(box(10, 10)), *[seen()] * lacking, seen(box(10, 10))]
    assert follow(frames, period=0.0) == [[1], *[[]] * lacking, [expected]]


def test_frames_of_another_size_begin_anew():
    frames = [seen(box(10, 10)), seen(box(10, 10), size=(77, 131)), seen(box(11, 10), size=(77, 131))]
    assert follow(frames) == [[1], [2], [2]]


def test_objects_that_jump_about_get_new_ids_and_cost_neither_memory_nor_time():
    rng = np.random.default_rng(1)
    tracker = Tracker()
    last = 0
    for i in range(200):
        tracked, trails = tracker.follow(seen(*(box(x, y, 5) for x, y in rng.integers(0, 110, (20, 2)))), i * 1e-3)
        assert len(set(ids(tracked))) == len(tracked) == len(trails)
        last = max(last, *ids(tracked))
    assert last > 200
    assert len(tracker._tracks) <= 20 + tracker_module._MOST_LOST


def test_boxes_without_an_area_are_no_trouble():
    frame = replace(seen(box(10, 10), box(60, 10)), boxes=np.array([(10, 10, 10, 30), (60, 10, 60, 10)], np.float32))
    assert follow([frame] * 3, period=1e-9) == [[1, 2]] * 3


def test_a_trail_is_where_the_foot_was_in_the_last_two_seconds():
    tracker = Tracker()
    for i in range(80):
        _, (trail,) = tracker.follow(seen(box(10 + i, 40)), i * 0.03)
    assert trail.dtype == np.float32
    np.testing.assert_allclose(trail, [(20 + i, 60) for i in range(13, 80)])


def test_a_trail_is_bounded_at_any_frame_rate():
    tracker = Tracker()
    for i in range(600):
        _, (trail,) = tracker.follow(seen(box(10, 40)), i * 1e-3)
    assert len(trail) == 256


def test_a_trail_that_was_handed_out_does_not_change():
    tracker = Tracker()
    _, (first,) = tracker.follow(seen(box(10, 40)), 0.0)
    tracker.follow(seen(box(12, 40)), PERIOD)
    np.testing.assert_array_equal(first, [(20, 60)])


detections = st.tuples(
    st.integers(0, 180), st.integers(0, 100), st.integers(1, 20), st.integers(1, 20), st.sampled_from([0.12, 0.3, 0.7]),
    st.integers(0, 1),
)  # fmt: skip
clips = st.lists(st.tuples(st.lists(detections, max_size=8), st.floats(-0.1, 2.0)), max_size=12)


def frame_of(objects):
    return seen(
        *((x, y, x + w, y + h) for x, y, w, h, _, _ in objects),
        scores=[score for *_, score, _ in objects],
        classes=[class_id for *_, class_id in objects],
    )


@settings(deadline=None, max_examples=60)
@given(clips, st.randoms(use_true_random=False))
def test_ids_are_unique_never_reused_and_independent_of_the_order_of_the_instances(clip, random):
    trackers, now, highest, alive = [Tracker(), Tracker(), Tracker()], 0.0, 0, set()
    for objects, step in clip:
        now += step
        shuffled = random.sample(objects, len(objects))
        results = [t.follow(frame_of(o), now)[0] for t, o in zip(trackers, [objects, objects, shuffled], strict=True)]
        shown = [
            sorted(zip(ids(r), r.boxes.tolist(), r.scores.tolist(), r.class_ids.tolist(), strict=True)) for r in results
        ]
        assert shown[0] == shown[1] == shown[2]
        found_ids = set(ids(results[0]))
        assert len(found_ids) == len(results[0])
        new = sorted(found_ids - alive)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest, alive = highest + len(new), alive | found_ids
        assert np.isfinite(trackers[0]._motion.boxes).all()


def test_it_takes_less_than_three_milliseconds_at_twenty_objects():
    frames = [seen(*(box(20 * x + i % 5, 25 * y, 15) for x in range(5) for y in range(4))) for i in range(50)]
    tracker, best = Tracker(), np.inf
    for i, frame in enumerate(frames):
        started = time.perf_counter()
        tracker.follow(frame, i * PERIOD)
        best = min(best, time.perf_counter() - started)
    assert best < 3e-3
