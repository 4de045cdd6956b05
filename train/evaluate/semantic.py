"""How well a semantic model labels pixels: picture -> run time -> confusion matrix, at the size of the labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from solo_rt.engine import Engine
from solo_rt.errors import DatasetError
from solo_rt.progress import OnProgress
from solo_rt.train.data.left_out import LeftOut, require_some
from solo_rt.train.data.semantic import Picture, SemanticSet, open_semantic
from solo_rt.train.data.semantic.cityscapes import instance_files, read_instance_ids
from solo_rt.train.evaluate.cityscapes import (
    InstanceTally,
    category_iou,
    count_instances,
    instance_iou,
    summarise_cityscapes,
)
from solo_rt.train.evaluate.confusion import (
    Int64,
    accuracies,
    balanced_error_rate,
    count_pixels,
    intersection_over_union,
    summarise,
)
from solo_rt.train.evaluate.label_sheet import LabelSheet
from solo_rt.train.evaluate.protocol import describe_labels
from solo_rt.train.evaluate.shards import WHOLE, Shard, Subject
from solo_rt.train.evaluate.views import Views, semantic_decoder
from solo_rt.types import IGNORED

OnPicture = Callable[[Picture, NDArray[np.uint8]], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted on some pictures. The tallies of parts add up to that of the whole."""

    images: int
    confusion: Int64  # [C, C + 1], see count_pixels
    instances: InstanceTally | None = None  # only of Cityscapes
    enlarged: bool = False  # whether labels, not logits, were enlarged for any picture

    def __add__(self, other: Tally) -> Tally:
        known = self.instances is not None and other.instances is not None
        return Tally(
            self.images + other.images,
            self.confusion + other.confusion,
            sum((part.instances for part in (self, other) if part.instances), InstanceTally.none()) if known else None,
            self.enlarged or other.enlarged,
        )


@dataclass(frozen=True, slots=True)
class Counted(Subject):
    """A tally, and everything that must agree before the tallies of parts can be added."""

    protocol: str
    tally: Tally

    @property
    def what(self) -> tuple[object, ...]:
        return self.data, self.split, self.max_images, self.model, self.protocol


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Shares of 1; NaN for a class that does not occur."""

    IoU: float
    accuracy: float
    pixels: int
    iIoU: float = math.nan  # only of Cityscapes' classes with instances


@dataclass(frozen=True, slots=True)
class SemanticScores:
    """The measures of a data set, all shares of 1."""

    data: str  # kind of data set
    images: int
    protocol: str  # how labels came to the size of the pictures
    metrics: dict[str, float]  # mIoU, pixel_accuracy, mean_accuracy, weighted_IoU; iIoU, BER ... where defined
    per_class: dict[str, ClassScore]
    per_category: dict[str, float]  # IoU of Cityscapes' categories; empty for other data

    def to_record(self) -> dict[str, object]:
        """Return the scores as plain JSON values; what is not defined is null."""

        def plain(value: float) -> float | None:
            return None if math.isnan(value) else value

        return {
            "data": self.data,
            "images": self.images,
            "protocol": self.protocol,
            "metrics": {name: plain(value) for name, value in self.metrics.items()},
            "per_class": {
                name: {
                    "IoU": plain(score.IoU),
                    "accuracy": plain(score.accuracy),
                    "pixels": score.pixels,
                    "iIoU": plain(score.iIoU),
                }
                for name, score in self.per_class.items()
            },
            "per_category": {name: plain(value) for name, value in self.per_category.items()},
        }


def evaluate_pixels(
    engine: Engine,
    subject: Subject,
    *,
    shard: Shard = WHOLE,
    views: Views,
    pictures: Path | None = None,
    strict: bool = False,
    on_image: OnProgress = lambda done, total: None,
) -> Counted:
    """Return what was counted on the shard of the pictures, after drawing the first ones to `pictures`, a PNG.

    Pictures that cannot be read are left out and named, unless `strict`.
    Raises: as `count`; UsageError when the drawing cannot be written.
    """
    data = open_semantic(subject.data, split=subject.split)
    sheet = LabelSheet(data.legend)
    indices = shard.of(range(len(data))[: subject.max_images])
    left_out = LeftOut(strict=strict)
    tally = count(engine, data, indices, views=views, left_out=left_out, on_image=on_image, on_picture=sheet.add)
    left_out.report(len(indices))
    if pictures is not None:
        sheet.write(pictures)
    return Counted(**asdict(subject), protocol=describe_labels(engine, views), tally=tally)


def score_counted(counted: Counted) -> SemanticScores:
    """Return the scores of what was counted. Raises: DatasetError."""
    data = open_semantic(counted.data, split=counted.split)
    require_some(counted.tally.images, of=len(data))
    return score(counted.tally, data, protocol=f"{counted.split}, {counted.protocol}")


def count(
    engine: Engine,
    data: SemanticSet,
    indices: Iterable[int],
    *,
    views: Views,
    left_out: LeftOut | None = None,
    on_image: OnProgress = lambda done, total: None,
    on_picture: OnPicture = lambda picture, found: None,
) -> Tally:
    """Return the tally of some pictures of `data`, without those that cannot be read if `left_out` takes them.

    Raises: UsageError if the model finds instances or lacks what the views need; DatasetError if it lacks a class of
    the data set, or a file cannot be read.
    """
    lookup = match_classes(engine.spec.classes, data.classes)
    label = views.labeller(engine)
    paths = instance_files(data) if data.kind == "cityscapes" else None
    classes, order = len(data.classes), list(indices)
    limit = engine.spec.input.height, engine.spec.input.width
    only_labels = semantic_decoder(engine.spec).output == "labels"
    tally = Tally(0, np.zeros((classes, classes + 1), np.int64), InstanceTally.none() if paths else None)
    left_out = left_out or LeftOut(strict=True)
    for done, index in enumerate(order, 1):
        try:
            picture, ids = data[index], read_instance_ids(paths[index]) if paths else None
        except DatasetError as error:
            left_out.add(index, error)
        else:
            found = lookup[label(picture.image)]
            tally += Tally(
                1,
                count_pixels(picture.labels, found, classes=classes),
                count_instances(ids, found) if ids is not None else None,
                only_labels and any(side > most for side, most in zip(picture.labels.shape, limit, strict=True)),
            )
            on_picture(picture, found)
        on_image(done, len(order))
    return tally


def score(tally: Tally, data: SemanticSet, *, protocol: str) -> SemanticScores:
    """Return what follows from a tally."""
    confusion = tally.confusion
    metrics = summarise(confusion)
    weighted: dict[str, float] = {}
    categories: dict[str, float] = {}
    if data.kind == "cityscapes":
        metrics |= summarise_cityscapes(confusion, tally.instances)
        categories = category_iou(confusion)
        weighted = instance_iou(confusion, tally.instances)[0] if tally.instances is not None else {}
    elif data.kind == "sbu":
        metrics["BER"] = balanced_error_rate(confusion)
    rows = zip(data.classes, intersection_over_union(confusion), accuracies(confusion), confusion.sum(1), strict=True)
    per_class = {
        name: ClassScore(float(iou), float(accuracy), int(pixels), weighted.get(name, math.nan))
        for name, iou, accuracy, pixels in rows
    }
    return SemanticScores(data.kind, tally.images, protocol, metrics, per_class, categories)


def match_classes(model: tuple[str, ...], data: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return `uint8 [256]`, from the classes of the model to those of the data set by name; IGNORED for all others.

    Raises: DatasetError when the model lacks a class.
    """
    missing = [name for name in data if name not in model]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DatasetError(f"the model lacks the data set's classes {missing[:5]}{more}; it has {list(model[:5])} ...")
    lookup = np.full(256, IGNORED, np.uint8)
    lookup[[model.index(name) for name in data]] = range(len(data))
    return lookup
