"""An instance data set as the training loop consumes it: augmented pictures and mask targets, batched as tensors."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.instances import Annotation, InstanceSet, open_instances
from solo_rt.train.data.instances.augment import Augmentation, Scales, usual_scales
from solo_rt.train.data.instances.packed import PackedObjects
from solo_rt.train.data.instances.placement import Axis, centre_of_mass, place_mask
from solo_rt.train.data.samples import MASK_STRIDES, Batch, Sample, collate

log = logging.getLogger(__name__)


class InstanceTrainingSet:
    """`data`, augmented. See `TrainingSet`.

    Batches are `imgsz` large and no picture is larger; without it, pictures are as large as the augmentation says and
    batches as their largest picture, in multiples of 32. Crowds and annotations without an area teach nothing and are
    left out; pictures in which nothing is left stay as examples of background.
    """

    def __init__(self, data: InstanceSet, augmentation: Augmentation, *, imgsz: tuple[int, int] | None = None) -> None:
        self.data, self.augmentation, self.imgsz, self.classes = data, augmentation, imgsz, data.classes

    def __len__(self) -> int:
        return len(self.data)

    def name(self, index: int) -> str:
        """Return what a user knows picture `index` by."""
        return self.data.names[index]

    def tall(self) -> NDArray[np.bool_] | None:
        """Return which pictures are not wider than high; None where it is not known or does not matter.

        Source: the GroupSampler of mmdetection, for batches as large as their largest picture.
        """
        if self.imgsz is not None or self.data.sizes is None:
            return None
        height, width = self.data.sizes.T
        return np.asarray(height >= width, np.bool_)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Return picture `index`, augmented; all chance comes from `rng`. Raises: DatasetError."""
        picture = self.data[index]
        how = self.augmentation
        factor = how.scales.draw(picture.size, rng)
        mirrored = bool(rng.random() < how.mirror)
        if self.imgsz is not None:
            factor = min(factor, *(room / side for room, side in zip(self.imgsz, picture.size, strict=True)))
        height, width = (max(1, int(side * factor + 0.5)) for side in picture.size)
        image = np.asarray(cv2.resize(picture.load(), (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        if mirrored:
            image = np.ascontiguousarray(image[:, ::-1])
        rows = Axis.make(picture.size[0], height)
        columns = Axis.make(picture.size[1], width, mirrored=mirrored)
        objects = [annotation for annotation in picture.annotations if self.data.trained(annotation)]
        return make_sample(image, objects, picture.size, rows, columns, mirrored=mirrored)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Return the samples as one batch."""
        return collate(samples, imgsz=self.imgsz)


def open_instance_training(
    uri: str,
    *,
    imgsz: tuple[int, int] | None = None,
    scales: Scales | None = None,
    augmented: bool = True,
    classes: Sequence[str] | None = None,
    images: int | None = None,
) -> InstanceTrainingSet:
    """Return the training part of the data set that `uri` names, see `open_instances`, with its usual augmentation.

    `scales` are those of a published recipe, whose batches are as large as their largest picture unless there is an
    `imgsz`; without `scales`, `imgsz` is needed and decides. Unless `augmented`, every picture has the largest size
    and nothing else happens to it, which is what over-fitting wants. Raises: as `open_instances`.
    """
    if scales is None:
        assert imgsz is not None, "a training set needs scales or imgsz"
        scales = usual_scales(imgsz)
    how = Augmentation(scales)
    if not augmented:
        how = Augmentation(Scales(scales.long, (max(scales.shorts),)), mirror=0.0)
    data = open_instances(uri, split="train", classes=classes, images=images)
    if isinstance(data.read, PackedObjects):
        _report_untrained(data, data.read)
    return InstanceTrainingSet(data, how, imgsz=imgsz)


def _report_untrained(data: InstanceSet, objects: PackedObjects) -> None:
    """Say how many objects are not trained on though nobody called them crowds, and whether there are no others."""
    left, count = objects.untrained(), len(objects.labels)
    for number in left.tolist():
        place = int(np.searchsorted(objects.first, number, side="right")) - 1
        box = ", ".join(f"{side:g}" for side in objects.boxes[number])
        log.info("%s: not trained on: an object of area %g in %s", data.names[place], objects.areas[number], box)
    if len(left):
        log.warning(
            "%s: %d of %d objects are not trained on: nothing is in their masks, or their boxes are thinner than a "
            "pixel; boxes are x, y, width, height in pixels (-v names them)",
            data.folder,
            len(left),
            count,
        )
    if len(left) + objects.crowds.sum() == count:
        log.warning("%s: there is no object to learn from, of %d annotations", data.folder, count)


def make_sample(
    image: NDArray[np.uint8],
    objects: Sequence[Annotation],
    size: tuple[int, int],
    rows: Axis,
    columns: Axis,
    *,
    mirrored: bool,
) -> Sample:
    """Return the sample of a picture of `size` that has become `image`, with the objects that still show in it.

    Boxes are the annotated ones, scaled and kept within the picture.
    """
    labels, boxes, centres, cutouts = [], [], [], []
    for item in objects:
        cutout = item.segmentation.cut_out(size)
        centre = centre_of_mass(cutout, rows, columns)
        if centre is None:
            continue
        x0, y0, x1, y1 = np.multiply(item.box, [columns.resized / size[1], rows.resized / size[0]] * 2)
        if mirrored:
            x0, x1 = columns.resized - x1, columns.resized - x0
        labels.append(item.label)
        boxes.append(np.clip([x0, y0, x1, y1], 0, [columns.resized, rows.resized] * 2))
        centres.append(centre)
        cutouts.append(cutout)

    def targets(stride: int) -> NDArray[np.uint8]:
        placed = np.zeros((len(cutouts), *(len(axis.central[stride][0]) for axis in (rows, columns))), np.uint8)
        for cutout, out in zip(cutouts, placed, strict=True):
            place_mask(cutout, rows, columns, stride=stride, out=out)
        return placed

    masks, masks_8, masks_16 = map(targets, MASK_STRIDES)
    return Sample(
        image=image,
        masks=masks,
        masks_8=masks_8,
        masks_16=masks_16,
        labels=np.array(labels, np.int64),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        centres=np.array(centres, np.float32).reshape(-1, 2),
    )
