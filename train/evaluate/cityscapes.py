"""The numbers of the Cityscapes benchmark beside the class IoU: categories, and instances that count the same.

Source: Cordts et al. 2016, section 4.1, and evalPixelLevelSemanticLabeling.py of cityscapesScripts, whose results a
test compares with these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solo_rt.train.data.semantic.cityscapes import NUMBERED, TRAINED
from solo_rt.train.evaluate.confusion import Float64, Int64, divide, intersection_over_union, mean
from solo_rt.types import IGNORED

CATEGORIES = tuple(dict.fromkeys(label.category for label in TRAINED))  # the seven that are not void
CATEGORY = np.array([CATEGORIES.index(label.category) for label in TRAINED])  # of each class
FIRST_INSTANCE = NUMBERED + 1  # the benchmark takes smaller ids for regions that are no single object

AVERAGE_PIXELS = {  # of an instance in the training set
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
COUNTED = tuple(k for k, label in enumerate(TRAINED) if label.has_instances)
COUNTED_CATEGORIES = tuple(dict.fromkeys(int(CATEGORY[k]) for k in COUNTED))


@dataclass(frozen=True, slots=True)
class InstanceTally:
    """Pixels of instances that were found and missed, weighted so that every instance of a class counts the same.

    Tallies of several pictures, or processes, add up.
    """

    classes: Float64  # [19, 2] found, missed
    categories: Float64  # [7, 2] likewise, where any class of the category is a hit

    @classmethod
    def none(cls) -> InstanceTally:
        """Return the tally of no picture."""
        return cls(np.zeros((len(TRAINED), 2)), np.zeros((len(CATEGORIES), 2)))

    def __add__(self, other: InstanceTally) -> InstanceTally:
        return InstanceTally(self.classes + other.classes, self.categories + other.categories)


def count_instances(instances: NDArray[np.uint16], found: NDArray[np.uint8]) -> InstanceTally:
    """Return the tally of one picture; `found uint8 [H, W]` are classes, any other value is a miss.

    A pixel of an instance of s pixels weighs (average size of its class) / s.
    """
    of_id, category_of_id = _class_of_instance()
    category_of = np.full(256, IGNORED, np.uint8)
    category_of[: len(CATEGORY)] = CATEGORY
    everything, wanted = instances.ravel(), of_id[instances]
    sizes = np.bincount(everything, minlength=1 << 16)
    hits = np.bincount(instances[(found == wanted) & (wanted != IGNORED)], minlength=1 << 16)
    near = np.bincount(
        instances[(category_of[found] == category_of_id[instances]) & (wanted != IGNORED)], minlength=1 << 16
    )
    result = InstanceTally.none()
    for id_ in np.flatnonzero((sizes > 0) & (of_id != IGNORED)):
        k = of_id[id_]
        weight = AVERAGE_PIXELS[TRAINED[k].name] / sizes[id_]
        result.classes[k] += weight * hits[id_], weight * (sizes[id_] - hits[id_])
        result.categories[CATEGORY[k]] += weight * near[id_], weight * (sizes[id_] - near[id_])
    return result


def category_iou(confusion: Int64) -> dict[str, float]:
    """Return the IoU of each of the seven categories; a class taken for another of its category is a hit."""
    merged = np.zeros((len(CATEGORIES), len(CATEGORIES) + 1), np.int64)
    columns = np.append(CATEGORY, len(CATEGORIES))
    np.add.at(merged, (CATEGORY[:, None], columns[None, :]), confusion)
    return dict(zip(CATEGORIES, map(float, intersection_over_union(merged)), strict=True))


def instance_iou(confusion: Int64, tally: InstanceTally) -> tuple[dict[str, float], dict[str, float]]:
    """Return the iIoU of the eight classes, and of the two categories, whose instances are labelled one by one.

    False alarms are counted as pixels, without a weight: nobody knows which instance they belong to.
    """
    alarms = confusion[:, :-1].sum(axis=0) - np.diagonal(confusion)
    within = np.arange(len(CATEGORIES))[:, None] == CATEGORY  # [7, 19]
    outside = np.array([confusion[~mine][:, :-1][:, mine].sum() for mine in within])
    classes = divide(tally.classes[:, 0], tally.classes.sum(axis=1) + alarms)
    categories = divide(tally.categories[:, 0], tally.categories.sum(axis=1) + outside)
    return (
        {TRAINED[k].name: float(classes[k]) for k in COUNTED},
        {CATEGORIES[c]: float(categories[c]) for c in COUNTED_CATEGORIES},
    )


def summarise_cityscapes(confusion: Int64, tally: InstanceTally | None) -> dict[str, float]:
    """Return the category mIoU and, if instances were counted, the mean iIoU of classes and of categories."""
    found = {"category_mIoU": mean(np.array(list(category_iou(confusion).values())))}
    if tally is not None:
        for name, values in zip(("iIoU", "category_iIoU"), instance_iou(confusion, tally), strict=True):
            found[name] = mean(np.array(list(values.values())))
    return found


def _class_of_instance() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return class and category of each of 2^16 instance ids, IGNORED for what is not counted."""
    classes, categories = np.full((2, 1 << 16), IGNORED, np.uint8)
    for k in COUNTED:
        ids = slice(max(TRAINED[k].id * NUMBERED, FIRST_INSTANCE), (TRAINED[k].id + 1) * NUMBERED)
        classes[ids], categories[ids] = k, CATEGORY[k]
    return classes, categories
