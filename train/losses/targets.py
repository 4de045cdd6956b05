"""Which grid cells are responsible for which object (SOLO paper, section 3.3), without loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_rt.train.data.samples import Batch

CENTRE_REGION = 0.2  # sigma: share of the box around the centre of mass that is positive


@dataclass(frozen=True, slots=True)
class Targets:
    """Training targets of a batch. A cell's number is `picture * cells + cell`, cells level by level, row-major."""

    owner: Tensor  # int64 [B * cells]: the object that gives the cell its class, -1 for background
    pair_cell: Tensor  # int64 [P]: cell of each (cell, object) pair, by picture; a cell can occur in several pairs
    pair_object: Tensor  # int64 [P]

    def last_writers(self) -> Targets:
        """Return the targets with one pair per positive cell: the object that gives it its class, in order of cells."""
        cells = torch.nonzero(self.owner >= 0).squeeze(1)
        return Targets(self.owner, cells, self.owner[cells])


def assign(batch: Batch, *, grids: Sequence[int], scale_ranges: Sequence[tuple[float, float]]) -> Targets:
    """Return the targets of `batch`; `scale_ranges` are inclusive, in pixels, one pair per grid.

    An object belongs to every level whose scale range holds the square root of its box area. In a level it takes the
    cells around its centre of mass that a fifth of its box reaches, at most 3x3. Where objects share a cell, the
    later one names the class, but the cell is paired with both masks, as in the released code of SOLOv2; that of SOLO
    and Decoupled SOLO keeps the `last_writers`. Objects without a pixel have been left out of the batch; one that only
    its mask target is too coarse for counts like any other.
    """
    b, _, height, width = batch.images.shape
    device = batch.boxes.device
    sizes = torch.tensor(grids, device=device)  # [L]
    starts = torch.cumsum(sizes**2, 0) - sizes**2
    cells = sum(grid * grid for grid in grids)
    low, high = torch.tensor(scale_ranges, device=device, dtype=torch.float32).T  # [L] each

    x0, y0, x1, y1 = batch.boxes.T  # [G] each
    scale = torch.sqrt((x1 - x0) * (y1 - y0))[:, None]
    hit = (scale >= low) & (scale <= high)  # [G, L]

    cx, cy = batch.centres[:, :1] / width, batch.centres[:, 1:] / height  # [G, 1], 0..1
    reach_x = CENTRE_REGION / 2 * (x1 - x0)[:, None] / width
    reach_y = CENTRE_REGION / 2 * (y1 - y0)[:, None] / height
    around = torch.tensor([-1, 0, 1], device=device)

    def span(centre: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Return the three candidate rows (or columns) `[G, L, 3]` and which of them are taken."""
        index = torch.floor(centre * sizes).long()[..., None] + around
        first = torch.floor((centre - reach) * sizes).clamp(min=0)[..., None]
        last = torch.minimum(torch.floor((centre + reach) * sizes), sizes - 1)[..., None]
        return index, (index >= first) & (index <= last)

    rows, row_taken = span(cy, reach_y)
    columns, column_taken = span(cx, reach_x)
    taken = hit[..., None, None] & row_taken[..., :, None] & column_taken[..., None, :]  # [G, L, 3, 3]
    cell = (
        batch.image_index[:, None, None, None] * cells
        + starts[None, :, None, None]
        + rows[..., :, None] * sizes[None, :, None, None]
        + columns[..., None, :]
    )
    objects, *_ = torch.nonzero(taken, as_tuple=True)  # [P], ascending: later objects come last
    pair_cell = cell[taken]
    owner = torch.full((b * cells,), -1, dtype=torch.int64, device=device)
    owner.scatter_reduce_(0, pair_cell, objects, reduce="amax")
    return Targets(owner, pair_cell, objects)
