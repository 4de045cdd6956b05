"""What Ray costs an archive: each video, and once for a run.

    python tests/bench/archive.py [--clips 16] [--frames 60] [--laps 10] [--niceness 0]

One worker of one thread processes the same clips as a process and as an actor, in turn, with a cluster of this machine
beside both. A video costs from when the one before it is done to when it is; all else is the start: joining, a worker,
its model, the first video. Ratios are of neighbouring laps, with the 95 % confidence interval of their mean. The
niceness is that of Ray's workers, 15 unless Ray is told otherwise, where a process has 0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from ray_nodes import two_nodes

from solo_rt.bench.laps import half_interval
from solo_rt.cluster import Archive, ArchiveProgress, process_archive
from solo_rt.pipeline import Pipeline
from solo_rt.train.data.world_files import write_videos


def timed(source: Path, cluster: str | None) -> tuple[float, float]:
    """Return the seconds that each video but the first took, and those before the first was done."""
    done_at: dict[int, float] = {}

    def note(progress: ArchiveProgress) -> None:
        done_at.setdefault(progress.done, time.perf_counter())

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as results:
        archive = Archive([str(source)], Path(results), Pipeline(threads=1), workers=1, cluster=cluster)
        report = process_archive(archive, on_progress=note)
    assert report.done == report.videos, report
    return (done_at[report.videos] - done_at[1]) / (report.videos - 1), done_at[1] - began


def main() -> None:
    """Print what a video and a start take with processes and with Ray."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--laps", type=int, default=10)
    parser.add_argument("--niceness", type=int, default=0)
    arguments = parser.parse_args()
    if find_spec("ray") is None:
        print("archive: it needs Ray; pip install 'solo-rt[ray]'")
        return
    os.environ.update(RAY_worker_niceness=str(arguments.niceness))  # of the nodes, which inherit it
    with tempfile.TemporaryDirectory() as name, two_nodes() as nodes:
        clips = Path(name) / "clips"
        clips.mkdir()
        write_videos(Path(name), seed=7, size=(720, 1280), frames=arguments.frames)
        for number in range(arguments.clips):
            shutil.copy(Path(name) / "cam0.avi", clips / f"{number}.avi")
        timed(clips, None)  # what is measured to choose an engine is kept
        local, ray = [], []
        for _ in range(arguments.laps):
            local.append(timed(clips, None))
            ray.append(timed(clips, nodes.address))
    print(f"{arguments.clips} videos of {arguments.frames} frames of 720p, one worker of one thread")
    print(f"{'':12s}{'ms a video':>12s}{'least':>9s}{'start s':>9s}")
    for who, laps in (("processes", local), ("Ray", ray)):
        videos, starts = zip(*laps, strict=True)
        print(f"{who:12s}{1e3 * fmean(videos):12.1f}{1e3 * min(videos):9.1f}{fmean(starts):9.2f}")
    ratios = [theirs / ours for (theirs, _), (ours, _) in zip(ray, local, strict=True)]
    print(f"Ray, a video: {fmean(ratios):.4f} ± {half_interval(ratios):.4f} of a process")
    starts = [theirs - ours for (_, theirs), (_, ours) in zip(ray, local, strict=True)]
    print(f"Ray, once: {fmean(starts):.2f} ± {half_interval(starts):.2f} s")


if __name__ == "__main__":
    main()
