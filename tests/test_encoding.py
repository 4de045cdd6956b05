"""What may be chosen about video: combinations that cannot work are refused before anything is opened."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import info

from solo_rt.errors import UsageError
from solo_rt.sink import VideoOptions, check_video, open_sink
from solo_rt.sink.encoding import BY_CPU


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crf": 52}, r"libx264: expected crf 0\.\.51 and a preset of ultrafast.*; got crf 52, preset superfast"),
        ({"crf": -1}, "got crf -1, preset superfast"),
        ({"preset": "quick"}, "got crf 24, preset quick"),
        ({"codec": "h265", "crf": 52}, r"libx265: expected crf 0\.\.51 .*; got crf 52, preset ultrafast"),
        ({"codec": "av1", "crf": 0}, r"libsvtav1: expected crf 1\.\.63 and a preset of 13, 12, .*, 0; got crf 0"),
        ({"codec": "av1", "preset": "fast"}, "got crf 35, preset fast"),
        ({"codec": "vp9"}, "unknown codec 'vp9'; expected h264, h265, av1"),
        ({"codec": "av1", "encoder": "nvenc"}, "encoder nvenc: expected the codec h264, got av1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        VideoOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"codec": "h265"}, "codec h265"), ({"crf": 20}, "crf 20"), ({"preset": "fast"}, "preset fast")],
)
def test_settings_need_an_output_that_they_are_about(settings: dict, name: str) -> None:
    video = VideoOptions(**settings)
    for outputs, got in (([], "none"), (["a.avi", "b.jsonl"], "a.avi b.jsonl")):
        with pytest.raises(UsageError, match=f"{name}: expected .*mp4.* or .mkv as output, got {got}; leave --"):
            check_video(video, outputs, gpu=0)
    check_video(video, ["a.jsonl", "b.MKV"], gpu=0)
    check_video(VideoOptions(), [], gpu=0)


@pytest.mark.parametrize("name", ["a.avi", "a.mov"])
def test_a_codec_that_the_container_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"expected \.mp4 or \.mkv with av1"):
        open_sink(str(tmp_path / name), info=info(), video=VideoOptions("av1"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", BY_CPU)
def test_ffmpeg_knows_the_best_and_the_worst_of_every_setting(codec) -> None:
    encoder = BY_CPU[codec]
    for crf, preset in ((encoder.best_crf, encoder.presets[0]), (encoder.worst_crf, encoder.presets[-1])):
        context = av.CodecContext.create(encoder.name, "w")
        context.width, context.height, context.pix_fmt, context.framerate = 64, 64, "yuv420p", Fraction(30)
        context.time_base, context.options = Fraction(1, 30), VideoOptions(codec, crf=crf, preset=preset).private(0)
        context.open()
