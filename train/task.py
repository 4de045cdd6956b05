"""What is learnt from what: the family of a network brought together with a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError
from solo_rt.train.data.base import TrainingSet
from solo_rt.train.data.instances import SCHEMES, InstanceSet, open_instances, unknown_instances
from solo_rt.train.data.instances.augment import Scales
from solo_rt.train.data.instances.training import InstanceTrainingSet, open_instance_training
from solo_rt.train.data.instances.world import held_out_world
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.data.semantic import SemanticSet, open_semantic
from solo_rt.train.data.semantic.shares import class_shares, weigh_classes
from solo_rt.train.data.semantic.training import open_training_set
from solo_rt.train.data.world_dataset import WorldDataset
from solo_rt.train.distributed import Job
from solo_rt.train.losses.instances import instance_losses
from solo_rt.train.losses.semantic import HardPixels, semantic_losses
from solo_rt.train.models import is_semantic
from solo_rt.train.models.network import Network
from solo_rt.train.recipe import Recipe
from solo_rt.train.settings import WORLD
from solo_rt.train.validation import Stop, draw_instances, draw_labels, measure_instances, measure_semantic

Losses = dict[str, Tensor]  # scalars; `total` is what is minimised, the others are for the log
LossFunction = Callable[[Any, Any, Any, Job], Losses]  # from network, outputs of its forward, batch and job

Measure = Callable[[Network, int, Job, Stop], dict[str, float]]
"""From a network in evaluation mode, and on how many held-out pictures, to metrics; the first is the one to go by.

There are none where `Stop` of any process asks to end.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """Pictures of one input size and what to ask of the network for them."""

    data: TrainingSet[Any]
    losses: LossFunction
    shuffled: bool  # whether each epoch shows the pictures in an order of its own
    tall: NDArray[np.bool_] | None  # which pictures do not share a batch with the others; None: all may share one
    held_out: Callable[[], InstanceSet | SemanticSet]  # opens, once, what `measure` is about
    measure: Measure
    draw: Callable[[Network, Path], None]  # what a network finds in some held-out pictures, beside what is true
    palette: tuple[Rgb, ...] = ()  # one colour per class; empty where the data set names none
    unpainted: tuple[int, ...] = ()  # classes that are left out of pictures, such as a background
    class_weights: Mapping[str, float] = field(default_factory=dict)  # what a pixel of each class counts, if not 1


def make_task(
    recipe: Recipe,
    data: str,
    *,
    imgsz: tuple[int, int],
    augment: bool = True,
    seed: int = 0,
    strict: bool = False,
) -> Task:
    """Return the task of training the network of `recipe` on `data`, an address such as `coco:/path` or `world:`.

    `imgsz` is the height and width of the network input. `seed` chooses the pictures of the procedural world. `strict`
    is whether a held-out picture that cannot be read is an error, instead of being left out.
    Raises: UsageError for an unknown model or address; DatasetError when the files are not those of the data set.
    """
    make = _semantic_task if is_semantic(recipe.model) else _instance_task
    return make(recipe, data, imgsz=imgsz, augment=augment, seed=seed, left_out=LeftOut(strict=strict))


def _instance_task(
    recipe: Recipe, uri: str, *, imgsz: tuple[int, int], augment: bool, seed: int, left_out: LeftOut
) -> Task:
    if recipe.class_weights is not None:
        raise UsageError(f"--class-weights auto is for labels of pixels, {recipe.model} finds instances; leave it out")

    def losses(model: Any, outputs: Any, batch: Any, job: Job) -> Losses:
        found = instance_losses(model, outputs, batch, imgsz=imgsz, reduce=job.mean, processes=job.size)
        return found._asdict()

    held_out = cache(lambda: held_out_world() if uri == WORLD else open_instances(uri, split="val"))

    def measure(model: Network, pictures: int, job: Job, stop: Stop) -> dict[str, float]:
        return measure_instances(
            model,
            held_out(),
            name=recipe.model,
            classes=data.classes,
            imgsz=recipe.phases[-1].imgsz,  # so that the numbers of all phases compare
            pictures=pictures,
            job=job,
            left_out=left_out,
            stop=stop,
        )

    def draw(model: Network, path: Path) -> None:
        draw_instances(
            model,
            held_out(),
            path,
            name=recipe.model,
            classes=data.classes,
            imgsz=recipe.phases[-1].imgsz,
        )

    data: WorldDataset | InstanceTrainingSet
    if uri == WORLD:
        data = WorldDataset(seed=seed, imgsz=imgsz)
        return Task(data, losses, shuffled=False, tall=None, held_out=held_out, measure=measure, draw=draw)
    if uri.partition(":")[0] not in SCHEMES:
        raise unknown_instances(f"--data {uri}", WORLD)
    if recipe.scales is None:
        data = open_instance_training(uri, imgsz=imgsz, augmented=augment)
    else:  # pictures at the published sizes, batches as large as their largest picture
        data = open_instance_training(uri, scales=Scales(*recipe.scales), augmented=augment)
    return Task(data, losses, shuffled=True, tall=data.tall(), held_out=held_out, measure=measure, draw=draw)


def _semantic_task(
    recipe: Recipe, uri: str, *, imgsz: tuple[int, int], augment: bool, seed: int, left_out: LeftOut
) -> Task:
    hard_pixels = HardPixels() if recipe.hard_pixels else None
    data = open_training_set(uri, imgsz=imgsz, zoom=recipe.zoom, augmented=augment, seed=seed)
    legend = data.data.legend
    weights = None
    if recipe.class_weights is not None:
        weights = torch.from_numpy(weigh_classes(class_shares(data.data), recipe.class_weights))

    def losses(model: Any, outputs: Any, batch: Any, job: Job) -> Losses:
        return semantic_losses(
            outputs,
            batch.labels,
            aux_weights=model.aux_weights,
            hard_pixels=hard_pixels,
            class_weights=None if weights is None else weights.to(batch.labels.device),
            main_weight=0.0 if outputs.guided else 1.0,
            shrink_labels=outputs.guided or recipe.coarse_aux,
            reduce=job.mean,
        )

    held_out = cache(lambda: open_semantic(uri, split="val"))
    # Photographs of any size are trained on at another one, and measured at that of the file to be; see `export`.
    whole = None if data.augmentation.short_side is None else recipe.imgsz

    def measure(model: Network, pictures: int, job: Job, stop: Stop) -> dict[str, float]:
        return measure_semantic(
            model, held_out(), pictures=pictures, job=job, imgsz=whole, left_out=left_out, stop=stop
        )

    return Task(
        data,
        losses,
        shuffled=uri != WORLD,
        tall=None,
        held_out=held_out,
        measure=measure,
        draw=lambda model, path: draw_labels(model, held_out(), path, imgsz=whole),
        palette=legend.palette,
        unpainted=legend.unpainted,
        class_weights={} if weights is None else dict(zip(legend.classes, weights.tolist(), strict=True)),
    )
