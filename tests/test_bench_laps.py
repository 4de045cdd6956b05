"""Laps: how many are taken, what becomes of those that fail, and the figures that are left."""

from __future__ import annotations

import math
import threading

import pytest

from solo_rt.bench.laps import Lap, Pace, is_stable, student, summarise, take_laps
from solo_rt.errors import EngineError

PACE = Pace(seconds=1.0, least=3, most=6)


def rates(*values):
    """Return a runner whose laps have these rates, the last one for ever."""
    left = list(values)
    return lambda seconds: Lap(round(1000 * (left.pop(0) if len(left) > 1 else left[0])), 1000.0)


def test_laps_take_turns_and_end_when_all_are_stable():
    order = []
    runners = {"a": rates(10, 10, 10), "b": rates(20, 30, 25, 25, 25)}
    laps, failed = take_laps(runners, PACE, threading.Event(), lambda name, number: order.append((name, number)))
    assert failed == {}
    assert order == [(name, number) for number in range(1, 5) for name in "ab"]
    assert [lap.fps for lap in laps["b"]] == [20, 30, 25, 25]


def test_what_never_gets_stable_ends_at_the_limit():
    laps, _ = take_laps({"a": rates(10, 20, 40, 80, 160, 320, 640)}, PACE, threading.Event())
    assert len(laps["a"]) == PACE.most


def test_one_that_fails_leaves_the_others_and_keeps_its_laps():
    calls = []

    def breaks(seconds):
        calls.append(seconds)
        if len(calls) == 2:
            raise EngineError("no\nmemory")
        return Lap(1, 1.0)

    laps, failed = take_laps({"bad": breaks, "good": rates(5)}, PACE, threading.Event())
    assert failed == {"bad": "no memory"}
    assert (len(laps["bad"]), len(laps["good"]), len(calls)) == (1, 3, 2)


def test_a_lap_that_is_cut_off_does_not_count():
    stop = threading.Event()
    taken = []

    def interrupted(seconds):
        taken.append(seconds)
        if len(taken) == 2:
            stop.set()
            raise EngineError("the engine is closed")
        return Lap(1, 1.0)

    laps, failed = take_laps({"a": rates(5), "b": interrupted}, PACE, stop)
    assert failed == {}
    assert {name: len(of) for name, of in laps.items()} == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], False), ([10, 10], False), ([10, 10, 10], True), ([10, 11, 10], False), ([9, 11, 10, 10, 10], True)],
)
def test_a_mean_is_stable_once_its_last_values_agree(values, expected):
    assert is_stable(values) is expected


def test_figures_hold_every_lap_and_every_frame():
    laps = [
        Lap(2, 1.0, [0.4, 0.6], objects=6, peak_bytes=5_000_000, joules=8.0),
        Lap(4, 1.0, [0.1, 0.1, 0.1, 0.7], objects=9, peak_bytes=3_000_000, joules=4.0),
        Lap(3, 1.0, [0.3, 0.3, 0.4], objects=3, peak_bytes=4_000_000, joules=6.0),
    ]
    found = summarise(laps)
    assert (found["fps"], found["laps"], found["sd"], found["frames"]) == (3.0, [2.0, 4.0, 3.0], 1.0, 9)
    assert found["interval"] == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert found["ms"]["max"] == 700.0
    assert found["ms"]["p50"] == pytest.approx(300, rel=0.006)
    assert found["ms"]["mean"] == pytest.approx(3000 / 9, rel=1e-3)
    assert (found["objects_per_frame"], found["peak_rss_mb"], found["joules_per_frame"]) == (2.0, 5.0, 2.0)
    assert "lost" not in found


def test_one_lap_has_no_interval_and_what_was_not_counted_is_absent():
    found = summarise([Lap(9, 3.0)])
    assert found == {"fps": 3.0, "laps": [3.0], "frames": 9, "seconds": 3.0, "stable": False}
    assert summarise([Lap(1, 1.0, joules=2.0), Lap(1, 1.0)]).keys().isdisjoint({"joules_per_frame"})


def test_what_a_live_source_lost_is_a_share_of_what_was_due():
    assert summarise([Lap(90, 3.0, due=100), Lap(100, 3.0, due=100)])["lost"] == 0.05


def test_quantiles_are_those_of_the_tables():
    assert [student(1), student(2.9), student(10), student(1000)] == [12.706, 4.303, 2.228, 2.042]
    assert student(0.5) == math.inf
