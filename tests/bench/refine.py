"""Sharper masks: how near outlines are to the true ones, with `--refine` and without, and what it takes.

    python tests/bench/refine.py [--frames 60] [--size 1280x720] [--coco FOLDER]

`solov2-nano` on frames of worlds that no constant was chosen on, whose truth is exact at their size: mask AP, and for
the objects that it finds mask IoU and boundary IoU (Cheng and others 2021), which counts the pixels at most 2 % of the
diagonal away from an outline, and 0.5 % as a stricter one. The frames are taken in RGB and as video has them, in I420.

With --coco, a folder of `instances.json` and `images/`, the same for photographs: their true masks on the grid of a
256x448 network, as they are, and with the outlines displaced by so much of a cell and blurred, as networks draw them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from solo_rt.decode import decode
from solo_rt.decode.refinement import refine
from solo_rt.engine import open_engine
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.train.data.instances.world import held_out_world
from solo_rt.train.evaluate.detections import Detection, Segmentation
from solo_rt.train.evaluate.masks import score_masks
from solo_rt.types import Frame, Instances, Masks
from solo_rt.world import MIN_VISIBLE, World

FIRST_SEED = 300  # the constants were chosen on worlds below 30
NETWORK, BLUR = (256, 448), 0.7
DISPLACEMENTS = (0.0, 0.4, 0.8)  # cells; solov2-nano on the world is between the first two
Mask = NDArray[np.bool_]
Size = tuple[int, int]


class Tally:
    """What became of the objects of one kind of frame."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []
        self.detections: list[Detection] = []
        self.seconds, self.objects = 0.0, 0

    def add(self, found: Mask, truth: Mask) -> None:
        diagonal = float(np.hypot(*truth.shape))
        edges = ((edge(found, share * diagonal), edge(truth, share * diagonal)) for share in (0.02, 0.005))
        self.rows.append((iou(found, truth), *(iou(a, b) for a, b in edges)))

    def show(self, name: str, *, ap: float | None = None) -> None:
        """Print a line; masks of the whole grid, which have no AP, say nothing about time."""
        shares = "".join(f"{100 * share:9.2f}" for share in np.mean(self.rows, axis=0))
        took = f"{1e4 * self.seconds / self.objects:9.2f}" if ap is not None and self.objects else ""
        print(f"{name:34s}{len(self.rows):8d}{'' if ap is None else f'{100 * ap:.2f}':>9s}{shares}{took}", flush=True)


def edge(mask: Mask, distance: float) -> Mask:
    """Return the pixels of a mask at most so many steps, at least one, from what is not part of it."""
    inner = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
    return np.asarray(mask & (inner <= max(1, round(distance))))


def iou(a: Mask, b: Mask) -> float:
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0


def as_video(rgb: NDArray[np.uint8]) -> Frame:
    """Return the picture, whose sides are even, in I420."""
    height, width = rgb.shape[:2]
    planes = np.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel(), np.cumsum([4, 1]) * (height * width // 4))
    halves = (planes[0].reshape(height, width), *(plane.reshape(height // 2, width // 2) for plane in planes[1:]))
    return Frame(halves, "yuv420p")


def compare(found: Instances, rgb: NDArray[np.uint8], truths: dict[int, Mask], tallies: dict[str, Tally]) -> None:
    """Add the truths, by the number of what was found of them, to the tallies of the three ways."""
    frames = {"refined, RGB": Frame((rgb,), "rgb24"), "refined, I420": as_video(rgb)}
    for way, tally in tallies.items():
        masks = found
        if way in frames:
            started = time.process_time()
            masks = refine(found, frames[way])
            tally.seconds += time.process_time() - started
            tally.objects += len(found)
        for i, truth in truths.items():
            tally.add(masks.dense(i), truth)
        codes = [Segmentation(size=[*code["size"]], counts=code["counts"]) for code in masks.rles()]  # type: ignore[misc]
        tally.detections += [
            Detection(image_id=0, category_id=int(label) + 1, segmentation=code, score=float(score))
            for label, code, score in zip(masks.class_ids, codes, masks.scores, strict=True)
        ]


def new_tallies() -> dict[str, Tally]:
    return {way: Tally() for way in ("from the grid", "refined, RGB", "refined, I420")}


def of_worlds(frames: int, size: Size) -> None:
    """Print the lines of the procedural world."""
    tallies, data = new_tallies(), held_out_world(seed=FIRST_SEED, size=size, length=frames)
    engine = open_engine("solov2-nano", threads=1)
    spec = engine.spec
    for index in range(frames):
        scene = World(FIRST_SEED + index, height=size[0], width=size[1]).render(7 * index)
        tensor, box = prepare(Frame((scene.rgb,), "rgb24"), spec.input)
        outputs = engine.infer({spec.input.name: tensor})
        found = decode({name: values[0] for name, values in outputs.items()}, spec, box)
        before = {way: len(tally.detections) for way, tally in tallies.items()}
        shown = found[found.scores >= 0.25]
        compare(found, scene.rgb, match(scene.ids, scene.class_ids, shown), tallies)
        for way, tally in tallies.items():
            for detection in tally.detections[before[way] :]:
                detection["image_id"] = index + 1
    engine.close()
    categories = {name: i + 1 for i, name in enumerate(data.classes)}
    for way, tally in tallies.items():
        scores = score_masks(data, tally.detections, indices=range(frames), categories=categories)
        tally.show(f"solov2-nano {way}", ap=scores.metrics["AP"])


def match(ids: NDArray[np.uint8], class_ids: NDArray[np.int32], found: Instances) -> dict[int, Mask]:
    """Return the true masks that were found, by the number of the instance, which covers more than half of them."""
    masks, pairs = [found.dense(i) for i in range(len(found))], {}
    for k, label in enumerate(class_ids, 1):
        truth = ids == k
        if truth.sum() >= MIN_VISIBLE * truth.size:
            ious = [iou(mask, truth) if found.class_ids[i] == label else 0.0 for i, mask in enumerate(masks)]
            if max(ious, default=0.0) > 0.5:
                pairs[int(np.argmax(ious))] = truth
    return pairs


def of_photographs(folder: Path, displacement: float) -> None:
    """Print the lines of photographs whose masks a network has drawn as well as that."""
    tallies = new_tallies()
    for rgb, truths in photographs(folder):
        size = rgb.shape[0], rgb.shape[1]
        found = drawn(truths, Letterbox.fit(size, NETWORK), displacement)
        compare(found, rgb, dict(enumerate(truths)), tallies)
    for way, tally in tallies.items():
        tally.show(f"photographs, {displacement} off, {way}")


def photographs(folder: Path) -> Iterator[tuple[NDArray[np.uint8], list[Mask]]]:
    """Yield pictures with the masks of their objects, both of even sizes, objects of at least 30 x 30 pixels."""
    content = json.loads((folder / "instances.json").read_text())
    for image in content["images"]:
        height, width = image["height"], image["width"]
        polygons = [
            entry["segmentation"]
            for entry in content["annotations"]
            if entry["image_id"] == image["id"] and isinstance(entry["segmentation"], list)
        ]
        codes = [coco_mask.merge(coco_mask.frPyObjects(each, height, width)) for each in polygons]
        even = np.s_[: height // 2 * 2, : width // 2 * 2]
        masks = [coco_mask.decode(code).astype(bool)[even] for code in codes]
        picture = cv2.imread(str(folder / "images" / image["file_name"]))
        if masks := [mask for mask in masks if mask.sum() >= 900]:
            yield np.ascontiguousarray(picture[even][..., ::-1]), masks


def drawn(truths: list[Mask], box: Letterbox, displacement: float) -> Instances:
    """Return the masks as a network of size `NETWORK` has them on its grid."""
    step, grid, rng = box.step(4), (NETWORK[0] // 4, NETWORK[1] // 4), np.random.default_rng(0)
    seen = (round(box.frame_size[0] * step[0]), round(box.frame_size[1] * step[1]))
    y, x = np.mgrid[: box.frame_size[0], : box.frame_size[1]].astype(np.float32)
    soft = []
    for truth in truths:
        waves = (
            rng.standard_normal((2, max(2, seen[0] // 6), max(2, seen[1] // 6)), np.float32) * displacement / step[0]
        )
        dy, dx = (cv2.resize(wave, truth.shape[::-1], interpolation=cv2.INTER_CUBIC) for wave in waves)
        moved = cv2.remap(truth.astype(np.float32), x + dx, y + dy, cv2.INTER_LINEAR)
        cells = cv2.resize(moved, seen[::-1], interpolation=cv2.INTER_AREA)
        cells = cv2.GaussianBlur(cells, (0, 0), BLUR) if displacement else cells
        soft.append(
            np.pad(np.round(255 * cells).astype(np.uint8), [(0, g - s) for g, s in zip(grid, seen, strict=True)])
        )
    n = len(soft)
    regions = np.tile(np.array([0, 0, grid[1], grid[0]], np.int32), (n, 1))
    masks = Masks(np.concatenate(soft, axis=None), np.arange(n + 1) * (grid[0] * grid[1]), regions, grid, step)
    return Instances(box.frame_size, np.zeros((n, 4), np.float32), np.ones(n, np.float32), np.zeros(n, np.int32), masks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--coco", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = map(int, options.size.split("x"))
    print(f"{'':34s} objects       AP      IoU  edge 2%    0.5%    ms / 10 objects")
    of_worlds(options.frames, (height, width))
    for displacement in DISPLACEMENTS if options.coco else ():
        of_photographs(options.coco, displacement)


if __name__ == "__main__":
    main()
