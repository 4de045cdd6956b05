"""What may be chosen about video: combinations that cannot work are refused before anything is opened."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from clips import info, result_of, yuv_frame

from solo_rt.errors import UsageError
from solo_rt.sink import VideoOptions, check_video, encoding, open_sink
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


def test_only_x264_gets_threads_by_the_size_of_pictures(monkeypatch) -> None:
    monkeypatch.setattr(encoding, "codec_threads", lambda width, height: width // height)
    assert VideoOptions().threads_for(700, 100) == 7
    assert VideoOptions(threads=3).threads_for(700, 100) == 3
    assert VideoOptions("av1").threads_for(700, 100) == VideoOptions(encoder="nvenc").threads_for(700, 100) == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_has_a_slice_for_each_thread(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "a.mkv"
    with open_sink(str(path), info=info(size=(320, 256)), video=VideoOptions(threads=threads)) as sink:
        sink.write(result_of(yuv_frame(0, size=(320, 256))))
    with av.open(str(path)) as container:
        packet = bytes(next(container.demux(video=0)))
    kinds = []
    while packet:
        length = int.from_bytes(packet[:4], "big")
        kinds.append(packet[4] & 31)
        packet = packet[4 + length :]
    assert kinds.count(5) == threads  # slices of a key frame
