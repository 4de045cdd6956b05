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
from pathlib import Path

from solo_rt.pipeline import Hooks, Options, Pipeline
from solo_rt.pipeline.report import RunReport
from solo_rt.train.data.world_files import write_videos


def timed(source: str, outputs: list[str], *, lanes: int | None = None, sync: bool = False) -> tuple[RunReport, float]:
    """Return the report of a run, and the CPU seconds of a frame; opening the model counts in neither."""
    opened: list[float] = []
    hooks = Hooks(on_start=lambda info, engine: opened.append(time.process_time()))
    report = Pipeline(source, None, outputs, Options(sync=sync), hooks, lanes=lanes).run()
    return report, (time.process_time() - opened[0]) / report.processed


def bound(source: str, outputs: list[str]) -> tuple[float, RunReport]:
    """Return the frames per second that the machine allows, and the report of the run that says so."""
    report, cpu_seconds = timed(source, outputs, sync=True)
    slowest = max(stats.mean for stats in report.stages.values())
    return min(1 / slowest, len(os.sched_getaffinity(0)) / cpu_seconds), report


def main() -> None:
    """Print one line per case and the times of the stages of the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lanes", type=int, default=2, help="compared with one lane")
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
            limits, single, several = [], [], []
            for _ in range(arguments.repeats):
                limit, one_by_one = bound(str(folder / source), files)
                limits.append(limit)
                single.append(timed(str(folder / source), files, lanes=1))
                several.append(timed(str(folder / source), files, lanes=arguments.lanes))
            limit, fast, faster = max(limits), *(max(run.fps for run, _ in runs) for runs in (single, several))
            gain = statistics.median(b.fps / a.fps for (a, _), (b, _) in zip(single, several, strict=True))
            cpu, less = (1e3 * min(seconds for _, seconds in runs) for runs in (single, several))
            figures = [one_by_one.fps, fast, faster, gain, cpu, less]
            print(f"{case:28s}" + "".join(f"{figure:9.2f}" for figure in [*figures, limit, faster / limit]))
        times = ", ".join(f"{stage} {1e3 * stats.mean:.1f}" for stage, stats in one_by_one.stages.items())
        print(f"mean ms per stage of the last case, one at a time: {times}")


if __name__ == "__main__":
    main()
