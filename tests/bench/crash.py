"""What `kill -9` costs: runs that are killed while they write every kind of file, and what is left of each.

    python tests/bench/crash.py [--kills 10]

Prints for each content and container how many frames, and seconds of video, the file lacks behind the newest JSON line:
on average and at worst. "unreadable" counts files that cannot be played at all. MP4, MOV and MKV hand a frame on with
the next one, so that slow video lacks one frame at least; FFmpeg's call against it is none of PyAV's.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from solo_rt.errors import SourceError
from solo_rt.result import Result
from solo_rt.sink import open_sink
from solo_rt.source import SourceInfo, open_source
from solo_rt.types import Frame, Instances

SIZE = (180, 320)
FRAMES = 3000
CONTENTS = {"moving": Fraction(30), "static": Fraction(30), "1 fps": Fraction(1)}
CONTAINERS = ("mp4", "mov", "mkv", "avi")
RUN = "import sys; from solo_rt import Pipeline; Pipeline(sys.argv[1], None, sys.argv[2:], threads=1).run()"


def write_clip(path: Path, *, rate: Fraction, is_static: bool) -> None:
    """Write noise that moves, or stays, at a frame rate."""
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    info = SourceInfo(
        uri="noise",
        kind="video",
        width=SIZE[1],
        height=SIZE[0],
        frame_rate=rate,
        frame_count=FRAMES,
        time_base=1 / rate,
        live=False,
    )
    with open_sink(str(path), info=info) as sink:
        for i in range(FRAMES):
            picture = noise if is_static else np.roll(noise, 3 * i, axis=1)
            sink.write(Result(Frame((picture,), "rgb24", index=i, pts=i, time_base=1 / rate), Instances.none(SIZE), ()))


def kill_one(clip: Path, folder: Path, *, at: int) -> dict[str, list[float]]:
    """Return the times of the frames that each file of a run holds, which is killed once `at` results are written."""
    lines, videos = folder / "out.jsonl", [folder / f"out.{container}" for container in CONTAINERS]
    outputs = [*videos, lines]  # what has a line has been given to all
    for path in outputs:
        path.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-c", RUN, clip, *outputs], stderr=subprocess.PIPE)
    try:
        while not lines.exists() or lines.read_bytes().count(b"\n") <= at:
            if process.poll() is not None:
                raise RuntimeError(process.communicate()[1].decode())
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    whole = lines.read_bytes().split(b"\n")[1:-1]  # behind the header; the last is torn or empty
    held = {"jsonl": [json.loads(line)["time_s"] for line in whole]}
    for path in videos:
        try:
            with open_source(str(path)) as source:
                held[path.suffix[1:]] = [frame.time_s for frame in source]
        except SourceError:
            held[path.suffix[1:]] = []
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    kills = parser.parse_args().kills
    random.seed(0)
    print(f"{kills} kills each, frames and seconds that are missing, mean / worst")
    for content, rate in CONTENTS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_clip(folder / "clip.mp4", rate=rate, is_static=content == "static")
            runs = [kill_one(folder / "clip.mp4", folder, at=random.randrange(5, 200)) for _ in range(kills)]
        for container in CONTAINERS:
            played = [(held["jsonl"], held[container]) for held in runs if held[container]]
            frames = [max(0, len(written) - len(left)) for written, left in played]
            seconds = [max(0.0, written[-1] - left[-1]) for written, left in played]
            print(
                f"{content:7} {container}: {np.mean(frames):4.1f} / {max(frames):2} frames, "
                f"{np.mean(seconds):.2f} / {max(seconds):.2f} s, {kills - len(played)} unreadable",
                flush=True,
            )


if __name__ == "__main__":
    main()
