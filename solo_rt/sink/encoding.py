"""How annotated video is encoded: what a user may choose, and FFmpeg's encoders, told to keep no frame back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from solo_rt import defaults
from solo_rt.cpu import codec_threads
from solo_rt.errors import EngineError, UsageError
from solo_rt.gpu.nvcodec import ENCODERS, VideoEncoder, require_gpu, try_nvenc
from solo_rt.sink.canvas import even
from solo_rt.sink.segments import pattern
from solo_rt.source.base import SourceInfo
from solo_rt.uri import redact, scheme

VideoCodec = Literal["h264", "h265", "av1"]
Audio = Literal["copy", "none"]
CODECS: tuple[VideoCodec, ...] = ("h264", "h265", "av1")
AUDIO: tuple[Audio, ...] = ("copy", "none")
CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
PUSHED = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}  # FFmpeg's format by the address's scheme
ENCODED = (".mp4", ".mov", ".mkv")  # AVI holds Motion JPEG
HOLDERS: dict[VideoCodec, tuple[str, ...]] = {"h264": ENCODED, "h265": ENCODED, "av1": (".mp4", ".mkv")}
X26_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
JPEG_LONGEST_SIDE = 65500  # pixels; tried

os.environ.setdefault("SVT_LOG", "0")  # SVT-AV1 writes to stderr itself; what is fatal FFmpeg says as well


@dataclass(frozen=True, slots=True)
class Encoder:
    """One of FFmpeg's encoders."""

    name: str
    presets: tuple[str, ...]  # fastest first
    preset: str  # where none is asked for
    crf: int  # the same
    best_crf: int
    worst_crf: int
    longest_side: int = 16384  # pixels; tried


BY_CPU: dict[VideoCodec, Encoder] = {
    # Of 720p with eight objects: 9.3 ms, 4.0 Mbit/s, 41.9 dB; veryfast with crf 23: 14.6 ms, 3.5 Mbit/s, 41.6 dB.
    "h264": Encoder("libx264", X26_PRESETS, "superfast", defaults.CRF["h264"], 0, 51),
    "h265": Encoder("libx265", X26_PRESETS, "ultrafast", defaults.CRF["h265"], 0, 51),
    "av1": Encoder("libsvtav1", tuple(map(str, range(13, -1, -1))), "10", defaults.CRF["av1"], 1, 63),
}
NVENC = Encoder("h264_nvenc", tuple(f"p{i}" for i in range(1, 8)), "p4", defaults.CRF["h264"], 1, 51)  # 0: its choice


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What a user may choose about annotated video. Raises: UsageError for what no encoder of ours can do."""

    codec: VideoCodec = "h264"
    encoder: VideoEncoder = "x264"  # what makes H.264; the others are made by the CPU
    crf: int | None = None  # constant quality on the encoder's own scale, 0 or 1 best; None: its default
    preset: str | None = None  # of the encoder: how much time it takes for how few bytes; None: its default
    threads: int = 0  # of the encoder of .mp4, .mov and .mkv; 0: see `threads_for`
    audio: Audio = "copy"  # what becomes of the source's sound
    segment: Fraction | None = None  # seconds of video in a file; None: one file

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise UsageError(f"unknown encoder {self.encoder!r}; expected {' or '.join(ENCODERS)}")
        if self.codec not in CODECS:
            raise UsageError(f"unknown codec {self.codec!r}; expected {', '.join(CODECS)}")
        if self.segment is not None and self.segment <= 0:
            raise UsageError(f"segment {self.segment}: expected a number of seconds above 0")
        if self.audio not in AUDIO:
            raise UsageError(f"unknown audio {self.audio!r}; expected {' or '.join(AUDIO)}")
        if self.encoder == "nvenc" and self.codec != "h264":
            raise UsageError(f"encoder nvenc: expected the codec h264, got {self.codec}; leave one of the two out")
        by = self.by
        if not by.best_crf <= self.used_crf <= by.worst_crf or self.used_preset not in by.presets:
            raise UsageError(
                f"{by.name}: expected crf {by.best_crf}..{by.worst_crf} and a preset of {', '.join(by.presets)}; "
                f"got crf {self.used_crf}, preset {self.used_preset}"
            )

    def shown(self, uri: str) -> str:
        """Return an output as people are told about it: all files that it becomes."""
        is_cut = self.segment is not None and _suffix(uri) in CONTAINERS
        return pattern(uri) if is_cut else redact(uri)

    @property
    def by(self) -> Encoder:
        """The encoder that is meant."""
        return NVENC if self.encoder == "nvenc" else BY_CPU[self.codec]

    @property
    def used_crf(self) -> int:
        return self.by.crf if self.crf is None else self.crf

    @property
    def used_preset(self) -> str:
        return self.preset or self.by.preset

    def threads_for(self, width: int, height: int) -> int:
        """Return how many threads encode pictures of this size; 0 is the encoder's choice. Of x264 each has a slice."""
        if self.threads or self.by is not BY_CPU["h264"]:
            return self.threads
        return codec_threads(width, height)

    def private(self, gpu: int) -> dict[str, str]:
        """Return the encoder's own options: no look-ahead, no B-frames, so that a frame leaves it as it comes in."""
        crf, preset = str(self.used_crf), self.used_preset
        if self.by is NVENC:
            return {
                "gpu": str(gpu),
                "preset": preset,
                "tune": "ll",
                "profile": "high",  # x264's, where NVENC's own choice is main
                "rc": "vbr",
                "cq": crf,  # with it FFmpeg drops any bit rate
                "bf": "0",
                "rc-lookahead": "0",
                "delay": "0",  # else FFmpeg keeps frames back to have the encoder and the program work side by side
                "zerolatency": "1",
            }
        if self.codec == "av1":
            return {"preset": preset, "crf": crf, "svtav1-params": "pred-struct=1:rtc=1"}  # of low delay
        # Key frames come where we want them: superfast takes noise for cuts, frame after frame.
        # FFmpeg sets as many of x265's frame threads as it has been given threads, and each would keep a frame.
        is_h265 = self.codec == "h265"
        own = {"x265-params": "frame-threads=1:log-level=none"} if is_h265 else {"x264-params": "scenecut=0"}
        return {"preset": preset, "tune": "zerolatency", "crf": crf, **own}


def _suffix(uri: str) -> str:
    """Return what an output's file name ends in; nothing for one that is no file."""
    return "" if scheme(uri) else Path(uri).suffix.lower()


def wants_sound(video: VideoOptions, outputs: Sequence[str]) -> bool:
    """Return whether the sound of the source has a use."""
    return video.audio == "copy" and any(_suffix(uri) in CONTAINERS for uri in outputs)


def check_video(video: VideoOptions, outputs: Sequence[str], *, gpu: int | None) -> None:
    """Return if there is an output for what was chosen, and a GPU where that needs one; None is one of elsewhere.

    Raises: UsageError, EngineError.
    """
    chosen = {
        "encoder": video.encoder if video.encoder != "x264" else None,
        "codec": video.codec if video.codec != "h264" else None,
        "crf": video.crf,
        "preset": video.preset,
    }
    if not any(_suffix(uri) in CONTAINERS for uri in outputs):
        for name, is_chosen in (("audio", video.audio == "none"), ("segment", video.segment is not None)):
            if is_chosen:
                raise UsageError(f"{name}: expected a video as output, got none; leave --{name} out")
    is_pushed = video == replace(video, codec="h264", encoder="x264") and any(scheme(uri) in PUSHED for uri in outputs)
    if not is_pushed and not any(_suffix(uri) in HOLDERS[video.codec] for uri in outputs):
        for name, value in chosen.items():
            if value is not None:
                got = " ".join(map(redact, outputs)) or "none"
                raise UsageError(f"{name} {value}: expected {_holders(video)} as output, got {got}; leave --{name} out")
    if video.encoder == "nvenc" and gpu is not None:
        require_gpu("nvenc", gpu)


def _holders(video: VideoOptions) -> str:
    *most, last = HOLDERS[video.codec]
    return f"{', '.join(most)} or {last}"


def require_fit(uri: str, info: SourceInfo, video: VideoOptions, *, suffix: str, rate: Fraction, gpu: int = 0) -> None:
    """Return if the output can hold the source's pictures, encoded as chosen. Raises: UsageError, EngineError.

    `suffix` is that of the container, of MP4 for what is sent.
    """
    is_jpeg = suffix not in ENCODED
    if suffix not in HOLDERS[video.codec] and (video.by is NVENC or video.codec != "h264"):
        chosen = "nvenc" if video.by is NVENC else video.codec
        raise UsageError(f"output {uri}: expected {_holders(video)} with {chosen}")
    if video.codec == "av1" and suffix == ".mkv" and info.pixel_aspect != 1:  # PyAV cannot tell FFmpeg's muxer
        raise UsageError(f"output {uri}: expected square pixels with av1, got {info.pixel_aspect}:1; use .mp4")
    name, longest = ("mjpeg", JPEG_LONGEST_SIDE) if is_jpeg else (video.by.name, video.by.longest_side)
    if max(info.width, info.height) > longest and video.by is not NVENC:
        raise UsageError(
            f"output {uri}: expected at most {longest} pixels a side with {name}, got "
            f"{info.width}x{info.height}; write pictures (folder/) instead"
        )
    width, height, options = even(info.width), even(info.height), video.private(gpu)
    if video.by is NVENC:
        require_gpu("nvenc", gpu)
        try:
            try_nvenc(width, height, rate=rate, options=options)
        except EngineError as error:
            raise EngineError(f"output {uri}: {error}; use --encoder x264") from error
    elif video.codec != "h264":  # whose smallest and longest sizes hang together in ways that only they know
        context = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate, context.time_base, context.options = rate, 1 / rate, options
        try:
            context.open()
        except av.FFmpegError as error:
            raise UsageError(f"output {uri}: {name} cannot encode {width}x{height}; use --codec h264") from error
