"""Target assignment against its slow twin, and the rules one by one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from solo_rt.train.data.samples import Batch
from solo_rt.train.losses.targets import assign

GRIDS = (5, 4, 2)
RANGES = ((1, 32), (16, 64), (48, 512))
CELLS = sum(g * g for g in GRIDS)


def make_batch(objects: list[tuple[int, float, float, float, float]], *, pictures: int = 2) -> Batch:
    """Return a batch of 64x128 pictures; an object is (picture, centre x, centre y, width, height)."""
    n = len(objects)
    rows = torch.tensor(objects, dtype=torch.float32).reshape(n, 5)
    centres, half = rows[:, 1:3], rows[:, 3:5] / 2
    return Batch(
        images=torch.zeros(pictures, 3, 64, 128),
        masks=torch.ones(n, 16, 32, dtype=torch.uint8),
        masks_8=torch.ones(n, 8, 16, dtype=torch.uint8),
        masks_16=torch.ones(n, 4, 8, dtype=torch.uint8),
        labels=torch.arange(n) % 3,
        boxes=torch.cat([centres - half, centres + half], dim=1),
        centres=centres,
        image_index=rows[:, 0].long(),
    )


def assign_slowly(batch: Batch) -> tuple[list[int], set[tuple[int, int]]]:
    """The rules, one object and one cell at a time."""
    height, width = batch.images.shape[-2:]
    owner = [-1] * (len(batch.images) * CELLS)
    pairs = set()
    for g in range(len(batch.labels)):
        x0, y0, x1, y1 = batch.boxes[g].tolist()
        cx, cy = batch.centres[g].tolist()
        scale = math.sqrt((x1 - x0) * (y1 - y0))
        start = int(batch.image_index[g]) * CELLS
        for grid, (low, high) in zip(GRIDS, RANGES, strict=True):
            if low <= scale <= high:
                j, i = math.floor(cx / width * grid), math.floor(cy / height * grid)
                half_w, half_h = 0.2 * (x1 - x0) / 2, 0.2 * (y1 - y0) / 2
                top = max(0, math.floor((cy - half_h) / height * grid), i - 1)
                bottom = min(grid - 1, math.floor((cy + half_h) / height * grid), i + 1)
                left = max(0, math.floor((cx - half_w) / width * grid), j - 1)
                right = min(grid - 1, math.floor((cx + half_w) / width * grid), j + 1)
                for row in range(top, bottom + 1):
                    for column in range(left, right + 1):
                        cell = start + row * grid + column
                        owner[cell] = g
                        pairs.add((cell, g))
            start += grid * grid
    return owner, pairs


def check(batch: Batch) -> None:
    targets = assign(batch, grids=GRIDS, scale_ranges=RANGES)
    owner, pairs = assign_slowly(batch)
    assert targets.owner.tolist() == owner
    found = list(zip(targets.pair_cell.tolist(), targets.pair_object.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == pairs


@pytest.mark.parametrize("seed", range(20))
def test_random_objects_are_assigned_as_the_rules_say(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(25, 5, generator=generator)
    # Sizes are no multiples of anything, so that no centre sits on a cell border where rounding would decide.
    objects = [(int(a * 2), 127.3 * b, 63.7 * c, 3.3 + 90 * d, 2.7 + 60 * e) for a, b, c, d, e in u.tolist()]
    check(make_batch(objects))


def test_no_objects_give_no_positives() -> None:
    targets = assign(make_batch([]), grids=GRIDS, scale_ranges=RANGES)
    assert (targets.owner == -1).all()
    assert len(targets.owner) == 2 * CELLS
    assert len(targets.pair_cell) == 0


def test_scale_ranges_overlap_and_include_their_ends() -> None:
    def levels(side: float) -> list[bool]:
        pair_cell = assign(make_batch([(0, 64.1, 32.1, side, side)]), grids=GRIDS, scale_ranges=RANGES).pair_cell
        starts = [0, 25, 41, CELLS]
        return [bool(((pair_cell >= a) & (pair_cell < b)).any()) for a, b in itertools.pairwise(starts)]

    assert levels(8) == [True, False, False]
    assert levels(16) == levels(32) == [True, True, False]
    assert levels(64) == [False, True, True]
    assert levels(600) == [False, False, False]


def test_a_shared_cell_keeps_both_masks_and_the_later_class() -> None:
    batch = make_batch([(0, 64.1, 32.1, 10, 10), (0, 65.1, 33.1, 10, 10)])
    targets = assign(batch, grids=GRIDS, scale_ranges=RANGES)
    assert targets.pair_object.tolist() == [0, 1]
    assert targets.pair_cell[0] == targets.pair_cell[1]
    assert targets.owner[targets.pair_cell[0]] == 1


def test_the_last_writers_keep_one_mask_per_cell() -> None:
    batch = make_batch([(0, 64.1, 32.1, 10, 10), (1, 30.1, 12.1, 60, 50), (1, 33.1, 12.1, 60, 50)])
    targets = assign(batch, grids=GRIDS, scale_ranges=RANGES)
    kept = targets.last_writers()
    assert len(kept.pair_cell) < len(targets.pair_cell)
    assert kept.pair_cell.tolist() == sorted(set(targets.pair_cell.tolist()))
    assert kept.pair_object.tolist() == [targets.owner[cell] for cell in kept.pair_cell]
    assert kept.owner is targets.owner


def test_a_mask_too_small_for_its_target_is_assigned_all_the_same() -> None:
    batch = make_batch([(0, 64.1, 32.1, 20, 20)])
    batch.masks.zero_()  # at 1/4; that the object has a pixel, the data set sees to
    assert len(assign(batch, grids=GRIDS, scale_ranges=RANGES).pair_cell) > 0


def test_large_objects_take_at_most_nine_cells_and_borders_clip() -> None:
    wide = assign(make_batch([(0, 64.1, 32.1, 128, 128)]), grids=(16,), scale_ranges=((1, 512),))
    assert sorted(wide.pair_cell.tolist()) == [16 * row + column for row in (7, 8, 9) for column in (7, 8, 9)]
    corner = assign(make_batch([(0, 0.4, 0.4, 128, 128)]), grids=(16,), scale_ranges=((1, 512),))
    assert sorted(corner.pair_cell.tolist()) == [0, 1, 16, 17]


def test_a_tenth_of_the_box_in_either_direction_is_reached() -> None:
    # Cells 16 pixels wide and 8 high; the centre is 1.1 pixels right of a border and 2.1 below one.
    def cells(width: float, height: float) -> list[int]:
        batch = make_batch([(0, 65.1, 34.1, width, height)])
        return sorted(assign(batch, grids=(8,), scale_ranges=((1, 512),)).pair_cell.tolist())

    assert cells(10, 20) == [4 * 8 + 4]
    assert cells(12, 12) == [4 * 8 + 3, 4 * 8 + 4]  # 1.2 to the left
    assert cells(10, 22) == [3 * 8 + 4, 4 * 8 + 4]  # 2.2 upwards
    assert cells(12, 22) == [3 * 8 + 3, 3 * 8 + 4, 4 * 8 + 3, 4 * 8 + 4]


def test_the_grid_spans_the_padded_batch() -> None:
    batch = make_batch([(0, 70.1, 40.1, 10, 10)])
    rows = []
    for height in (64, 128):
        padded = replace(batch, images=torch.zeros(2, 3, height, 128))
        rows.append(int(assign(padded, grids=(4,), scale_ranges=((1, 512),)).pair_cell) // 4)
    assert rows == [2, 1]
