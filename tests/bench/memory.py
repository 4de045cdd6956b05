"""Memory of the pipeline: a 4K clip with 100 instances a frame, and a long run.

    python tests/bench/memory.py [--frames 2000]

Prints the growth of the resident set in MB over the idle pipeline (source, engine and sinks open, first frames
done, no instance kept).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Mapping

import numpy as np
import psutil

from solo_rt.engine import open_engine
from solo_rt.pipeline import run
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.report import Progress
from solo_rt.result import Result
from solo_rt.sink import open_sink
from solo_rt.source import open_source
from solo_rt.spec import ModelSpec
from solo_rt.types import Instances

MB = 1e6


class CrowdEngine:
    """A hundred instances in every frame: blobs of a fiftieth of the picture, whatever the picture shows."""

    backend = "fake"
    lanes = 1

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        h, w = spec.input.height // 4, spec.input.width // 4
        y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
        features = np.stack([np.ones_like(x), x, y, x * x + y * y])[None].astype(np.float32)
        cells = spec.decoder.cells
        rng = np.random.default_rng(0)
        centres, radius = rng.uniform(-0.95, 0.85, (cells, 2)), 0.16
        bias = radius**2 - (centres**2).sum(1)
        kernels = 400 * np.stack([bias, 2 * centres[:, 0], 2 * centres[:, 1], -np.ones(cells)], axis=1)
        scores = np.zeros((1, cells, len(spec.classes)), np.float32)
        chosen = rng.choice(cells, 150, replace=False)
        scores[0, chosen, np.arange(150) % len(spec.classes)] = 0.9
        self._outputs = {"scores": scores, "kernels": kernels[None].astype(np.float32), "features": features}

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self._outputs)

    def cancel(self) -> None:
        """Nothing is ever under way for long."""

    def close(self) -> None:
        pass


class Peak:
    """Samples the resident set on a thread while entered; `mb` is the largest seen."""

    def __enter__(self) -> Peak:
        self._process, self._done, self.mb = psutil.Process(), threading.Event(), 0.0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.mb = max(self.mb, self._process.memory_info().rss / MB)


def crowd(frames: int) -> None:
    """Print the peak with and without a hundred instances in every frame of a 4K video."""
    engine = CrowdEngine(open_engine(None).spec)
    peaks, found = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        clip = f"{folder}/clip.mp4"
        draw = multiprocessing.get_context("spawn").Process(target=write_clip, args=(clip, frames))
        draw.start()  # in a process of its own, as drawing a 4K world takes more memory than what is measured here
        draw.join()
        for conf in (1.0, 1.0, 0.0):  # at 1.0 nothing is kept: the idle pipeline; twice, to be warm
            with open_source(clip) as source, open_sink(f"{folder}/out.mp4", info=source.info) as sink, Peak() as peak:
                report = run(source, engine, [sink], options=Options(conf=conf, max_det=100))
            peaks.append(peak.mb)
            found = report.instances / report.processed
    print(f"4K video to video, {found:.0f} instances a frame: {peaks[2] - peaks[1]:+.0f} MB over {peaks[1]:.0f} MB")


def write_clip(path: str, frames: int) -> None:
    """Write a 4K video of the procedural world."""
    with open_source(f"test://?size=3840x2160&frames={frames}") as source, open_sink(path, info=source.info) as sink:
        for frame in source:
            sink.write(Result(frame, Instances.none((frame.height, frame.width)), ()))


def endurance(frames: int) -> None:
    """Print how the resident set moves over a long run of the default model."""
    marks: dict[int, float] = {}
    process = psutil.Process()

    def note(progress: Progress) -> None:
        if progress.processed % (frames // 5) == 0 and progress.processed not in marks:
            marks[progress.processed] = process.memory_info().rss / MB

    started = time.monotonic()
    with open_source(f"test://?size=640x360&frames={frames}") as source:
        run(source, open_engine(None), [open_sink("null://", info=source.info)], on_progress=note)
    trail = ", ".join(f"{count}: {mb:.0f}" for count, mb in marks.items() if count)
    print(f"resident MB after n frames: {trail} ({time.monotonic() - started:.0f} s)")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    arguments = parser.parse_args()
    crowd(40)
    endurance(arguments.frames)


if __name__ == "__main__":
    main()
