"""Clips with sound, and the packets of a file's sound, for the tests of what copies it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from clips import FORMATS, THIRTY, planes

RATE = 48000


def write_with_sound(
    path: Path,
    *,
    codec: str = "aac",
    count: int = 30,
    pts: Sequence[int] | None = None,
    time_base: Fraction = THIRTY,
    starts: float = 0.0,
    seconds: float = 1.0,
) -> Path:
    """Write `count` frames, and noise from `starts` on; return the path."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, round(seconds * RATE))).astype(np.float32)
    with av.open(str(path), "w", format=FORMATS[path.suffix]) as container:
        video = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.time_base = time_base
        audio = container.add_stream(codec, rate=RATE)
        audio.layout, audio.bit_rate = "stereo", 128_000
        packets = []
        for i, stamp in enumerate(range(count) if pts is None else pts):
            picture = av.VideoFrame.from_ndarray(
                np.concatenate([p.ravel() for p in planes(i, 48, 64)]).reshape(72, 64), "yuv420p"
            )
            picture.pts, picture.time_base = stamp, time_base
            packets += video.encode(picture)
        for k in range(0, noise.shape[1], 960):
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(noise[:, k : k + 960]), "fltp", "stereo")
            sound.sample_rate, sound.time_base, sound.pts = RATE, Fraction(1, RATE), k + round(starts * RATE)
            packets += audio.encode(sound)
        packets += video.encode(None) + audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def sound_of(path: Path) -> list[tuple[bytes, Fraction]]:
    """Return the packets of a file's sound with their times in seconds; nothing where it has none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
