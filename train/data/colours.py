"""Changes of the colours of a picture; numpy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def change_colours(
    image: NDArray[np.uint8], *, brightness: float, contrast: float, saturation: float, hue: float = 0.0
) -> NDArray[np.uint8]:
    """Return the picture, `uint8 [H, W, 3] RGB`, with three of them multiplied and its hue turned by `hue` radians.

    All four are affine in the colour, so one 3x4 matrix does it: contrast pulls towards the mean luma of the picture,
    saturation towards the luma of the pixel, hue turns the colour around the grey axis.
    """
    mean = float(np.asarray(cv2.mean(image)[:3]) @ LUMA)
    colour = contrast * (saturation * np.eye(3) + (1 - saturation) * LUMA) @ _turn(hue)
    matrix = brightness * np.concatenate([colour, np.full((3, 1), (1 - contrast) * mean)], axis=1)
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def _turn(angle: float) -> NDArray[np.float64]:
    """Return the rotation of RGB around the grey axis by `angle` (Rodrigues' formula)."""
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), axis)
    return np.asarray(
        np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis), np.float64
    )
