"""Random changes of a picture and its labels that leave its meaning alone; numpy and OpenCV only."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from solo_rt.errors import UsageError
from solo_rt.train.data.pictures import Image, Labels
from solo_rt.train.data.semantic.base import Legend
from solo_rt.types import IGNORED

BALANCED_SHARE = 0.75  # a balanced crop shows no class on more than this share of its labelled pixels
BALANCED_TRIES = 10
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training picture, in this order: scale and crop, mirror, blur, colour.

    The factor of the scale is uniform in `scales` and multiplies the picture as it is, or, where `short_side` is
    given, as it would be with that short side.
    """

    crop: tuple[int, int]  # height, width in pixels: the size of a batch
    short_side: int | None = None  # pixels
    scales: tuple[float, float] = (0.5, 2.0)
    mirror: float = 0.5  # probability
    blur: float = 0.5  # probability of a Gaussian with a standard deviation of up to one pixel
    jitter: float = 0.4  # brightness, contrast and saturation each change by up to this share
    balanced: bool = False  # draw another crop, a few times, while one class fills nearly all of it

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or not 0 < self.scales[0] <= self.scales[1] or not 0 <= self.jitter < 1:
            raise UsageError(
                f"augmentation: expected a crop of pixels, rising scales and a jitter in [0, 1), got crop "
                f"{self.crop}, scales {self.scales}, jitter {self.jitter}"
            )


def augment(
    image: Image, labels: Labels, how: Augmentation, *, legend: Legend, rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Return the changed picture and labels, new arrays, at most `how.crop` large; all chance comes from `rng`.

    Pictures are resized bilinearly without a prefilter, as the run time does, labels to the nearest one. What is
    smaller than the crop stays so: the batch pads it, after normalisation, with the mean colour and `IGNORED`.
    """
    image, labels = _scale_and_crop(image, labels, how, rng)
    if rng.random() < how.mirror:
        image, labels = mirror(image, labels, legend)
    if rng.random() < how.blur:
        sigma = rng.uniform(0, 1)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma)) if sigma > 0.1 else image
    if how.jitter:
        brightness, contrast, saturation = rng.uniform(1 - how.jitter, 1 + how.jitter, 3)
        image = change_colours(image, brightness=brightness, contrast=contrast, saturation=saturation)
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def change_colours(image: Image, *, brightness: float, contrast: float, saturation: float) -> Image:
    """Return the picture with the three of them multiplied.

    All are affine in the colour, so one 3x4 matrix does it: contrast pulls towards the mean luma of the picture,
    saturation towards the luma of the pixel.
    """
    mean = float(np.asarray(cv2.mean(image)[:3]) @ LUMA)
    colour = contrast * (saturation * np.eye(3) + (1 - saturation) * LUMA)
    matrix = brightness * np.concatenate([colour, np.full((3, 1), (1 - contrast) * mean)], axis=1)
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), np.uint8)


def mirror(image: Image, labels: Labels, legend: Legend) -> tuple[Image, Labels]:
    """Return both mirrored left to right; classes that have a left and a right change places."""
    lookup = np.arange(256, dtype=np.uint8)
    for left, right in legend.mirrored:
        lookup[left], lookup[right] = right, left
    labels = labels[:, ::-1]
    return image[:, ::-1], lookup[labels] if legend.mirrored else labels


def _scale_and_crop(image: Image, labels: Labels, how: Augmentation, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Return a random window, resized. Only the window is resized, so a factor of 2 costs no more than one of 1."""
    h, w = labels.shape
    factor = rng.uniform(*how.scales) * (how.short_side / min(h, w) if how.short_side else 1.0)
    window, size = zip(*(_span(side, goal, factor) for side, goal in zip((h, w), how.crop, strict=True)), strict=True)
    y, x = (int(rng.integers(0, room - taken + 1)) for room, taken in zip((h, w), window, strict=True))
    for _ in range(BALANCED_TRIES if how.balanced else 0):
        if _largest_share(labels[y : y + window[0], x : x + window[1]]) <= BALANCED_SHARE:
            break
        y, x = (int(rng.integers(0, room - taken + 1)) for room, taken in zip((h, w), window, strict=True))
    part = slice(y, y + window[0]), slice(x, x + window[1])
    if size == window:
        return image[part], labels[part]
    shape = size[1], size[0]
    return (
        np.asarray(cv2.resize(image[part], shape, interpolation=cv2.INTER_LINEAR), np.uint8),
        np.asarray(cv2.resize(labels[part], shape, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8),
    )


def _span(side: int, goal: int, factor: float) -> tuple[int, int]:
    """Return how many pixels of a side are shown, and how many pixels that becomes: `goal`, or all there is."""
    window = max(1, round(goal / factor))
    return (window, goal) if window <= side else (side, min(goal, max(1, round(side * factor))))


def _largest_share(labels: Labels) -> float:
    """Return which share of the labelled pixels the most frequent class has; 1 where nothing is labelled."""
    counts = np.bincount(labels.ravel(), minlength=256)[:IGNORED]
    return float(counts.max() / counts.sum()) if counts.any() else 1.0


def default_augmentation(kind: str, crop: tuple[int, int] | None = None) -> Augmentation:
    """Return what suits the data set `kind`, with its usual crop unless another is given.

    Scales are those of the code bases that published results: relative to a short side of 520 pixels for photographs
    of any size, to the full picture for Cityscapes, whose training at a smaller base costs up to 4 points of mIoU.
    Pictures of the procedural world are drawn 1 to 1.25 times as large as the crop.
    """
    if kind == "world":
        return Augmentation(crop or (256, 448), scales=(0.7, 1.1), blur=0.2, jitter=0.2)
    if kind in ("camvid", "camvid-trainval"):  # of the small pictures that they are, by day and at dusk
        return Augmentation(crop or (352, 480), blur=0.2, jitter=0.5)
    if kind == "cityscapes":
        return Augmentation(crop or (512, 1024), blur=0.0)
    if kind == "lip":  # people cut out of photographs: narrow, and never smaller than they are
        return Augmentation(crop or (480, 480), short_side=480, scales=(0.75, 1.5))
    return Augmentation(crop or (480, 480), short_side=520)
