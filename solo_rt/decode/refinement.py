"""Sharper masks: outlines drawn from the network's grid to the edges that the picture has there."""

from __future__ import annotations

from dataclasses import replace

from solo_rt import _native
from solo_rt.errors import UsageError
from solo_rt.types import Frame, Instances, Masks

COARSE_PIXELS = 4.0  # a side of a cell from here on leaves something to refine
MOST_PIXELS = 8192  # a side of a frame, twice the cells that a grid may have


def refine(instances: Instances, frame: Frame) -> Instances:
    """Return the instances with masks on a grid of 2 x 2 pixels, outlines drawn to the edges of colour in the frame.

    Order, number, scores and ids stay; boxes are those of the new masks. On a grid whose cells are smaller than
    `COARSE_PIXELS` masks stay as they are. How it is done: Note [Refining a mask] in plugins/kernels/mask_refine.h.
    Raises: UsageError for a frame on a GPU, of another size, or with a side of more than `MOST_PIXELS`.
    """
    frame.require_planes()
    size, masks = (frame.height, frame.width), instances.masks
    if instances.frame_size != size:
        raise UsageError(f"refine: expected instances of a frame of {size}, got those of {instances.frame_size}")
    if max(size) > MOST_PIXELS:
        raise UsageError(
            f"refine: expected a frame of at most {MOST_PIXELS} pixels a side, got {size[1]}x{size[0]}; leave it out"
        )
    if len(instances) == 0 or 1 / max(masks.step) < COARSE_PIXELS:
        return instances
    data, offsets, regions = _native.refine_masks(
        frame.planes, masks.data, masks.offsets, masks.regions, masks.grid_size, masks.step
    )
    grid_size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    fine = Masks(data, offsets, regions, grid_size, step=(0.5, 0.5))
    boxes = _native.mask_boxes(data, offsets, regions, grid_size, fine.step, size, 1)
    return replace(instances, boxes=boxes, masks=fine)
