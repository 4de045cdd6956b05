from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solo_rt.source.stream_clock import MOST_AHEAD, StreamClock
from solo_rt.types import Frame

PICTURE = np.zeros((1, 1, 3), np.uint8)


def frame(pts, at, *, time_base=Fraction(1, 10)):
    return Frame((PICTURE,), "rgb24", index=0, pts=pts, time_base=time_base, captured_at=at)


def place(clock, stamps, **options):
    """Return the times, in seconds, of frames given as pairs of stream time in ticks and clock in seconds."""
    return [clock.place(frame(pts, at, **options)).time_s for pts, at in stamps]


def test_times_of_a_stream_are_kept_whatever_they_begin_with():
    for start in (0, -30, 10**9):
        stamps = [(start + i, 100 + i / 10 + (i % 3) / 20) for i in range(50)]
        assert place(StreamClock(), stamps) == [pts / 10 for pts, _ in stamps]


def test_frames_are_numbered_over_all_connections():
    clock = StreamClock()
    indices = [clock.place(frame(i, i / 10)).index for i in range(3)]
    clock.reconnect()
    assert [*indices, clock.place(frame(0, 5)).index] == [0, 1, 2, 3]


def test_outage_is_as_long_as_it_was_by_the_clock():
    clock = StreamClock()
    place(clock, [(0, 0), (1, 0.1)])
    clock.reconnect()
    assert place(clock, [(7000, 4.1), (7010, 5.1)]) == [4.1, 5.1]
    clock.reconnect()
    assert place(clock, [(0, 8.1), (90000, 9.1)], time_base=Fraction(1, 90000)) == [8.1, 9.1]


def test_connection_without_a_picture_changes_nothing():
    clock = StreamClock()
    clock.reconnect()
    assert place(clock, [(50, 9), (51, 9.1)]) == [5, 5.1]


def test_what_the_server_had_kept_does_not_run_ahead_of_the_clock():
    clock, fine = StreamClock(), Fraction(1, 1000)
    place(clock, [(0, 0)])
    clock.reconnect()
    at_once = place(clock, [(100 * i, 2) for i in range(6)], time_base=fine)
    assert at_once == [2, 2.001, 2.002, 2.003, 2.004, 2.005]
    assert place(clock, [(600, 2.1), (700, 2.2)], time_base=fine) == [2.104, 2.204]


def test_clock_that_was_set_is_followed_from_there():
    for jump in (-20, -36000, 36000, 10 * MOST_AHEAD + 20):
        clock = StreamClock()
        before = place(clock, [(i, i / 10) for i in range(100)])
        after = place(clock, [(int(i + jump), i / 10) for i in range(100, 200)])
        assert before + after == [i / 10 for i in range(200)]


def test_pause_of_a_stream_is_kept():
    assert place(StreamClock(), [(0, 0), (1, 0.1), (91, 9.1), (92, 9.2)]) == [0, 0.1, 9.1, 9.2]


def test_frame_that_stutters_is_moved_alone():
    stamps = [(1000, 0), (1033, 0.03), (1020, 0.06), (1099, 0.1), (1132, 0.13)]
    assert place(StreamClock(), stamps, time_base=Fraction(1, 1000)) == [1, 1.033, 1.034, 1.099, 1.132]


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.floats(0, 3), st.booleans()), max_size=30))
def test_times_strictly_increase_whatever_comes(stream):
    clock, at, times = StreamClock(), 0.0, []
    for pts, seconds, is_new in stream:
        at += seconds
        if is_new:
            clock.reconnect()
        placed = clock.place(frame(pts, at, time_base=Fraction(1, 90000 if is_new else 1000)))
        times.append(placed.pts * placed.time_base)
    assert all(a < b for a, b in pairwise(times))
