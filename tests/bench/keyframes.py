"""Key frames: the mask AP of all frames, and their CPU time, by how many the network computes.

    python tests/bench/keyframes.py [--clips 4] [--frames 90] [--size 1280x720] [--model solov2-nano]

Clips of the procedural world at 30 fps, that no constant was chosen on, whose every frame has exact masks; everything
moves in them, the background too. One clip more is a still picture with a sensor's noise, which has no AP. CPU time is
that of all stages behind reading, the engine on one thread; the intervals take turns on each clip.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from solo_rt.engine import Engine, open_engine
from solo_rt.pipeline.options import Interval, Options
from solo_rt.pipeline.stage import Job
from solo_rt.pipeline.stages import build_stages
from solo_rt.pipeline.workers import run_in_turn
from solo_rt.train.data.instances.base import Annotation, InstanceSet
from solo_rt.train.data.instances.world import annotate
from solo_rt.train.evaluate.detections import Detection, Segmentation
from solo_rt.train.evaluate.masks import score_masks
from solo_rt.types import Frame, Instances
from solo_rt.world import CLASSES, World

FIRST_SEED, RATE = 500, 30  # the constants were chosen on worlds below 500
INTERVALS: tuple[Interval, ...] = (1, 2, 4, 8, "auto")
Size = tuple[int, int]


def film(seed: int, frames: int, size: Size) -> tuple[list[Frame], list[tuple[Annotation, ...]]]:
    """Return the frames of a world and their truth."""
    world = World(seed, height=size[0], width=size[1], frame_rate=RATE)
    scenes = [world.render(index) for index in range(frames)]
    return [at(index, scene.rgb) for index, scene in enumerate(scenes)], [annotate(scene) for scene in scenes]


def still(frames: int, size: Size) -> list[Frame]:
    """Return one picture again and again, with other noise."""
    rgb = World(FIRST_SEED, height=size[0], width=size[1]).render(0).rgb.astype(np.int16)
    rng = np.random.default_rng(0)
    noisy = (np.clip(rgb + rng.normal(0, 2, rgb.shape), 0, 255).astype(np.uint8) for _ in range(frames))
    return [at(index, picture) for index, picture in enumerate(noisy)]


def at(index: int, rgb: NDArray[np.uint8]) -> Frame:
    return Frame((rgb,), "rgb24", index=index, pts=index, time_base=Fraction(1, RATE), captured_at=time.monotonic())


def go_through(frames: Sequence[Frame], engine: Engine, interval: Interval) -> tuple[list[Job], float]:
    """Return the jobs after all stages, and the CPU seconds they took."""
    stages = build_stages(engine, Options(keyframe_interval=interval), with_picture=False)
    started = time.process_time()
    jobs = list(run_in_turn(iter([Job(frame) for frame in frames]), stages))
    return jobs, time.process_time() - started


def detections(jobs: Sequence[Job], first: int) -> list[Detection]:
    """Return what was found, the frames being pictures from `first` on."""
    found = []
    for index, job in enumerate(jobs):
        instances = job.found
        assert isinstance(instances, Instances)
        codes = cast(list[Segmentation], instances.rles())
        for label, score, code in zip(instances.class_ids, instances.scores, codes, strict=True):
            entry = Detection(image_id=first + index, category_id=int(label) + 1, segmentation=code, score=float(score))
            found.append(entry)
    return found


def average_precision(truth: list[tuple[Annotation, ...]], found: list[Detection], size: Size) -> float:
    n = len(truth)
    data = InstanceSet(
        kind="world",
        folder=Path("world"),
        classes=CLASSES,
        category_ids=tuple(range(1, len(CLASSES) + 1)),
        picture_ids=np.arange(n, dtype=np.int64),
        names=tuple(map(str, range(n))),
        read=lambda index: (size, truth[index]),
    )
    categories = dict(zip(data.classes, data.category_ids, strict=True))
    return score_masks(data, found, indices=range(n), categories=categories).metrics["AP"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--model", default="solov2-nano")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    size = height, width
    engine = open_engine(options.model, threads=1)
    print(f"{options.model}, {engine.backend}")
    truth: list[tuple[Annotation, ...]] = []
    found: dict[Interval, list[Detection]] = {interval: [] for interval in INTERVALS}
    seconds, computed = dict.fromkeys(INTERVALS, 0.0), dict.fromkeys(INTERVALS, 0)
    for seed in range(FIRST_SEED, FIRST_SEED + options.clips):
        frames, objects = film(seed, options.frames, size)
        for interval in INTERVALS:
            jobs, took = go_through(frames, engine, interval)
            found[interval] += detections(jobs, len(truth))
            seconds[interval] += took
            computed[interval] += sum(not job.is_moved for job in jobs)
        truth += objects
    frames = still(options.frames, size)
    print("   K   AP of masks   computed   CPU ms of a frame   of a still one")
    for interval in INTERVALS:
        ap = average_precision(truth, found[interval], size)
        _, took = go_through(frames, engine, interval)
        shares = f"{100 * ap:14.1f}{computed[interval] / len(truth):11.0%}"
        print(f"{interval!s:>4s}{shares}{1e3 * seconds[interval] / len(truth):20.1f}{1e3 * took / len(frames):17.1f}")
    engine.close()


if __name__ == "__main__":
    main()
