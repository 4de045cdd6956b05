"""Preparing, drawing and run-length coding on one core, against the usual way over whole frames.

    python tests/bench/render.py [--objects 20] [--height 1080] [--repeats 7]

A 16:9 frame of noise with ellipses of 4 to 8 % of it, on the grid of a 448x256 network. The usual way: OpenCV and numpy
on RGB, float masks resized to the frame, coloured through boolean indexing, blended with addWeighted, and encoded by
pycocotools; labels are left out of it. Times are the least of several runs, in milliseconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from stopwatch import least_ms

from solo_rt import _native
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.render import Style, render
from solo_rt.render.palette import PALETTE
from solo_rt.spec import InputSpec
from solo_rt.types import Frame, Instances, Masks, UInt8

SPEC = InputSpec(256, 448)
GRID = (SPEC.height // 4, SPEC.width // 4)
CLASSES = tuple(f"class {i}" for i in range(80))


def make_scene(height: int, objects: int, seed: int = 0) -> tuple[Frame, Instances]:
    """Return a yuv420p frame of noise and ellipses on it, edges a few cells soft."""
    rng = np.random.default_rng(seed)
    size = (height, height * 16 // 9)
    half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    y, u, v = (rng.integers(0, 256, shape, np.uint8) for shape in (size, half, half))
    box = Letterbox.fit(size, (SPEC.height, SPEC.width))
    rows, columns = np.mgrid[: GRID[0], : GRID[1]]
    crops, regions = [], []
    for _ in range(objects):
        area = rng.uniform(0.04, 0.08) * box.resized[0] * box.resized[1] / 16
        ry, rx = np.sqrt(area / np.pi) * np.exp(rng.normal(0, 0.2)) ** np.array([1, -1])
        cy, cx = rng.uniform(ry, box.resized[0] / 4 - ry), rng.uniform(rx, box.resized[1] / 4 - rx)
        distance = np.hypot((rows - cy) / ry, (columns - cx) / rx)
        soft = np.clip(127.5 + 255 * (1 - distance) * min(ry, rx) / 3, 0, 255).astype(np.uint8)
        ys, xs = np.nonzero(soft > 127)
        y0, x0, y1, x1 = max(ys.min() - 1, 0), max(xs.min() - 1, 0), ys.max() + 2, xs.max() + 2
        regions.append([x0, y0, min(x1, GRID[1]), min(y1, GRID[0])])
        crops.append(soft[y0:y1, x0:x1].ravel())
    masks = Masks(
        np.concatenate(crops),
        np.cumsum([0, *map(len, crops)], dtype=np.int64),
        np.array(regions, np.int32),
        GRID,
        box.step(4),
    )
    boxes = _native.mask_boxes(masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step, size)
    scores = rng.uniform(0.3, 1, objects).astype(np.float32)
    return Frame((y, u, v), "yuv420p"), Instances(size, boxes, scores, np.arange(objects, dtype=np.int32) % 80, masks)


def usual_prepare(rgb: UInt8) -> np.ndarray:
    """Return the input tensor the usual way: resize, normalise, pad, transpose."""
    box = Letterbox.fit(rgb.shape[:2], (SPEC.height, SPEC.width))
    resized = cv2.resize(rgb, box.resized[::-1]).astype(np.float32)
    padded = np.zeros((SPEC.height, SPEC.width, 3), np.float32)
    padded[: box.resized[0], : box.resized[1]] = (resized - SPEC.mean) / SPEC.std
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None])


def usual_masks(found: Instances) -> list[np.ndarray]:
    """Return the masks at frame size, through float probabilities at the size of the frame."""
    box = Letterbox.fit(found.frame_size, (SPEC.height, SPEC.width))
    dense = []
    for i, (x0, y0, x1, y1) in enumerate(found.masks.regions):
        grid = np.zeros(GRID, np.float32)
        grid[y0:y1, x0:x1] = found.masks.crop(i) / np.float32(255)
        padded = cv2.resize(grid, (SPEC.width, SPEC.height))[: box.resized[0], : box.resized[1]]
        dense.append(cv2.resize(padded, found.frame_size[::-1]) > 0.5)
    return dense


def usual_blend(rgb: UInt8, masks: list[np.ndarray], found: Instances) -> UInt8:
    """Return the picture with filled masks, blended over the whole frame."""
    filled = rgb.copy()
    for mask, class_id in zip(masks, found.class_ids, strict=True):
        filled[mask] = PALETTE[class_id % len(PALETTE)]
    return cv2.addWeighted(filled, 0.45, rgb, 0.55, 0)


def usual_codes(masks: list[np.ndarray]) -> list[dict[str, object]]:
    return [coco_mask.encode(np.asfortranarray(mask.view(np.uint8))) for mask in masks]


def main() -> None:
    """Print one line per task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)

    yuv, found = make_scene(options.height, options.objects)
    rgb = Frame((yuv.rgb(),), "rgb24")
    picture, dense = rgb.rgb(), usual_masks(found)
    packed = np.concatenate([plane.ravel() for plane in yuv.planes]).reshape(-1, yuv.width)
    bare = Style(labels=False)

    def to_rgb() -> UInt8:
        return cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)

    def usual() -> None:
        masks = usual_masks(found)
        usual_blend(picture, masks, found)
        usual_codes(masks)

    def ours(frame: Frame) -> None:
        render(frame, found, CLASSES)
        found.rles()

    tasks: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("prepare, from yuv420p", lambda: usual_prepare(to_rgb()), lambda: prepare(yuv, SPEC)),
        ("prepare, from rgb24", lambda: usual_prepare(picture), lambda: prepare(rgb, SPEC)),
        ("yuv420p to rgb24", to_rgb, yuv.rgb),
        ("run-length codes", lambda: usual_codes(usual_masks(found)), found.rles),
        (
            "masks on yuv420p",
            lambda: usual_blend(to_rgb(), dense, found),
            lambda: render(yuv, found, CLASSES, style=bare),
        ),
        ("masks on rgb24", lambda: usual_blend(picture, dense, found), lambda: render(rgb, found, CLASSES, style=bare)),
        ("all, labels, yuv420p", lambda: (to_rgb(), usual()), lambda: ours(yuv)),
        ("all, labels, rgb24", usual, lambda: ours(rgb)),
    ]
    share = 100 * np.mean([mask.mean() for mask in dense])
    print(f"{yuv.width}x{yuv.height}, {options.objects} objects of {share:.1f} % on average")
    print(f"{'':24s} usual ms  solo-rt ms  ratio")
    for name, slow, fast in tasks:
        before, after = least_ms(slow, max(2, options.repeats // 3)), least_ms(fast, options.repeats)
        print(f"{name:24s} {before:8.2f} {after:11.2f} {before / after:5.1f}x")


if __name__ == "__main__":
    main()
