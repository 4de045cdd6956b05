"""Mask average precision of what ships: picture file -> run time -> COCO metric, never through torch."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from solo_rt.decode import decode
from solo_rt.engine import Engine
from solo_rt.errors import DatasetError
from solo_rt.preprocess import prepare
from solo_rt.source import open_source
from solo_rt.types import Result

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@dataclass(frozen=True, slots=True)
class MaskScores:
    """The twelve COCO numbers for masks, and AP per class; -1 where the data has no such object."""

    metrics: dict[str, float]
    per_class: dict[str, float]
    images: int


def evaluate(
    engine: Engine,
    folder: Path,
    *,
    max_images: int | None = None,
    results: Path | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> MaskScores:
    """Return the COCO mask AP of `engine` on `folder`, which holds `instances.json` and `images/`.

    Every detection above the decoder's own thresholds counts. `results`, if given, receives the detections in COCO's
    results format. `on_image(done, total)` is called after each picture.
    Raises: DatasetError when the folder is not such a data set or lacks one of the model's classes.
    """
    truth = _load_truth(folder)
    category = _categories(truth, engine.spec.classes)
    ids = sorted(truth.getImgIds())[:max_images]
    detections: list[dict[str, object]] = []
    for done, image_id in enumerate(ids, 1):
        path = folder / "images" / truth.imgs[image_id]["file_name"]
        for instance in _detect(engine, path).to_record()["instances"]:  # type: ignore[attr-defined]
            detections.append(
                {
                    "image_id": image_id,
                    "category_id": category[instance["class"]],
                    "segmentation": instance["rle"],
                    "score": instance["score"],
                }
            )
        on_image(done, len(ids))
    if results is not None:
        results.write_text(json.dumps(detections))
    return _score(truth, detections, ids, category)


def _load_truth(folder: Path) -> COCO:
    path = folder / "instances.json"
    if not path.is_file() or not (folder / "images").is_dir():
        raise DatasetError(f"expected instances.json and images/ in {folder}; make some with solo-rt demo-data")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(path))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise DatasetError(f"{path} is not a COCO annotation file ({type(error).__name__}: {error})") from error
    if not truth.getImgIds():
        raise DatasetError(f"{path} lists no images")
    return truth


def _categories(truth: COCO, classes: tuple[str, ...]) -> dict[str, int]:
    """Return the category id of each of the model's classes, matched by name."""
    ids = {record["name"]: int(record["id"]) for record in truth.cats.values()}
    missing = [name for name in classes if name not in ids]
    if missing:
        raise DatasetError(f"the data set lacks the model's classes {missing}; it has {sorted(ids)}")
    return {name: ids[name] for name in classes}


def _detect(engine: Engine, path: Path) -> Result:
    spec = engine.spec
    with open_source(str(path)) as source:
        (frame,) = source
    tensor, letterbox = prepare(frame, spec.input)
    outputs = engine.infer({spec.input.name: tensor})
    first = {name: values[0] for name, values in outputs.items()}
    found = decode(first, spec, frame_size=(frame.height, frame.width), resized=letterbox.resized)
    return Result(frame, found, spec.classes)


def _score(truth: COCO, detections: list[dict[str, object]], ids: list[int], category: dict[str, int]) -> MaskScores:
    if not detections:
        return MaskScores(dict.fromkeys(METRICS, 0.0), dict.fromkeys(category, 0.0), len(ids))
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(truth, truth.loadRes(detections), "segm")
        run.params.imgIds = ids
        run.params.catIds = list(category.values())
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][:, :, :, 0, -1]  # [thresholds, recalls, classes], all areas, 100 detections
    per_class = {}
    for i, name in enumerate(category):
        values = precision[:, :, i]
        values = values[values > -1]
        per_class[name] = float(values.mean()) if values.size else -1.0
    return MaskScores(dict(zip(METRICS, map(float, np.asarray(run.stats)), strict=True)), per_class, len(ids))
