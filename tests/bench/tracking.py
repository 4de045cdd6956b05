"""Tracking: how well objects keep their ids, by TrackEval, beside ByteTrack on the same detections, and its time.

    python tests/bench/tracking.py [--clips 4] [--frames 300] [--size 640x360]

Clips of the procedural world at 30 fps, whose objects hide one another. `truth` is tracked from the
visible part of every object, `solov2-nano` from what the model finds; both are measured on what is visible, by masks
at the size of the frame, whatever their class. All clips together; HOTA, its association part, IDF1 and MOTA in
percent, and how often an object gets another id.

It needs the evaluator and the rival: pip install trackeval trackers (Roboflow's `trackers`, with `supervision`). The
rival runs as published, over all classes at once and for each alone, which is better for it; and with our threshold of
scores on detections without duplicates, as our tracker leaves them out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from stopwatch import least_ms

import solo_rt
from solo_rt import defaults
from solo_rt.track import LEAST_SCORE, Tracker
from solo_rt.track.tracker import distinct
from solo_rt.types import Instances, Masks
from solo_rt.world import MIN_VISIBLE, Scene, World

try:
    import supervision
    from trackers import ByteTrackTracker
    from trackeval import metrics
except ImportError as error:
    print(f"tracking: expected trackeval and trackers, got no {error.name}; pip install trackeval trackers")
    sys.exit()

FIRST_SEED, RATE, STRIDE = 400, 30, 4  # the constants of the tracker were chosen on worlds below 400
Ids = NDArray[np.int64]
Follow = Callable[[Instances, float], Ids]  # a frame's instances and its time to their ids, 0 for none


class Seen(NamedTuple):
    """One frame: the visible parts of its objects, whose they are, what was found, and how they overlap."""

    time_s: float
    truth: Instances
    truth_ids: Ids
    found: Instances
    ious: NDArray[np.float64]  # [objects, found] of masks at the size of the frame


def watch(seed: int, objects: int, frames: int, size: tuple[int, int]) -> Iterator[Seen]:
    """Yield the frames of a world."""
    width, height = size
    world = World(seed, height=height, width=width, frame_rate=RATE, objects=objects)
    uri = f"test://?seed={seed}&size={width}x{height}&frames={frames}&fps={RATE}&objects={objects}"
    for result in solo_rt.stream(uri, conf=LEAST_SCORE):
        scene, found = world.render(result.frame.index), result.instances
        areas = np.bincount(scene.ids.ravel(), minlength=256)
        labels = [k for k in range(1, len(scene.class_ids) + 1) if areas[k] >= MIN_VISIBLE * scene.ids.size]
        ious = np.zeros((len(labels), len(found)))
        for i in range(len(found)):
            mask = found.dense(i)
            shared = np.bincount(scene.ids[mask], minlength=256)[labels]
            ious[:, i] = shared / (areas[labels] + mask.sum() - shared)
        truth_ids = scene.track_ids[np.array(labels, int) - 1]
        yield Seen(result.frame.time_s, visible(scene, labels), truth_ids, found, ious)


def visible(scene: Scene, labels: list[int]) -> Instances:
    """Return the visible parts of objects as a perfect network would find them."""
    height, width = scene.ids.shape
    grid, boxes, crops, regions = (height // STRIDE, width // STRIDE), [], [], []
    for label in labels:
        mask = scene.ids == label
        y0, y1 = np.flatnonzero(mask.any(1))[[0, -1]] + (0, 1)
        x0, x1 = np.flatnonzero(mask.any(0))[[0, -1]] + (0, 1)
        left, right = max(0, x0 // STRIDE - 1), min(grid[1], -(-x1 // STRIDE) + 1)
        top, bottom = max(0, y0 // STRIDE - 1), min(grid[0], -(-y1 // STRIDE) + 1)
        part = mask[top * STRIDE : bottom * STRIDE, left * STRIDE : right * STRIDE].astype(np.uint8) * 255
        crops.append(cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_AREA).ravel())
        regions.append((left, top, right, bottom))
        boxes.append((x0, y0, x1, y1))
    masks = Masks(
        np.concatenate([np.zeros(0, np.uint8), *crops]),
        np.cumsum([0, *map(len, crops)], dtype=np.int64),
        np.array(regions, np.int32).reshape(-1, 4),
        grid,
        (1 / STRIDE, 1 / STRIDE),
    )
    class_ids = scene.class_ids[np.array(labels, int) - 1]
    scores = np.full(len(labels), 0.9, np.float32)
    return Instances((height, width), np.array(boxes, np.float32).reshape(-1, 4), scores, class_ids, masks)


def ours() -> Follow:
    """Return a new tracker of ours."""
    tracker = Tracker()

    def follow(found: Instances, time_s: float) -> Ids:
        tracked, _ = tracker.follow(found, time_s)
        numbers = {(*box, score): i for i, (*box, score) in enumerate(np.column_stack([found.boxes, found.scores]))}
        ids = np.zeros(len(found), np.int64)
        for *box, score, track_id in np.column_stack([tracked.boxes, tracked.scores, tracked.track_ids]):
            ids[numbers[(*box, score)]] = track_id
        return ids

    return follow


def rival(*, by_class: bool = False, tuned: bool = False) -> Follow:
    """Return a new ByteTrack."""
    settings = {"track_activation_threshold": defaults.CONF, "high_conf_det_threshold": defaults.CONF} if tuned else {}
    trackers: dict[int, Any] = {}
    given: dict[tuple[int, int], int] = {}

    def follow(found: Instances, time_s: float) -> Ids:
        numbers = distinct(found)[1] if tuned else np.arange(len(found))
        ids = np.zeros(len(found), np.int64)
        groups = found.class_ids if by_class else np.zeros(len(found), np.int32)
        for group in sorted({*groups.tolist(), *trackers}):
            which = numbers[groups[numbers] == group]
            boxes = supervision.Detections(found.boxes[which], confidence=found.scores[which], data={"number": which})
            tracked = trackers.setdefault(group, ByteTrackTracker(frame_rate=RATE, **settings)).update(boxes)
            for number, track_id in zip(tracked.data.get("number", ()), tracked.tracker_id, strict=False):
                if track_id >= 0:
                    ids[number] = given.setdefault((group, int(track_id)), len(given) + 1)
        return ids

    return follow


TRACKERS: dict[str, Callable[[], Follow]] = {
    "solo-rt": ours,
    "ByteTrack": rival,
    "ByteTrack by class": lambda: rival(by_class=True),
    "ByteTrack, no duplicates": lambda: rival(tuned=True),
}


def measure(clips: list[list[Seen]], make: Callable[[], Follow], *, truth: bool) -> list[float]:
    """Return HOTA, AssA, IDF1, MOTA and id switches over all clips."""
    kinds = [metrics.HOTA(), metrics.Identity({"PRINT_CONFIG": False}), metrics.CLEAR({"PRINT_CONFIG": False})]
    results: list[dict[str, Any]] = [{} for _ in kinds]
    for number, clip in enumerate(clips):
        follow, rows = make(), []
        for seen in clip:
            found, ious = (seen.truth, np.eye(len(seen.truth))) if truth else (seen.found, seen.ious)
            ids = follow(found, seen.time_s)
            rows.append((ids[ids > 0], ious[:, ids > 0]))
        data = evaluated([seen.truth_ids for seen in clip], rows)
        for kind, result in zip(kinds, results, strict=True):
            result[str(number)] = kind.eval_sequence(data)
    hota, identity, clear = (kind.combine_sequences(result) for kind, result in zip(kinds, results, strict=True))
    shares = (hota["HOTA"].mean(), hota["AssA"].mean(), identity["IDF1"], clear["MOTA"])
    return [*(100 * share for share in shares), int(clear["IDSW"])]


def evaluated(truth: list[Ids], rows: list[tuple[Ids, NDArray[np.float64]]]) -> dict[str, Any]:
    """Return one clip as TrackEval takes it, with ids from 0 on."""
    true_ids, ids = (count_from_zero(frames) for frames in (truth, [ids for ids, _ in rows]))
    return {
        "num_timesteps": len(rows),
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": [ious for _, ious in rows],
        "num_gt_ids": len(set(np.concatenate(true_ids).tolist())),
        "num_tracker_ids": len(set(np.concatenate(ids).tolist())),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
    }


def count_from_zero(frames: Iterable[Ids]) -> list[Ids]:
    """Return the ids as numbers in the order they come."""
    numbers: dict[int, int] = {}
    return [np.array([numbers.setdefault(int(i), len(numbers)) for i in ids], np.int64) for ids in frames]


def crowd(objects: int, index: int) -> Instances:
    """Return as many discs side by side, each on its way back and forth."""
    y, x = np.mgrid[:24, :24] - 11.5
    disc = (np.hypot(x, y) < 11).astype(np.uint8).ravel() * 255
    corners = np.array([(28 * (i % 10) + (index + i) % 5, 28 * (i // 10)) for i in range(objects)], np.int32)
    regions = np.hstack([corners, corners + 24])
    masks = Masks(np.tile(disc, objects), np.arange(objects + 1) * 576, regions, (320, 320), (0.25, 0.25))
    scores, class_ids = np.linspace(0.9, 0.6, objects, dtype=np.float32), np.arange(objects, dtype=np.int32) % 3
    return Instances((1280, 1280), 4 * regions.astype(np.float32), scores, class_ids, masks)


def frame_ms(objects: int) -> float:
    """Return the milliseconds of a frame of so many objects that have been there for two seconds."""
    tracker, frames = Tracker(), [crowd(objects, i) for i in range(5)]
    index = 0

    def step() -> None:
        nonlocal index
        tracker.follow(frames[index % 5], index / RATE)
        index += 1

    for _ in range(2 * RATE):
        step()
    assert tracker.follow(frames[index % 5], index / RATE)[0].track_ids.max() == objects
    return least_ms(step, 300)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", default="640x360")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    print(f"{'objects':8s}{'detections':13s}{'tracker':26s}   HOTA   AssA   IDF1   MOTA  switches")
    for objects in (8, 20):
        seeds = range(FIRST_SEED, FIRST_SEED + arguments.clips)
        clips = [list(watch(seed, objects, arguments.frames, (width, height))) for seed in seeds]
        for truth, detections in ((True, "truth"), (False, "solov2-nano")):
            for name, make in TRACKERS.items():
                *shares, switches = measure(clips, make, truth=truth)
                figures = "".join(f"{share:7.1f}" for share in shares)
                print(f"{objects:<8d}{detections:13s}{name:26s}{figures}{switches:10d}", flush=True)
    for objects in (1, 20, 100):
        print(f"{objects:3d} objects side by side, ms per frame: {frame_ms(objects):.2f}")


if __name__ == "__main__":
    main()
