"""How training pictures with instances are varied: size and mirror image; the published recipes change no colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solo_rt.errors import UsageError


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
class Augmentation:
    """What may happen to a training picture."""

    scales: Scales
    mirror: float = 0.5  # probability


def usual_scales(imgsz: tuple[int, int]) -> Scales:
    """Return sizes for a network with one input size: down to three quarters of what fits."""
    return Scales(max(imgsz), tuple(round(min(imgsz) * eighth / 8) for eighth in (8, 7, 6)))
