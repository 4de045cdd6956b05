"""What an instance data set is: names of classes, and pictures with an annotated mask for every object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.instances.masks import Segmentation
from solo_rt.train.data.pictures import read_picture

Size = tuple[int, int]  # height, width in pixels


class Annotation(NamedTuple):
    """One object of a picture, or a crowd of objects that nobody told apart."""

    label: int  # index into the classes
    box: tuple[float, float, float, float]  # xyxy, pixels, as annotated: not always tight around the mask
    area: float  # pixels, as annotated
    crowd: bool
    segmentation: Segmentation


class AnnotatedPicture(NamedTuple):
    """A picture file and what is in it, in the order of the annotations."""

    id: int  # of the picture in its data set
    path: Path
    size: Size
    annotations: tuple[Annotation, ...]
    draw: Callable[[], NDArray[np.uint8]] | None = None  # instead of reading a file

    def load(self) -> NDArray[np.uint8]:
        """Return the picture, `uint8 [H, W, 3] RGB`, as stored. Raises: DatasetError if it is missing or not `size`."""
        if self.draw is not None:
            return self.draw()
        return read_picture(self.path, size=self.size)


@dataclass(frozen=True, slots=True)
class InstanceSet:
    """Pictures by number, in ascending order of their ids. Holds no open file, so it works in any process."""

    kind: str  # the scheme of its address: "coco", "cityscapes" or "world"
    folder: Path  # of the pictures
    classes: tuple[str, ...]  # in ascending order of their category ids
    category_ids: tuple[int, ...]  # of the classes, what a results file calls them
    picture_ids: NDArray[np.int64]
    names: tuple[str, ...]  # paths of the pictures below `folder`
    read: Callable[[int], tuple[Size, tuple[Annotation, ...]]]  # picture i without its pixels
    least_area: float = 0.0  # pixels; annotations smaller than that are measured but not trained on
    sizes: NDArray[np.int32] | None = None  # [pictures, 2] height, width, where no picture need be read for them
    skipped: Mapping[str, int] = field(default_factory=dict)  # how many records could not be used, by reason
    has_parts: bool = True  # whether the pictures to measure are others than those to train on
    draw: Callable[[int], NDArray[np.uint8]] | None = None  # picture i as it should be loaded, where there are no files

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> AnnotatedPicture:
        """Return picture `index` without its pixels. Raises: DatasetError when its labels cannot be read."""
        size, annotations = self.read(index)
        draw = partial(self.draw, index) if self.draw is not None else None
        return AnnotatedPicture(int(self.picture_ids[index]), self.folder / self.names[index], size, annotations, draw)

    def trained(self, annotation: Annotation) -> bool:
        """Return whether an annotation is an object to learn from: no crowd, not empty, not thinner than a pixel.

        Source: the data sets of mmdetection and of the released SOLO.
        """
        x0, y0, x1, y1 = annotation.box
        thick = x1 - x0 >= 1 and y1 - y0 >= 1
        return not annotation.crowd and thick and annotation.area > 0 and annotation.area >= self.least_area
