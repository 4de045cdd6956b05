from __future__ import annotations

import pytest

from solo_rt.source import lateness
from solo_rt.source.lateness import Lateness


@pytest.fixture
def latest(monkeypatch):
    """Return a function that gives the lateness after packets given as pairs of stream time and seconds waited."""

    def follow(packets, *, work, pause=0.0):
        now = 100.0  # `pause` is what the last work but one takes
        monkeypatch.setattr(lateness.time, "monotonic", lambda: now)
        it, late = Lateness(), 0.0
        for i, (stream_seconds, idle) in enumerate(packets, start=1):
            now += idle + (pause if i == len(packets) else 0.0)
            late = it.of(stream_seconds, idle=idle)
            now += work
        return late

    return follow


def test_decoder_that_is_always_busy_falls_behind(latest):
    assert latest([(i * 0.04, 0.001) for i in range(100)], work=0.059) == pytest.approx(99 * 0.02, abs=0.02)


def test_decoder_that_waits_is_not_behind_whatever_the_stream_says(latest):
    slow_clock = [(i * 0.02, 0.03) for i in range(1000)]
    assert latest(slow_clock, work=0.01) < 0.5
    pause = [(i * 0.04, 3.0 if i == 50 else 0.03) for i in range(200)]
    assert latest(pause, work=0.01) < 0.5


def test_camera_whose_clock_is_a_little_slow_is_never_behind_however_busy_the_decoder(latest):
    half_an_hour = [(i * 0.04, 0.00104) for i in range(45_000)]
    assert latest(half_an_hour, work=0.039) < 0.1


def test_waits_that_are_short_show_that_the_decoder_keeps_up(latest):
    assert latest([(i * 0.02, 0.0035) for i in range(3000)], work=0.017) < 0.1


def test_waits_for_a_server_do_not_hide_that_the_decoder_is_too_slow(latest):
    files_of_a_second = [(i * 0.04, 0.2 if i % 25 == 0 else 0.001) for i in range(500)]
    assert latest(files_of_a_second, work=0.045) > 5


def test_decoder_that_is_one_percent_too_slow_falls_behind(latest):
    assert latest([(i * 0.04, 0.0005) for i in range(20_000)], work=0.0399) > 5


def test_stream_that_begins_again_is_not_behind(latest):
    assert latest([(i % 50 * 0.04, 0.0) for i in range(300)], work=0.039) < 0.1


def test_what_a_network_that_hung_sends_at_once_is_late(latest):
    hung = [(i * 0.04, 0.03) for i in range(50)] + [(2.0, 3.0)] + [(2.0 + i * 0.04, 0.0) for i in range(1, 10)]
    assert latest(hung, work=0.01) == pytest.approx(3.0 - 9 * 0.03, abs=0.1)


def test_one_long_piece_of_work_makes_late_even_after_much_waiting(latest):
    assert latest([(i * 0.04, 0.03) for i in range(40)] + [(1.6, 0.0)], work=0.01, pause=0.9) > 0.8
