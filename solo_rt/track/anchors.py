"""The one point of an object that is in a zone or not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.track.sides import Float64
from solo_rt.types import Instances

# Note [Anchor]
# A zone is drawn on the ground, so `bottom`, the middle of the lower edge of an object's box, is where people and cars
# stand, and the default: the rest of them is seen before what lies behind the zone. Seen from above, or on a picture
# that has no ground, it is the `mask`, its centre of gravity, which no outstretched arm moves far as it does the box;
# `centre`, the middle of the box, is for what stands still while it changes its shape.

# Note [Nudge]
# Boxes and the points of zones often have whole coordinates, and then an anchor lies exactly on a corner or a side. All
# of them are moved by a little that no whole number of pixels makes good, so that none does, and every crossing is one.
# It is up and to the left: what touches the lower edge of the picture is in a zone that ends there.
NUDGE = -1e-5 * np.sqrt((2.0, 3.0))  # pixels


def find_anchors(found: Instances, chosen: NDArray[np.intp], *, with_masks: bool) -> Float64:
    """Return the anchors of the chosen objects, `[N, 3, 2]` xy in pixels, in the order of `zones.ANCHORS`.

    That of the mask is found `with_masks` only, and where there is none it is that of the box.
    """
    boxes = found.boxes[chosen].astype(np.float64)
    anchors = np.empty((len(boxes), 3, 2))
    anchors[...] = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    anchors[:, 0, 1] = boxes[:, 3]
    if with_masks and len(chosen):
        insides = (cv2.threshold(found.masks.crop(i), 127, 1, cv2.THRESH_BINARY)[1] for i in chosen.tolist())
        moments = np.array([(m["m00"], m["m10"], m["m01"]) for m in map(cv2.moments, insides)])
        there = moments[:, 0] > 0
        cells = moments[there, 1:] / moments[there, :1] + found.masks.regions[chosen[there], :2]
        anchors[there, 2] = (cells + 0.5) / found.masks.step[::-1]
    return anchors + NUDGE
