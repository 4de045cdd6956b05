"""What a semantic data set is: names of classes, and pictures whose every pixel has one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from solo_rt.decoders import Rgb
from solo_rt.errors import DatasetError
from solo_rt.train.data.pictures import Image, Labels
from solo_rt.types import IGNORED


@dataclass(frozen=True, slots=True)
class Legend:
    """What labels mean: label i is `classes[i]`, what Cityscapes calls a trainId."""

    classes: tuple[str, ...]
    palette: tuple[Rgb, ...]
    unpainted: tuple[int, ...] = ()  # classes that are learnt and measured but not painted, such as a background
    mirrored: tuple[tuple[int, int], ...] = ()  # classes that change places in a mirrored picture: left and right arm

    def __post_init__(self) -> None:
        count = len(self.classes)
        if not 1 <= count <= IGNORED or len(set(self.classes)) != count or len(self.palette) != count:
            raise DatasetError(
                f"expected 1..{IGNORED} distinct classes with a colour each, got {count} classes "
                f"({len(set(self.classes))} distinct) and {len(self.palette)} colours"
            )
        for colour in self.palette:
            if not 0 <= min(colour) <= max(colour) <= 255:
                raise DatasetError(f"expected colours of values in 0..255, got {colour}")
        if not all(0 <= label < count for label in self.unpainted):
            raise DatasetError(f"expected unpainted classes below {count}, got {self.unpainted}")


class Picture(NamedTuple):
    """One picture and its truth, of the same size."""

    name: str
    image: Image
    labels: Labels


@dataclass(frozen=True, slots=True)
class SemanticSet:
    """Pictures by number, read when they are asked for. Holds no open file, so it works in any process."""

    kind: str  # the scheme of its address: "cityscapes", "voc", ...
    legend: Legend
    names: tuple[str, ...]
    read: Callable[[int], tuple[Image, Labels]]
    has_parts: bool = True  # whether the pictures to measure are others than those to train on

    @property
    def classes(self) -> tuple[str, ...]:
        return self.legend.classes

    @property
    def palette(self) -> tuple[Rgb, ...]:
        return self.legend.palette

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Picture:
        """Return picture `index`.

        Raises: DatasetError when a file is missing, damaged or of another size, or has a label that is no class.
        """
        image, labels = self.read(index)
        if image.shape[:2] != labels.shape:
            raise DatasetError(
                f"{self.kind} {self.names[index]}: expected a picture and labels of one size, "
                f"got {image.shape[0]}x{image.shape[1]} and {labels.shape[0]}x{labels.shape[1]}"
            )
        strange = labels[(labels >= len(self.classes)) & (labels != IGNORED)]
        if strange.size:
            raise DatasetError(
                f"{self.kind} {self.names[index]}: expected labels below {len(self.classes)} or {IGNORED}, got "
                f"{', '.join(map(str, np.unique(strange)[:5]))}; see what there is with solo-rt check-labels"
            )
        return Picture(self.names[index], image, labels)
