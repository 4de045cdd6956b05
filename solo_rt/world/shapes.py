"""Signed distance fields of the procedural world's object classes.

Each function takes `x`, `y`, float32 arrays in units of the object's radius (y down), and returns the approximate
signed distance to the outline in the same units, negative inside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def _fold(x: Field, y: Field, n: int) -> tuple[Field, Field]:
    """Return (rho, angle) with the plane folded onto one sector of an n-fold rotational symmetry, angle in ±pi/n."""
    sector = np.float32(2 * np.pi / n)
    angle = np.arctan2(y, x)
    return np.hypot(x, y), angle - sector * np.round(angle / sector)


def _polygon(x: Field, y: Field, n: int, radius: float) -> Field:
    rho, angle = _fold(x, y, n)
    return rho * np.cos(angle) - np.float32(radius * np.cos(np.pi / n))


def ball(x: Field, y: Field) -> Field:
    return np.hypot(x, y) - np.float32(0.95)


def crate(x: Field, y: Field) -> Field:
    return _polygon(x, y, 4, 1.15)


def wedge(x: Field, y: Field) -> Field:
    return _polygon(x, y, 3, 1.25)


def star(x: Field, y: Field) -> Field:
    """Five points; the outline runs straight from outer radius 1.2 to inner radius 0.5."""
    rho, angle = _fold(x, y, 5)
    tip, notch = np.array([1.2, 0.0]), 0.5 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    edge = notch - tip
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    px, py = rho * np.cos(angle), np.abs(rho * np.sin(angle))
    return ((px - tip[0]) * normal[0] + (py - tip[1]) * normal[1]).astype(np.float32)


def ring(x: Field, y: Field) -> Field:
    return np.abs(np.hypot(x, y) - np.float32(0.76)) - np.float32(0.24)


def cross(x: Field, y: Field) -> Field:
    ax, ay = np.abs(x), np.abs(y)
    long, short = np.float32(1.0), np.float32(0.34)
    return np.minimum(np.maximum(ax - long, ay - short), np.maximum(ax - short, ay - long))


def moon(x: Field, y: Field) -> Field:
    return np.maximum(np.hypot(x, y) - np.float32(1.0), np.float32(0.8) - np.hypot(x - np.float32(0.55), y))


SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "ball": ball,
    "crate": crate,
    "wedge": wedge,
    "star": star,
    "ring": ring,
    "cross": cross,
    "moon": moon,
}
REACH = 1.3  # no outline is farther than this from the centre, in radii
