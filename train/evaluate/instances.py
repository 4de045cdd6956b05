"""All numbers of an instance model on a data set, each under the name of its protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from solo_rt.engine import Engine
from solo_rt.files import replace_file
from solo_rt.progress import OnProgress
from solo_rt.train.data.instances import InstanceSet, open_instances
from solo_rt.train.data.left_out import LeftOut, require_some
from solo_rt.train.evaluate.cityscapes_instances import CityscapesScores, score_cityscapes
from solo_rt.train.evaluate.comparison import write_comparison
from solo_rt.train.evaluate.detections import (
    Detection,
    ResizableEngine,
    Scale,
    common_classes,
    detect,
    detect_exactly,
)
from solo_rt.train.evaluate.masks import score_masks
from solo_rt.train.evaluate.protocol import describe_instances
from solo_rt.train.evaluate.shards import WHOLE, Findings, Shard, Subject


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


def evaluate_instances(
    engine: Engine,
    subject: Subject,
    *,
    shard: Shard = WHOLE,
    exact: bool = False,
    scale: Scale | None = None,
    conf: float = 0.0,
    strict: bool = False,
    on_image: OnProgress = lambda done, total: None,
) -> Findings:
    """Return what `engine` finds in its shard of the pictures, as `detect` does, or as `detect_exactly` if `exact`.

    `scale` is for `detect_exactly` with an engine that can be had for other sizes. Pictures that cannot be read are
    left out and named, unless `strict`. Raises: UsageError for a model that labels pixels; DatasetError.
    """
    data = open_instances(subject.data, split=subject.split, images=subject.max_images)
    indices = shard.of(range(len(data)))
    if exact and isinstance(engine, ResizableEngine):
        scale = scale or engine.test_scale
    protocol, left_out = describe_instances(engine, conf=conf, exact=exact, scale=scale), LeftOut(strict=strict)
    if exact:
        found = detect_exactly(engine, data, indices, scale=scale, conf=conf, left_out=left_out, on_image=on_image)
    else:
        found = detect(engine, data, indices, conf=conf, left_out=left_out, on_image=on_image)
    left_out.report(len(indices))
    return Findings(
        **asdict(subject),
        protocol=protocol,
        classes=engine.spec.classes,
        detections=tuple(found),
        left_out=tuple(sorted(left_out.indices)),
    )


def score_findings(findings: Findings, *, results: Path | None = None, pictures: Path | None = None) -> InstanceScores:
    """Return the scores, after writing the detections in COCO's format and a comparison of pictures if asked for.

    Raises: DatasetError; UsageError when the comparison cannot be written.
    """
    data = open_instances(findings.data, split=findings.split, images=findings.max_images)
    indices = [index for index in range(len(data)) if index not in findings.left_out]
    require_some(len(indices), of=len(data))
    detections = findings.detections
    if results is not None:
        replace_file(results, json.dumps(detections).encode())
    if pictures is not None:
        write_comparison(pictures, data, detections, indices=indices)
    return score_instances(data, detections, indices=indices, classes=findings.classes, protocol=findings.protocol)


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
