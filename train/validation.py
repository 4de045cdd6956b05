"""Held-out pictures while training: enough to see a run learn, not to quote."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch
from torch import nn

from solo_rt.errors import DatasetError
from solo_rt.train.checkpoint import Checkpoint
from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.data.semantic.augment import Augmentation
from solo_rt.train.data.semantic.base import SemanticSet
from solo_rt.train.data.semantic.training import SemanticSample, SemanticTrainingSet
from solo_rt.train.distributed import Job
from solo_rt.train.engine.exact import CheckpointEngine
from solo_rt.train.evaluate.confusion import count_pixels, summarise
from solo_rt.train.evaluate.detections import common_classes, detect
from solo_rt.train.evaluate.masks import score_masks
from solo_rt.train.models.network import Network


def measure_semantic(
    model: Network, data: SemanticSet, *, pictures: int, job: Job, left_out: LeftOut | None = None
) -> dict[str, float]:
    """Return mIoU and pixel accuracy, 0..1, of `model` in evaluation mode on the first `pictures` of `data`.

    Pictures are taken at their own size, padded to what the model divides. Every process must call it; each measures
    its share, without overlap. Pictures that cannot be read are `left_out`, if there is one. NaN where no
    pixel has a label.
    """
    left_out = left_out or LeftOut(strict=True)
    classes, divisor = len(data.classes), model.size_divisor
    confusion = np.zeros((classes, classes + 1), np.int64)
    with torch.no_grad():
        for index in range(job.rank, min(pictures, len(data)), job.size):
            try:
                picture = data[index]
            except DatasetError as error:
                left_out.add(index, error)
                continue
            height, width = (-(-side // divisor) * divisor for side in picture.labels.shape)
            loader = SemanticTrainingSet(data, Augmentation(crop=(height, width)))  # only pads: no pixel of it counts
            batch = loader.collate([SemanticSample(picture.image, picture.labels)])
            found = model(batch.to(job.device).images).out[0].argmax(0)  # [H, W]
            confusion += count_pixels(batch.labels[0].numpy(), found.to(torch.uint8).cpu().numpy(), classes=classes)
    scores = summarise(job.total(confusion))
    return {"val_mIoU": scores["mIoU"], "val_pixel_accuracy": scores["pixel_accuracy"]}


def measure_instances(
    model: nn.Module,
    data: InstanceSet,
    *,
    name: str,
    classes: tuple[str, ...],
    imgsz: tuple[int, int],
    pictures: int,
    job: Job,
    left_out: LeftOut | None = None,
) -> dict[str, float]:
    """Return COCO's mask AP and AP50, 0..1, of `model`, a network `name`, on the first `pictures` of `data`.

    It is measured as `solo-rt eval` measures a checkpoint: exported to the input size `imgsz`, by the decoder of the
    run time. Every process must call it; each looks at its share of the pictures, and all score all that was found.
    Pictures that cannot be read are `left_out`, if there is one. -1 where there is no object.
    """
    left_out = left_out or LeftOut(strict=True)
    checkpoint = Checkpoint(name, classes, model.state_dict(), step=0, training={}, provenance={})
    count = min(pictures, len(data))
    with closing(CheckpointEngine(checkpoint, imgsz=imgsz, device=job.device)) as engine:
        found = job.collect(detect(engine, data, range(job.rank, count, job.size), left_out=left_out))
    bad = set(job.collect(sorted(left_out.indices)))
    indices = [index for index in range(count) if index not in bad]
    scores = score_masks(data, found, indices=indices, categories=common_classes(classes, data))
    return {f"val_{metric}": scores.metrics[metric] for metric in ("AP", "AP50")}
