from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from clips import times

from solo_rt.errors import UsageError
from solo_rt.source import open_source
from solo_rt.types import UInt8


@dataclass
class Scene:
    rgb: UInt8


class World:
    """Paints its arguments and the index, so that a test can see what arrived."""

    def __init__(
        self, seed: int = 0, *, height: int = 720, width: int = 1280, frame_rate: float = 30.0, objects: int = 8
    ) -> None:
        if objects > 255:
            raise ValueError("world: expected 0..255 objects")
        self.seed, self.height, self.width, self.frame_rate, self.objects = seed, height, width, frame_rate, objects

    def render(self, index: int) -> Scene:
        return Scene(np.full((self.height, self.width, 3), (index, self.seed, self.objects), np.uint8))


@pytest.fixture
def fake_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solo_rt.source.world.World", World)


@pytest.mark.usefixtures("fake_world")
def test_the_address_sets_the_world() -> None:
    with open_source("test://?seed=3&size=64x36&frames=5&fps=30000/1001&objects=6") as source:
        info = source.info
        frames = list(source)
        assert source.damage is None
    assert (info.kind, info.width, info.height, info.frame_count, info.live) == ("world", 64, 36, 5, False)
    assert info.frame_rate == Fraction(30000, 1001)
    assert times(frames) == [Fraction(1001 * i, 30000) for i in range(5)]
    assert [tuple(frame.planes[0][0, 0]) for frame in frames] == [(i, 3, 6) for i in range(5)]
    assert frames[0].planes[0].shape == (36, 64, 3)
    assert not frames[0].planes[0].flags.writeable


@pytest.mark.usefixtures("fake_world")
def test_the_defaults_are_ten_seconds_of_720p() -> None:
    info = open_source("test://").info
    assert (info.width, info.height, info.frame_count, info.frame_rate) == (1280, 720, 300, Fraction(30))


@pytest.mark.usefixtures("fake_world")
@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("?sed=3", "got sed"),
        ("?size=64", "size=WIDTHxHEIGHT"),
        ("?frames=0", "whole number for frames"),
        ("?frames=-1", "whole number for frames"),
        ("?seed=one", "whole number for seed"),
        ("?fps=0", "frame rate"),
        ("?fps=1/0", "frame rate"),
        ("?live=yes", "live=0 or live=1"),
        ("?size=99999x99999", "at most 67108864 pixels, got size=99999x99999"),
        ("?objects=300", "0..255 objects"),
        ("world?seed=1", "got world"),
    ],
)
def test_a_wrong_address_says_what_is_expected(query: str, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_source(f"test://{query}")
    assert word in str(caught.value)


@pytest.mark.usefixtures("fake_world")
def test_a_live_world_is_never_early() -> None:
    with open_source("test://?live=1&fps=200&frames=21&size=8x8") as source:
        assert source.info.live
        frames = list(source)
    start = frames[0].captured_at
    assert all(frame.captured_at - start >= frame.time_s - 1e-3 for frame in frames)


@pytest.mark.usefixtures("fake_world")
def test_closing_a_live_world_ends_the_wait() -> None:
    source = open_source("test://?live=1&fps=1/100&frames=9&size=8x8")
    frames = iter(source)
    next(frames)
    timer = threading.Timer(0.05, source.close)
    timer.start()
    start = time.monotonic()
    assert next(frames, None) is None
    assert time.monotonic() - start < 50
    timer.join()


def test_the_real_world_answers() -> None:
    with open_source("test://?seed=1&size=64x48&frames=2&objects=2") as source:
        first, second = source
    assert first.planes[0].shape == (48, 64, 3)
    assert not np.array_equal(first.planes[0], second.planes[0])
