"""The whole pipeline on the sample clip, against the most that the machine allows.

    python tests/bench/pipeline.py [--frames 300] [--repeats 3] [--lanes N]

The bound is min(1 / slowest stage, cores / CPU time of a frame), both measured with `sync`, where stages do not disturb
one another; lanes share the slowest stage and save CPU time, so they may exceed it. The pipeline's figures are the best
of several runs: what else the machine does can only lower them. Runs on one lane and on several alternate; the gain is
the median ratio of neighbours, and the CPU time of a frame, in milliseconds, the least of all runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from solo_rt.pipeline import process
from solo_rt.report import RunReport
from solo_rt.stages import Options
from solo_rt.train.data.world_files import write_videos


def bound(source: str, outputs: list[str], options: Options) -> tuple[float, RunReport]:
    """Return the frames per second that the machine allows, and the report of the run that says so."""
    started = time.process_time()
    report = process(source, outputs, options=replace(options, sync=True))
    cpu_seconds = (time.process_time() - started) / report.processed
    slowest = max(stats.mean for stats in report.stages.values())
    return min(1 / slowest, len(os.sched_getaffinity(0)) / cpu_seconds), report


def timed(source: str, outputs: list[str], lanes: int | None) -> tuple[float, float]:
    """Return frames per second, and the CPU time of a frame in milliseconds."""
    started = time.process_time()
    report = process(source, outputs, lanes=lanes)
    return report.fps, 1e3 * (time.process_time() - started) / report.processed


def main() -> None:
    """Print one line per case and the times of the stages of the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lanes", type=int, help="compared with one lane; by default as many as run takes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder, seed=7, size=(720, 1280), frames=arguments.frames)
        cases = {
            "720p MJPEG to nothing": ("cam0.avi", ["null://"]),
            "720p MJPEG to JSON lines": ("cam0.avi", ["out.jsonl"]),
            "720p MJPEG to H.264 and JSON": ("cam0.avi", ["out.mp4", "out.jsonl"]),
            "720p H.264 to H.264": ("cam0.mp4", ["out.mp4"]),
        }
        headings = ["sync fps", "1 lane", "lanes", "gain", "cpu 1", "cpu n", "bound", "share"]
        print(f"{'case':28s}" + "".join(f"{heading:>9s}" for heading in headings))
        for case, (source, outputs) in cases.items():
            files = [output if "://" in output else str(folder / output) for output in outputs]
            options = Options()
            limits, single, several = [], [], []
            for _ in range(arguments.repeats):
                limit, one_by_one = bound(str(folder / source), files, options)
                limits.append(limit)
                single.append(timed(str(folder / source), files, 1))
                several.append(timed(str(folder / source), files, arguments.lanes))
            limit, (fast, _), (faster, _) = max(limits), max(single), max(several)
            gain = statistics.median(b[0] / a[0] for a, b in zip(single, several, strict=True))
            figures = [
                one_by_one.fps,
                fast,
                faster,
                gain,
                min(cpu for _, cpu in single),
                min(cpu for _, cpu in several),
            ]
            print(f"{case:28s}" + "".join(f"{figure:9.2f}" for figure in [*figures, limit, faster / limit]))
        times = ", ".join(f"{stage} {1e3 * stats.mean:.1f}" for stage, stats in one_by_one.stages.items())
        print(f"mean ms per stage of the last case, one at a time: {times}")


if __name__ == "__main__":
    main()
