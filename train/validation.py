"""Held-out pictures while training: enough to see a run learn, not to quote."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from solo_rt.errors import DatasetError
from solo_rt.preprocess import Letterbox
from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.data.semantic.augment import Augmentation
from solo_rt.train.data.semantic.base import Picture, SemanticSet
from solo_rt.train.data.semantic.training import SemanticSample, SemanticTrainingSet
from solo_rt.train.distributed import Job
from solo_rt.train.engine.exact import CheckpointEngine
from solo_rt.train.evaluate.comparison import LEAST_SCORE, write_comparison
from solo_rt.train.evaluate.confusion import count_pixels, summarise
from solo_rt.train.evaluate.detections import Detection, common_classes, detect
from solo_rt.train.evaluate.label_sheet import LabelSheet
from solo_rt.train.evaluate.masks import score_masks
from solo_rt.train.evaluate.sheet import ROWS
from solo_rt.train.models.network import Network
from solo_rt.train.models.solo import Solo
from solo_rt.train.models.solov2 import SoloV2

Stop = Callable[[], bool]  # whether the run was asked to end


class _Stopped(Exception):
    """The run was asked to end while it measures."""


def measure_semantic(
    model: Network,
    data: SemanticSet,
    *,
    pictures: int,
    job: Job,
    imgsz: tuple[int, int] | None = None,
    left_out: LeftOut | None = None,
    stop: Stop = lambda: False,
) -> dict[str, float]:
    """Return mIoU and pixel accuracy, 0..1, of `model` in evaluation mode on the first `pictures` of `data`.

    Pictures are fitted into `imgsz`, or taken at their own size, padded to what the model divides. Every process must
    call it; each measures its share, without overlap. Pictures that cannot be read are `left_out`, if there is one. NaN
    where no pixel has a label. Empty where `stop()` of any process asks to end.
    """
    left_out = left_out or LeftOut(strict=True)
    classes = len(data.classes)
    confusion = np.zeros((classes, classes + 1), np.int64)
    for index in range(job.rank, min(pictures, len(data)), job.size):
        if stop():
            break
        try:
            picture = data[index]
        except DatasetError as error:
            left_out.add(index, error)
            continue
        confusion += count_pixels(picture.labels, _label(model, data, picture, job.device, imgsz), classes=classes)
    if job.any(stop()):
        return {}
    scores = summarise(job.total(confusion))
    return {"val_mIoU": scores["mIoU"], "val_pixel_accuracy": scores["pixel_accuracy"]}


def draw_labels(model: Network, data: SemanticSet, path: Path, *, imgsz: tuple[int, int] | None = None) -> None:
    """Write a sheet of pictures from all over `data`, their labels and those that `model` gives them, side by side.

    Pictures that cannot be read are left out; `imgsz` as for `measure_semantic`. Raises: UsageError when the file
    cannot be written.
    """
    sheet, left_out = LabelSheet(data.legend), LeftOut()
    device = next(model.parameters()).device
    for index in _spread(len(data), ROWS):
        try:
            picture = data[index]
        except DatasetError as error:
            left_out.add(index, error)
        else:
            sheet.add(picture, _label(model, data, picture, device, imgsz))
    sheet.write(path)


def measure_instances(
    model: Network,
    data: InstanceSet,
    *,
    name: str,
    classes: tuple[str, ...],
    imgsz: tuple[int, int],
    pictures: int,
    job: Job,
    left_out: LeftOut | None = None,
    stop: Stop = lambda: False,
) -> dict[str, float]:
    """Return COCO's mask AP and AP50, 0..1, of `model`, a network `name`, on the first `pictures` of `data`.

    It is measured as `solo-rt eval` measures a checkpoint: exported to the input size `imgsz`, by the decoder of the
    run time. Every process must call it; each looks at its share of the pictures, and all score all that was found.
    Pictures that cannot be read are `left_out`, if there is one. -1 where there is no object. Empty where `stop()` of
    any process asks to end.
    """

    def look_up(done: int, total: int) -> None:
        if stop():
            raise _Stopped

    left_out = left_out or LeftOut(strict=True)
    count = min(pictures, len(data))
    own: list[Detection] = []
    with closing(_engine(model, name, classes, imgsz, job.device)) as engine, suppress(_Stopped):
        own = detect(engine, data, range(job.rank, count, job.size), left_out=left_out, on_image=look_up)
    if job.any(stop()):
        return {}
    found = job.collect(own)
    bad = set(job.collect(sorted(left_out.indices)))
    indices = [index for index in range(count) if index not in bad]
    scores = score_masks(data, found, indices=indices, categories=common_classes(classes, data))
    return {f"val_{metric}": scores.metrics[metric] for metric in ("AP", "AP50")}


def draw_instances(
    model: Network, data: InstanceSet, path: Path, *, name: str, classes: tuple[str, ...], imgsz: tuple[int, int]
) -> None:
    """Write a sheet of pictures from all over `data`, the objects in them and what `model` finds, side by side.

    Pictures that cannot be read are left out. Raises: DatasetError when no class is common; UsageError when the file
    cannot be written.
    """
    indices, left_out = _spread(len(data), ROWS), LeftOut()
    device = next(model.parameters()).device
    with closing(_engine(model, name, classes, imgsz, device)) as engine:
        found = detect(engine, data, indices, conf=LEAST_SCORE, left_out=left_out)
    write_comparison(path, data, found, indices=[index for index in indices if index not in left_out.indices])


@torch.no_grad()
def _label(
    model: Network, data: SemanticSet, picture: Picture, device: torch.device, imgsz: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Return the labels `uint8 [H, W]` that `model` gives a picture fitted into `imgsz`, or at its own size."""
    size = h, w = picture.labels.shape
    height, width = size if imgsz is None else Letterbox.fit(size, imgsz).resized
    image = picture.image
    if (height, width) != size:
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    divisor = model.size_divisor
    padded = tuple(-(-side // divisor) * divisor for side in imgsz or size)
    loader = SemanticTrainingSet(data, Augmentation(crop=(padded[0], padded[1])))  # only pads
    batch = loader.collate([SemanticSample(image, np.zeros((height, width), np.uint8))])
    logits = model(batch.to(device).images).out[:, :, :height, :width]
    if (height, width) != size:
        logits = F.interpolate(logits.float(), (h, w), mode="bilinear", align_corners=False)
    return np.asarray(logits[0].argmax(0).to(torch.uint8).cpu().numpy(), np.uint8)


def _engine(
    model: Network, name: str, classes: tuple[str, ...], imgsz: tuple[int, int], device: torch.device
) -> CheckpointEngine:
    assert isinstance(model, SoloV2 | Solo)
    weights, grids = model.state_dict(), model.config.grids
    checkpoint = Checkpoint(name, classes, weights, step=0, training={}, provenance={}, grids=grids)
    return CheckpointEngine(checkpoint, imgsz=imgsz, device=device)


def _spread(count: int, most: int) -> list[int]:
    """Return `most` indices from all over `count`, or all."""
    return sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})
