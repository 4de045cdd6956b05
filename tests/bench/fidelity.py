"""What goes into `solo-rt run` against what comes out of it, as an MP4 in which nothing was found and painted.

    python tests/bench/fidelity.py [--frames 24]

A row is a clip. Its frames, their times, the whole length, the size upright and the colour tags must be kept; the
pixels are those that FFmpeg's own filters make of the clip, but for what the encoder loses (in dB, all planes
together); sound must arrive packet by packet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from clips import write_clip
from ffmpeg_twin import EXACT, decoded, planes_of, through

from solo_rt.types import UInt8

LEAST_DB = 38.0  # x264's veryfast at crf 23; frames that are combed, shifted or of other colours are far below
BWDIF = "bwdif=mode=send_frame:deint=interlaced"
TO_420, TO_BT709 = [EXACT, "format=yuv420p"], [f"{EXACT}:out_color_matrix=bt709", "format=yuv420p"]
NTSC, MILLISECONDS = Fraction(1001, 30000), Fraction(1, 1000)
VARIABLE = [0, 33, 70, 71, 500, 533, 560, 700, 1100, 1133, 1166, 1200]
X264 = {"codec": "libx264", "options": {"qp": "0"}}
IN_FIELDS = {"codec": "libx264", "options": {"qp": "0", "flags": "+ilme+ildct"}}


@dataclass(frozen=True)
class Case:
    """A clip, how FFmpeg would show it, and the matrix and range of H.273 that its MP4 has to be tagged with."""

    clip: dict[str, Any]  # what `write_clip` takes
    suffix: str = ".mkv"
    filters: list[str] = field(default_factory=list)
    tags: tuple[int, int] = (6, 1)


CASES = {
    "constant rate, no sound": Case({}),
    "29.97 frames/s": Case({**X264, "time_base": NTSC}, ".mp4"),
    "variable rate": Case({**X264, "time_base": MILLISECONDS, "pts": VARIABLE}, ".mp4"),
    "variable rate, Matroska": Case({"time_base": MILLISECONDS, "pts": VARIABLE}),
    "rotated left": Case({**X264, "rotation": (90.0, False, False)}, ".mp4", ["transpose=cclock"]),
    "rotated right": Case({**X264, "rotation": (-90.0, False, False)}, ".mp4", ["transpose=clock"]),
    "upside down": Case({**X264, "rotation": (180.0, False, False)}, ".mp4", ["hflip=", "vflip="]),
    "mirrored": Case({**X264, "rotation": (0.0, True, False)}, ".mp4", ["hflip="]),
    "BT.601, tv": Case({"matrix": 5, "colour_range": 1}),
    "BT.601, pc": Case({"matrix": 6, "colour_range": 2}, tags=(6, 2)),
    "BT.709, tv": Case({"matrix": 1, "colour_range": 1}, tags=(1, 1)),
    "BT.709, pc": Case({"matrix": 1, "colour_range": 2}, tags=(1, 2)),
    "BT.2020, 10 bits": Case({"matrix": 9, "pix_fmt": "yuv420p10le"}, filters=TO_BT709, tags=(1, 1)),
    "odd width and height": Case({"size": (65, 47)}),
    "10 bits 4:2:0": Case({"pix_fmt": "yuv420p10le"}, filters=TO_420),
    "10 bits 4:2:2": Case({"pix_fmt": "yuv422p10le"}, filters=TO_420),
    "8 bits 4:4:4": Case({"pix_fmt": "yuv444p"}, filters=TO_420),
    "RGB": Case({"pix_fmt": "bgr0"}, filters=[f"{EXACT}:out_range=tv:out_color_matrix=bt601", "format=yuv420p"]),
    "interlaced, top field first": Case({**IN_FIELDS, "scan": ["tff"]}, ".mp4", [BWDIF]),
    "interlaced, bottom field first": Case({**IN_FIELDS, "scan": ["bff"]}, ".ts", [BWDIF]),
    "AAC sound": Case({**X264, "audio": True}, ".mp4"),
}


@dataclass(frozen=True)
class Video:
    """What a file holds, as plain FFmpeg tells it."""

    times: list[Fraction]  # seconds, of each frame
    seconds: Fraction  # in all
    tags: tuple[int, int]  # matrix and range
    pictures: list[list[UInt8]]
    sound: list[bytes]  # packets that begin before the pictures end

    @classmethod
    def of(cls, path: Path, *filters: str) -> Video:
        """Return a file's content, with its pictures by way of FFmpeg's filters."""
        pictures = decoded(path)
        shown = through(pictures, *filters) if filters else pictures
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            seconds = Fraction(container.duration, av.time_base)
            tags = stream.codec_context.colorspace, stream.codec_context.color_range
            times = [picture.pts * picture.time_base for picture in pictures]
            end = times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)
            audio = container.streams.audio
            packets = [packet for packet in container.demux(audio) if packet.size] if audio else []
        sound = [bytes(packet) for packet in packets if packet.pts * packet.time_base < end]
        return cls(times, seconds, tags, [planes_of(picture) for picture in shown], sound)


def even(plane: UInt8, *, to: tuple[int, ...]) -> UInt8:
    """Return the plane with its last column and row repeated up to a size, as H.264 wants it even."""
    (height, width), (rows, columns) = plane.shape, to
    return np.pad(plane, ((0, max(0, rows - height)), (0, max(0, columns - width))), "edge")


def decibels(given: Video, got: Video) -> float:
    """Return the PSNR of all planes of all pictures; minus infinity where sizes differ by more than to be even."""
    total = count = 0.0
    for before, after in zip(given.pictures, got.pictures, strict=False):
        for a, b in zip(before, after, strict=True):
            expected = even(a, to=b.shape)
            if expected.shape != b.shape or abs(b.shape[0] - a.shape[0]) > 1 or abs(b.shape[1] - a.shape[1]) > 1:
                return -np.inf
            total, count = total + float(((expected.astype(float) - b) ** 2).sum()), count + b.size
    return float(10 * np.log10(255**2 * count / total)) if total else np.inf


def main() -> None:
    """Print a line per case: what was kept, and the distance of the pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24)
    arguments = parser.parse_args()
    headings = ["frames", "times", "length", "colours", "pixels", "dB", "sound", "all"]
    print(f"{'case':32s}" + "".join(f"{heading:>9s}" for heading in headings))
    with tempfile.TemporaryDirectory() as name:
        for title, case in CASES.items():
            clip, output = Path(name) / f"clip{case.suffix}", Path(name) / "out.mp4"
            write_clip(clip, **{"count": arguments.frames, **case.clip})
            run = ["run", "--quiet", "--conf", "1", "--source", str(clip), "--output", str(output)]
            subprocess.run([sys.executable, "-m", "solo_rt", *run], check=True)
            given, got = Video.of(clip, *case.filters), Video.of(output)
            distance = decibels(given, got)
            kept = [
                len(got.pictures) == len(given.pictures),
                got.times == given.times,
                abs(got.seconds - given.seconds) <= given.seconds / len(given.times),  # the last frame lasts a mean one
                got.tags == case.tags,
                distance >= LEAST_DB,
                got.sound == given.sound,
            ]
            words = ["yes" if each else "NO" for each in (*kept, all(kept))]
            print(f"{title:32s}" + "".join(f"{word:>9s}" for word in [*words[:5], f"{distance:.1f}", *words[5:]]))


if __name__ == "__main__":
    main()
