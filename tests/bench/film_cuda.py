"""A film of the procedural world through the whole pipeline on the CPU and on a GPU: how fast, and whether they agree.

    python tests/bench/film_cuda.py --model x.pt [--frames 500] [--least 0.95] [--device cuda]

A run on each device makes a painted MP4 and JSON lines; then what both find in every tenth frame is compared mask by
mask. Fails where a file is not whole, or the GPU finds less than `--least` of what the CPU does, or that is nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import solo_rt
from solo_rt.builder.agreement import agreement


def run(film: str, model: Path, device: str, folder: Path) -> int:
    """Print the frames per second of one run, and return how many lines of frames it wrote."""
    lines, video = folder / f"{device}.jsonl", folder / f"{device}.mp4"
    started = time.perf_counter()
    solo_rt.Pipeline(film, model=model, device=device, sinks=[str(video), str(lines)]).run()
    frames = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    count = sum("frame" in frame for frame in frames)
    print(f"{device:5} {count / (time.perf_counter() - started):7.1f} frames/s, {video.stat().st_size / 1e6:.1f} MB")
    return count


def main() -> int:
    """Print both rates and the agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--least", type=float, default=0.95)
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    film = f"test://?frames={given.frames}&size=1280x720"
    with tempfile.TemporaryDirectory() as folder:
        counts = [run(film, given.model, device, Path(folder)) for device in ("cpu", given.device)]
    results = [solo_rt.stream(film, model=given.model, device=device) for device in ("cpu", given.device)]
    pairs = [(a.instances, b.instances) for a, b in islice(zip(*results, strict=True), 0, None, 10)]
    there, measures = sum(len(reference) for reference, _ in pairs), agreement(pairs)
    print(f"{there} objects, {', '.join(f'{name} {value:.4f}' for name, value in measures.items())}")
    return 0 if counts == [given.frames] * 2 and there and measures["found"] >= given.least else 1


if __name__ == "__main__":
    sys.exit(main())
