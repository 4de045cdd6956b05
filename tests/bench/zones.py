"""What counting costs per frame, by the anchor of the zones.

    python tests/bench/zones.py [--objects 20] [--zones 8] [--frames 300]

Objects of 60 x 120 pixels walk through a 1080p picture and tremble by two pixels; their masks are on the quarter-size
grid of a 448x768 network. Half of the zones are polygons of five corners, half are lines of three points.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from found import found

from solo_rt.track.counter import ZoneCounter
from solo_rt.track.zones import ANCHORS, Anchor, Zone
from solo_rt.types import Instances

SIZE, BOX = (1080, 1920), (60, 120)  # height, width; width, height
SCALE = 10  # pixels per cell of the grid


def make_clip(objects: int, frames: int) -> list[Instances]:
    """Return tracked objects that walk from place to place and start again when they are out."""
    rng = np.random.default_rng(0)
    room = np.array([SIZE[1] - BOX[0], SIZE[0] - BOX[1]])
    start, speed = rng.uniform(0, room, (objects, 2)), rng.uniform(-6, 6, (objects, 2))
    clip = []
    for index in range(frames):
        corners = (start + speed * index) % room + rng.integers(-2, 3, (objects, 2))
        cells = (corners.clip(0, room) // SCALE).astype(int)
        boxes = [(x, y, x + BOX[0] // SCALE, y + BOX[1] // SCALE) for x, y in cells.tolist()]
        small = found(*boxes, tracks=range(1, objects + 1), size=(SIZE[0] // SCALE, SIZE[1] // SCALE))
        masks = replace(small.masks, step=(1 / SCALE, 1 / SCALE))
        exact = np.concatenate([corners, corners + BOX], 1).clip(0, None).astype(np.float32)
        clip.append(replace(small, frame_size=SIZE, boxes=exact, masks=masks))
    return clip


def make_zones(count: int, anchor: Anchor) -> list[Zone]:
    polygon = np.array([(0.0, 0.0), (0.4, 0.05), (0.5, 0.3), (0.3, 0.5), (0.05, 0.4)])
    line = np.array([(0.0, 0.0), (0.3, 0.2), (0.4, 0.5)])
    zones = []
    for index in range(count):
        shape = (line if index % 2 else polygon) + 0.5 * index / count
        points = tuple((float(x), float(y)) for x, y in shape)
        zones.append(
            Zone(f"zone {index}", points, is_line=index % 2 == 1, anchor=anchor, dwell=None if index % 2 else 2)
        )
    return zones


def main() -> None:
    """Print a line per anchor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--zones", type=int, default=8)
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    clip = make_clip(options.objects, options.frames)
    print(f"{options.objects} objects, {options.zones} zones: ms per frame\nanchor    mean   p50   p99  events")
    for anchor in ANCHORS:
        counter, times, events = ZoneCounter(make_zones(options.zones, anchor), ("cat", "dog")), [], 0
        for index, objects in enumerate(clip):
            started = time.perf_counter()
            _, new = counter.update(objects, index / 30)
            times.append(1e3 * (time.perf_counter() - started))
            events += len(new)
        print(f"{anchor:8s} {np.mean(times):5.3f} {np.median(times):5.3f} {np.quantile(times, 0.99):5.3f} {events:7d}")


if __name__ == "__main__":
    main()
