from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solo_rt.sink.clock import MAX_STEP, OutputClock

MS = Fraction(1, 1000)
RATE = Fraction(25)  # 40 ms a frame


def ticks(pts: list[int], *, time_base: Fraction = MS, source: Fraction = MS) -> list[int]:
    clock = OutputClock(time_base, frame_rate=RATE)
    return [clock.tick(p, source) for p in pts]


@pytest.mark.parametrize(
    "pts", [[0, 40, 80], [1400, 1440], [0, 1, 2, 900, 59_000], [7, 60_007], [60_000, 120_000]], ids=str
)
def test_sound_times_are_kept(pts: list[int]) -> None:
    assert ticks(pts) == pts


@pytest.mark.parametrize(
    ("pts", "expected"),
    [
        ([0, 40, 40, 80, 120], [0, 40, 41, 80, 120]),  # repeated
        ([0, 40, 80, 0, 120], [0, 40, 80, 81, 120]),  # two frames back: a stutter
        ([0, 40, 40, 40, 80], [0, 40, 41, 42, 80]),
        ([1000, 1040, 0, 40, 80], [1000, 1040, 1080, 1120, 1160]),  # restarted
        ([0, 40, 108_000_040, 108_000_080], [0, 40, 80, 120]),  # 30 hours ahead
        ([0, 40, 108_000_000, 108_000_100, 108_000_110], [0, 40, 80, 180, 190]),  # distances behind it are kept
        ([-120, -80, -40, 0], [0, 40, 80, 120]),  # negative start
        ([90_000_000, 90_000_040], [0, 40]),  # started at a wall clock
        ([40, 0, 80], [40, 41, 80]),
    ],
    ids=str,
)
def test_broken_times_are_mended(pts: list[int], expected: list[int]) -> None:
    assert ticks(pts) == expected


def test_times_are_rounded_to_a_coarser_base_and_stay_apart() -> None:
    assert ticks([0, 40, 75, 80, 85, 160], time_base=Fraction(1, 25)) == [0, 1, 2, 3, 4, 5]


def test_times_are_exact_in_any_base() -> None:
    clock = OutputClock(Fraction(1001, 30000), frame_rate=Fraction(30000, 1001))
    assert [clock.tick(i, Fraction(1001, 30000)) for i in range(100)] == list(range(100))


def test_the_last_frame_lasts_as_long_as_the_one_before_but_a_second_at_most() -> None:
    clock = OutputClock(MS, frame_rate=Fraction(10))
    ends = []
    for pts in (0, 300, 320, 5320):
        clock.tick(pts, MS)
        ends.append((1000 * clock.end, 1000 * clock.last_end))
    assert ends == [(100, 100), (400, 600), (420, 420), (5420, 6320)]


ANY = st.lists(st.integers(-(2**62), 2**62) | st.integers(-200, 200), max_size=60)


@given(ANY, st.sampled_from([MS, Fraction(1, 90000), Fraction(1001, 30000), Fraction(1)]))
def test_any_times_become_strictly_increasing_and_never_run_away(pts: list[int], base: Fraction) -> None:
    out = ticks(pts, time_base=base, source=base)
    assert all(later > earlier for earlier, later in pairwise(out))
    if out:
        assert 0 <= out[0] * base <= MAX_STEP
        assert out[-1] * base <= (len(out)) * max(MAX_STEP, base)


@given(st.lists(st.integers(1, 60_000), max_size=40), st.integers(0, 60_000))
def test_increasing_times_are_never_changed(steps: list[int], start: int) -> None:
    pts = [start]
    for step in steps:
        pts.append(pts[-1] + step)
    assert ticks(pts) == pts
