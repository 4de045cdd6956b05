"""Targets and losses of SOLOv2 against the plain loops of the usual code.

    python tests/bench/targets.py [--repeats 9] [--pictures 4] [--objects 10]

Pictures of 448x768 with elliptic objects, annotated as run-length codes; raw outputs of the size of solov2-light-r18
for 80 classes. Measured is the way from the codes to the losses, and on to their gradients with respect to the outputs.
The loops decode every object once; per level and object they find its centre of mass in the dense mask, shrink the mask
with OpenCV and copy it for every cell; per level and picture they convolve and take Dice losses, as the released code
does. Both must agree. Times are the least of several runs; ours makes the targets of SOLO, at 1/8 and 1/16, as well.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from stopwatch import least_ms_each
from torch import Tensor

from solo_rt.train.data.instances.base import Annotation
from solo_rt.train.data.instances.masks import RunLengths
from solo_rt.train.data.instances.placement import Axis
from solo_rt.train.data.instances.training import make_sample
from solo_rt.train.data.samples import Batch, collate
from solo_rt.train.losses.instances import solo_losses
from solo_rt.train.losses.targets import assign
from solo_rt.train.models.parts.levels import GRIDS, LIGHT_448_RANGES
from solo_rt.train.models.solov2 import KernelHeads

SIZE, CLASSES, CHANNELS = (448, 768), 80, 128
TARGET = (SIZE[0] // 4, SIZE[1] // 4)


def draw_objects(count: int, rng: np.random.Generator) -> list[Annotation]:
    """Return ellipses of all sizes."""
    objects = []
    while len(objects) < count:
        mask = np.zeros(SIZE, np.uint8)
        axes = np.exp(rng.uniform(math.log(8), math.log(200), 2)).astype(int)
        centre = rng.uniform((0, 0), (SIZE[1], SIZE[0])).astype(int)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, 1, -1)
        if mask.any():
            code = coco_mask.encode(np.asfortranarray(mask))
            x, y, w, h = coco_mask.toBbox(code)
            label = int(rng.integers(CLASSES))
            objects.append(
                Annotation(label, (x, y, x + w, y + h), float(mask.sum()), False, RunLengths(code["counts"]))
            )
    return objects


def make_heads(pictures: int) -> KernelHeads:
    """Return random outputs with gradients."""
    torch.manual_seed(0)
    logits = [torch.randn(pictures, CLASSES, s, s).sub_(4) for s in GRIDS]
    kernels = [torch.randn(pictures, CHANNELS, s, s).mul_(0.1) for s in GRIDS]
    heads = KernelHeads(logits, kernels, torch.rand(pictures, CHANNELS, *TARGET))
    for tensor in (*heads.logits, *heads.kernels, heads.features):
        tensor.requires_grad_()
    return heads


def build_batch(pictures: list[list[Annotation]]) -> Batch:
    """Return the training batch, made as the data loader makes it."""
    rows, columns = Axis.make(SIZE[0], SIZE[0]), Axis.make(SIZE[1], SIZE[1])
    image = np.zeros((1, 1, 3), np.uint8)  # pictures are not what is measured
    samples = [make_sample(image, objects, SIZE, rows, columns, mirrored=False) for objects in pictures]
    return collate(samples, imgsz=SIZE)


def total_loss(heads: KernelHeads, batch: Batch) -> Tensor:
    """Return the loss that training minimises."""
    targets = assign(batch, grids=GRIDS, scale_ranges=LIGHT_448_RANGES)
    return solo_losses(heads, batch, targets).total


@dataclass
class LevelTargets:
    """What the loops collect for one level of one picture."""

    classes: Tensor  # [S, S], -1 for background
    masks: list[Tensor]  # one copy per pair
    cells: list[int]


def loop_targets(objects: list[Annotation]) -> list[LevelTargets]:
    """Return the targets of one picture, found object by object and cell by cell."""
    levels = []
    height, width = SIZE
    masks = [coco_mask.decode(item.segmentation.rle(SIZE)) for item in objects]
    for grid, (low, high) in zip(GRIDS, LIGHT_448_RANGES, strict=True):
        level = LevelTargets(torch.full((grid, grid), -1), [], [])
        for item, mask in zip(objects, masks, strict=True):
            x0, y0, x1, y1 = item.box
            if not low <= math.sqrt((x1 - x0) * (y1 - y0)) <= high:
                continue
            ys, xs = np.nonzero(mask)
            cx, cy = xs.mean(), ys.mean()
            j, i = int(cx / width * grid), int(cy / height * grid)
            half_w, half_h = 0.1 * (x1 - x0), 0.1 * (y1 - y0)
            top = max(0, int((cy - half_h) / height * grid), i - 1)
            bottom = min(grid - 1, int((cy + half_h) / height * grid), i + 1)
            left = max(0, int((cx - half_w) / width * grid), j - 1)
            right = min(grid - 1, int((cx + half_w) / width * grid), j + 1)
            small = torch.from_numpy(cv2.resize(mask, TARGET[::-1], interpolation=cv2.INTER_LINEAR))
            for row in range(top, bottom + 1):
                for column in range(left, right + 1):
                    level.classes[row, column] = item.label
                    target = torch.zeros(TARGET, dtype=torch.uint8)
                    target[: small.shape[0], : small.shape[1]] = small
                    level.masks.append(target)
                    level.cells.append(row * grid + column)
        levels.append(level)
    return levels


def loop_loss(heads: KernelHeads, found: list[list[LevelTargets]]) -> Tensor:
    """Return the same loss from the targets `found` in each picture."""
    dice = []
    for index in range(len(GRIDS)):
        for picture, levels in enumerate(found):
            level = levels[index]
            if not level.masks:
                continue
            kernels = heads.kernels[index][picture].flatten(1)[:, level.cells].T[:, :, None, None]
            p = torch.sigmoid(F.conv2d(heads.features[picture][None], kernels)[0]).flatten(1)
            q = torch.stack(level.masks).float().flatten(1)
            a, b, c = (p * q).sum(1), (p * p).sum(1) + 0.001, (q * q).sum(1) + 0.001
            dice.append(1 - 2 * a / (b + c))
    classes = torch.cat([level[i].classes.flatten() for i in range(len(GRIDS)) for level in found])
    logits = torch.cat([x.permute(0, 2, 3, 1).reshape(-1, CLASSES) for x in heads.logits])
    positives = int((classes >= 0).sum())
    wanted = F.one_hot(classes + 1, CLASSES + 1)[:, 1:].float()
    p = logits.sigmoid()
    weight = (0.25 * wanted + 0.75 * (1 - wanted)) * ((1 - p) * wanted + p * (1 - wanted)).pow(2)
    focal = (F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * weight).sum()
    return focal / (positives + 1) + 3 * torch.cat(dice).mean()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--objects", type=int, default=10)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    pictures = [draw_objects(given.objects, rng) for _ in range(given.pictures)]
    heads = make_heads(given.pictures)
    batch, found = build_batch(pictures), [loop_targets(objects) for objects in pictures]
    ours, loops = total_loss(heads, batch), loop_loss(heads, found)
    torch.testing.assert_close(ours, loops, rtol=1e-4, atol=1e-4)
    pairs = sum(len(level.cells) for levels in found for level in levels)
    print(f"{given.pictures} pictures, {given.objects} objects each, {pairs} pairs; loss {float(ours.detach()):.4f}")

    least = least_ms_each(
        [
            lambda: build_batch(pictures),
            lambda: [loop_targets(objects) for objects in pictures],
            lambda: total_loss(heads, batch),
            lambda: loop_loss(heads, found),
            lambda: total_loss(heads, batch).backward(),
            lambda: loop_loss(heads, found).backward(),
        ],
        given.repeats,
    )
    targets, losses, gradients = zip(least[::2], least[1::2], strict=True)
    rows = {
        "targets": targets,
        "losses": losses,
        "losses, gradients": gradients,
        "targets, losses": np.add(targets, losses),
        "all": np.add(targets, gradients),
    }
    for name, (mine, theirs) in rows.items():
        print(f"{name:<18} {mine:8.1f} ms   loops {theirs:8.1f} ms   {theirs / mine:5.1f} x")


if __name__ == "__main__":
    main()
