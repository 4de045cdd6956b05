"""A video in ranges: together they give what the whole gives."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from clips import H264, write_clip

from solo_rt.source.base import MAX_PIXELS
from solo_rt.source.ranges import WHOLE, Range, cut
from solo_rt.source.video import VideoSource

OPEN = {"preset": "ultrafast", "g": "10", "bf": "3", "x264-params": "open-gop=1:b-pyramid=none:scenecut=0", "qp": "30"}


def frames(path, part=WHOLE, lead_seconds=0.0):
    with VideoSource(str(path), max_pixels=MAX_PIXELS, threads=1, part=part, lead_seconds=lead_seconds) as source:
        return list(source), source.lead, source.damage


def same(one, other):
    return one.pts == other.pts and all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    "settings",
    [
        {"codec": "libx264", "options": H264},
        {"codec": "libx264", "options": OPEN},
        {"codec": "libx264", "options": {**H264, "flags": "+ilme+ildct"}, "scan": ("tff",)},
        {"codec": "mpeg4", "options": {"g": "7"}},
    ],
)
def test_ranges_give_the_frames_of_the_whole(tmp_path, suffix, settings):
    path = tmp_path / f"clip{suffix}"
    write_clip(path, count=180, **settings)
    whole, lead, damage = frames(path)
    ranges = cut(str(path), 1.0)
    assert len(ranges) >= 4
    assert (lead, damage) == (0, None)
    given = [frames(path, one) for one in ranges]
    assert [(lead, damage) for _, lead, damage in given] == [(0, None)] * len(ranges)
    assert [frame.index for frame in given[1][0]] == list(range(len(given[1][0])))
    together = [frame for part, _, _ in given for frame in part]
    assert len(together) == len(whole) == 180
    assert all(map(same, together, whole))


def test_a_lead_is_given_before_the_range_and_counted(tmp_path):
    path = tmp_path / "clip.mkv"
    write_clip(path, count=90, codec="libx264", options=H264)
    whole, _, _ = frames(path)
    first, last = cut(str(path), 1.5)
    assert last == Range(first.stop, None)
    given, lead, _ = frames(path, last, lead_seconds=0.5)
    border = next(frame for frame in whole if frame.pts == last.start)
    assert lead == 15
    assert [frame.pts for frame in given] == [frame.pts for frame in whole[border.index - 15 :]]
    assert frames(path, first, lead_seconds=0.5)[1] == 0


def test_ranges_begin_with_key_frames_near_where_they_were_wanted(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, count=300, codec="libx264", options={**H264, "g": "25", "sc_threshold": "0"})
    ranges = cut(str(path), 2.0)
    with VideoSource(str(path), max_pixels=MAX_PIXELS, threads=1) as source:
        times = [one.start * source.info.time_base for one in ranges[1:]]
    assert times == [Fraction(frame, 30) for frame in (50, 100, 175, 225)]


@pytest.mark.parametrize("suffix", [".avi", ".ts"])
def test_what_has_no_index_of_key_frames_stays_whole(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    write_clip(path, count=90, codec="mpeg4", options={"g": "5"})
    assert cut(str(path), 1.0) == [WHOLE]


def test_what_is_short_or_has_one_key_frame_or_is_no_video_stays_whole(tmp_path):
    write_clip(tmp_path / "short.mkv", count=40, codec="libx264", options=H264)
    write_clip(tmp_path / "one.mkv", count=200, codec="libx264", options={**H264, "g": "1000", "sc_threshold": "0"})
    (tmp_path / "none.mkv").write_bytes(b"none")
    assert cut(str(tmp_path / "short.mkv"), 1.0) == [WHOLE]
    assert cut(str(tmp_path / "one.mkv"), 1.0) == [WHOLE]
    assert cut(str(tmp_path / "none.mkv"), 1.0) == [WHOLE]
    assert cut(str(tmp_path / "nowhere.mkv"), 1.0) == [WHOLE]


def test_an_end_that_is_missing_is_damage_of_the_last_range_alone(tmp_path):
    path = tmp_path / "clip.mkv"
    write_clip(path, count=120, codec="libx264", options=H264)
    ranges = cut(str(path), 1.0)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 10])
    damages = [frames(path, one)[2] for one in ranges]
    assert damages[0] is None
    assert "ends at" in damages[-1]


def test_a_hole_between_two_ranges_is_damage_of_the_one_before_it(tmp_path):
    path = tmp_path / "clip.mkv"
    write_clip(path, count=120, codec="ffv1", options={"g": "1"})
    with av.open(str(path)) as container:
        at = {packet.pts: packet.pos for packet in container.demux(video=0) if packet.size}
    border = cut(str(path), 2.0)[0].stop
    first, last = (at[pts] for pts in (sorted(at)[sorted(at).index(border) - 10], border))
    content = path.read_bytes()
    path.write_bytes(content[:first] + bytes(last - first) + content[last:])
    given = [frames(path, one) for one in cut(str(path), 2.0)]
    whole, _, damage = frames(path)
    assert [frame.pts for found, _, _ in given for frame in found] == [frame.pts for frame in whole]
    assert [damage for _, _, damage in given] == [damage, None]
    assert "1 gap of " in damage
