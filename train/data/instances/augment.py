"""How training pictures with instances are varied: size, mirror image, colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import UsageError
from solo_rt.train.data.colours import change_colours

Image = NDArray[np.uint8]  # [H, W, 3] RGB


@dataclass(frozen=True, slots=True)
class Scales:
    """Sizes a picture may get: the largest whose sides are at most `long` and one of `shorts`, chosen at random.

    Source: the "multi-scale" training of the released SOLO configurations.
    """

    long: int  # pixels
    shorts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.long < 1 or not self.shorts or min(self.shorts) < 1:
            raise UsageError(f"scales: expected a long side and short sides in pixels, got {self.long}, {self.shorts}")

    def draw(self, size: tuple[int, int], rng: np.random.Generator) -> float:
        """Return the factor for a picture of `size`."""
        short = self.shorts[int(rng.integers(len(self.shorts)))]
        return min(self.long / max(size), short / min(size))


@dataclass(frozen=True, slots=True)
class Jitter:
    """By how much colours may change; the published recipes change none."""

    brightness: float = 0.0  # each factor is uniform in 1 - x .. 1 + x
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0  # degrees in either direction

    def __post_init__(self) -> None:
        shares = (self.brightness, self.contrast, self.saturation)
        if not 0 <= min(shares) <= max(shares) <= 1 or not 0 <= self.hue <= 180:
            raise UsageError(f"jitter: expected shares in 0..1 and a hue in 0..180 degrees, got {shares}, {self.hue}")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training picture."""

    scales: Scales
    mirror: float = 0.5  # probability
    jitter: Jitter | None = None


def usual_scales(imgsz: tuple[int, int]) -> Scales:
    """Return sizes for a network with one input size: down to three quarters of what fits."""
    return Scales(max(imgsz), tuple(round(min(imgsz) * eighth / 8) for eighth in (8, 7, 6)))


def jitter_colours(image: Image, jitter: Jitter, rng: np.random.Generator) -> Image:
    """Return the picture with its colours changed by as much as `jitter` allows; all chance comes from `rng`."""
    shares = (jitter.brightness, jitter.contrast, jitter.saturation)
    brightness, contrast, saturation = (rng.uniform(1 - share, 1 + share) for share in shares)
    hue = np.deg2rad(rng.uniform(-jitter.hue, jitter.hue))
    return change_colours(image, brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
