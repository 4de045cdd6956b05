"""All numbers of an instance model on a data set, each under the name of its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.evaluate.cityscapes_instances import CityscapesScores, score_cityscapes
from solo_rt.train.evaluate.detections import Detection, common_classes
from solo_rt.train.evaluate.masks import score_masks


@dataclass(frozen=True, slots=True)
class InstanceScores:
    """COCO mask AP and, on Cityscapes, that benchmark's own AP too: they are not the same number.

    Everything is measured over the classes that model and data set have in common; -1 stands for what the data has no
    object for.
    """

    images: int
    protocol: str  # how the instances were found
    metrics: dict[str, float]  # the twelve COCO numbers
    per_class: dict[str, dict[str, float]]  # AP, AP50, objects
    cityscapes: CityscapesScores | None
    only_in_model: tuple[str, ...]  # classes that were not measured
    only_in_data: tuple[str, ...]


def score_instances(
    data: InstanceSet,
    detections: Sequence[Detection],
    *,
    indices: Sequence[int],
    classes: Sequence[str],
    protocol: str,
) -> InstanceScores:
    """Return the scores of what a model with `classes` found in the pictures `indices`, and `protocol` as it is.

    Raises: DatasetError.
    """
    common = common_classes(classes, data)
    coco = score_masks(data, detections, indices=indices, categories=common)
    own = score_cityscapes(data, detections, indices=indices, categories=common) if data.kind == "cityscapes" else None
    return InstanceScores(
        images=len(indices),
        protocol=protocol,
        metrics=coco.metrics,
        per_class=coco.per_class,
        cityscapes=own,
        only_in_model=tuple(name for name in classes if name not in common),
        only_in_data=tuple(name for name in data.classes if name not in common),
    )
