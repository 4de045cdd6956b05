"""What is learnt from what: the family of a network brought together with a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solo_rt.errors import UsageError
from solo_rt.train.data.base import TrainingSet
from solo_rt.train.data.world_dataset import WorldDataset
from solo_rt.train.distributed import Job
from solo_rt.train.losses import solo_losses
from solo_rt.train.models import build_model
from solo_rt.train.models.semantic import SemanticNetwork
from solo_rt.train.targets import assign

Losses = dict[str, Tensor]  # scalars; `total` is what is minimised, the others are for the log
LossFunction = Callable[[Any, Any, Any, Job], Losses]  # from network, outputs of its forward, batch and job


@dataclass(frozen=True, slots=True)
class Task:
    """Pictures of one input size and what to ask of the network for them."""

    data: TrainingSet[Any]
    losses: LossFunction
    shuffled: bool  # whether each epoch shows the pictures in an order of its own


def make_task(model: str, data: str, *, imgsz: tuple[int, int], augment: bool = True, seed: int = 0) -> Task:
    """Return the task of training the network `model` on `data`, an address such as `coco:/path` or `world:`.

    `imgsz` is the height and width of the network input. Raises: UsageError for an unknown model or address.
    """
    make = _semantic_task if is_semantic(model) else _instance_task
    return make(data, imgsz=imgsz, augment=augment, seed=seed)


def is_semantic(model: str) -> bool:
    """Return whether the network `model` labels pixels; otherwise it finds instances. Raises: UsageError."""
    with torch.device("meta"):  # no memory, no time
        return isinstance(build_model(model, 2), SemanticNetwork)


def _instance_task(uri: str, *, imgsz: tuple[int, int], augment: bool, seed: int) -> Task:
    def losses(model: Any, outputs: Any, batch: Any, job: Job) -> Losses:
        config = model.config
        zoom = imgsz[0] / config.imgsz[0]  # the scale ranges are in pixels of the model's own input size
        ranges = [(low * zoom, high * zoom) for low, high in config.scale_ranges]
        targets = assign(batch, grids=config.grids, scale_ranges=ranges)
        return solo_losses(outputs, batch, targets, reduce=job.mean, processes=job.size)._asdict()

    if uri == "world:":
        return Task(WorldDataset(seed=seed, imgsz=imgsz), losses, shuffled=False)
    raise UsageError(f"--data {uri}: expected world:")


def _semantic_task(uri: str, *, imgsz: tuple[int, int], augment: bool, seed: int) -> Task:
    raise UsageError(f"--data {uri}: no semantic data set has this address")
