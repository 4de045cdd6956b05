"""What a model finds in the pictures of a data set: picture file -> run time -> COCO's results format.

`detect` runs the stages of `solo-rt run` itself, each on its thread, so the next pictures are read and prepared while
the network computes. `detect_exactly` follows the published code instead, step by step and slower.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Protocol, TypedDict, cast, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from solo_rt.decode import decode_reference
from solo_rt.engine import Engine
from solo_rt.errors import DatasetError
from solo_rt.pipeline.options import Options
from solo_rt.pipeline.stage import Counts, Job, Stage
from solo_rt.pipeline.stages import build_stages
from solo_rt.pipeline.workers import run_threaded
from solo_rt.preprocess import Letterbox
from solo_rt.progress import OnProgress
from solo_rt.train.data.instances import InstanceSet
from solo_rt.train.data.left_out import LeftOut
from solo_rt.train.evaluate.protocol import instance_decoder
from solo_rt.types import Frame, Instances

Size = tuple[int, int]  # height, width
Scale = tuple[int, int]  # most pixels of the long and of the short side


@runtime_checkable
class ResizableEngine(Engine, Protocol):
    """An engine of a network that takes other sizes, too."""

    @property
    def test_scale(self) -> Scale:
        """The most that the sides of a picture may be in the published procedure."""
        ...

    def resized(self, imgsz: Size) -> Engine:
        """Return an engine for another network size."""
        ...


class Segmentation(TypedDict):
    """A run-length code as COCO's results have it."""

    size: list[int]
    counts: str


class Detection(TypedDict):
    """One entry of COCO's results format."""

    image_id: int
    category_id: int
    segmentation: Segmentation
    score: float


def common_classes(model: Sequence[str], data: InstanceSet) -> dict[str, int]:
    """Return the category id of every class that both know, matched by name. Raises: DatasetError if there is none."""
    common = {name: number for name, number in zip(data.classes, data.category_ids, strict=True) if name in model}
    if not common:
        raise DatasetError(
            f"model and data set have no class in common: {', '.join(model)} against {', '.join(data.classes)}"
        )
    return common


def detect(
    engine: Engine,
    data: InstanceSet,
    indices: Sequence[int],
    *,
    conf: float = 0.0,
    left_out: LeftOut | None = None,
    on_image: OnProgress = lambda done, total: None,
) -> list[Detection]:
    """Return what `engine` finds in the pictures `indices` of `data` with a score of at least `conf`.

    Objects of classes that the data set does not have are left out, and so are pictures that cannot be read, if
    `left_out` is there to take them. `on_image` hears how many pictures are done or left out.
    Raises: DatasetError for a picture that cannot be read or when no class is common.
    """
    spec = engine.spec
    left_out = left_out or LeftOut(strict=True)
    common = common_classes(spec.classes, data)
    stages = build_stages(engine, Options(conf=conf, max_det=instance_decoder(spec).max_instances), with_picture=False)
    detections: list[Detection] = []
    with closing(_through(_read(data, indices, left_out), stages)) as jobs:
        for done, job in enumerate(jobs, 1):
            found = job.found
            assert isinstance(found, Instances)
            names = [spec.classes[k] for k in found.class_ids]
            codes = cast(list[Segmentation], found.rles())
            picture = int(data.picture_ids[job.frame.index])
            detections += _records(picture, names, codes, found.scores, common)
            on_image(done + len(left_out.indices), len(indices))
    on_image(len(indices), len(indices))  # the last ones may have been left out
    return detections


def detect_exactly(
    engine: Engine,
    data: InstanceSet,
    indices: Sequence[int],
    *,
    scale: Scale | None = None,
    conf: float = 0.0,
    left_out: LeftOut | None = None,
    on_image: OnProgress = lambda done, total: None,
) -> list[Detection]:
    """Return what `detect` returns, by the procedure of the published code.

    Pictures are resized to whole levels, masks enlarged in its two steps. Where the engine can be had for other network
    sizes, every picture is as large as `scale` allows, by default the engine's `test_scale`, and padded to multiples of
    32 and no further; pictures of the same network size come one after another. Another engine has pictures padded to
    its own size, as in `detect`.
    """
    spec = engine.spec
    left_out = left_out or LeftOut(strict=True)
    resizable = engine if isinstance(engine, ResizableEngine) else None
    common = common_classes(spec.classes, data)
    geometry: Callable[[Size], Letterbox] = lambda size: (  # noqa: E731
        Letterbox.fit(size, (spec.input.height, spec.input.width))
        if resizable is None
        else least_padding(size, scale or resizable.test_scale, divisor=spec.input.divisor)
    )
    if resizable is not None:
        indices = sorted(indices, key=lambda i: geometry(data[i].size).input_size)

    mean, std = (np.array(values, np.float32) for values in (spec.input.mean, spec.input.std))

    def prepare(job: Job) -> None:
        job.letterbox = geometry((job.frame.height, job.frame.width))
        height, width = job.letterbox.resized
        image = cv2.resize(job.frame.planes[0], (width, height), interpolation=cv2.INTER_LINEAR)  # in whole levels
        job.tensor = np.zeros((1, 3, *job.letterbox.input_size), np.float32)
        job.tensor[0, :, :height, :width] = ((image - mean) / std).transpose(2, 0, 1)

    detections: list[Detection] = []
    sized, size = engine, (spec.input.height, spec.input.width)
    with closing(_through(_read(data, indices, left_out), [Stage("prepare", prepare)])) as jobs:
        for done, job in enumerate(jobs, 1):
            box = job.letterbox
            assert box is not None
            assert job.tensor is not None
            if resizable is not None and box.input_size != size:
                sized, size = resizable.resized(box.input_size), box.input_size
            outputs = {name: values[0] for name, values in sized.infer({spec.input.name: job.tensor}).items()}
            found = decode_reference(cast(Mapping[str, NDArray[np.float32]], outputs), spec, box)
            kept = found.scores >= conf
            names = [spec.classes[k] for k in found.class_ids[kept]]
            codes = [_encode(mask) for mask in found.masks[kept]]
            picture = int(data.picture_ids[job.frame.index])
            detections += _records(picture, names, codes, found.scores[kept], common)
            on_image(done + len(left_out.indices), len(indices))
    on_image(len(indices), len(indices))  # the last ones may have been left out
    return detections


def least_padding(size: Size, scale: Scale, *, divisor: int) -> Letterbox:
    """Return the placement of the published code: as large as `scale` allows, padded to multiples of `divisor`."""
    long, short = scale
    factor = min(long / max(size), short / min(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    padded = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
    return Letterbox(size, padded, (height, width))


def _read(data: InstanceSet, indices: Sequence[int], left_out: LeftOut) -> Iterator[Job]:
    for index in indices:
        try:
            picture = data[index]
            image = picture.load()
        except DatasetError as error:
            left_out.add(index, error)
        else:
            yield Job(Frame((image,), "rgb24", index=index, name=picture.path.name))


def _through(jobs: Iterator[Job], stages: Sequence[Stage]) -> Generator[Job, None, None]:
    return run_threaded(jobs, stages, Counts(), live=False, stop=threading.Event(), on_wait=lambda: None)


def _records(
    picture: int, names: list[str], codes: list[Segmentation], scores: NDArray[np.float32], common: dict[str, int]
) -> Iterator[Detection]:
    for name, code, score in zip(names, codes, scores.tolist(), strict=True):
        if name in common:
            yield Detection(image_id=picture, category_id=common[name], segmentation=code, score=score)


def _encode(mask: NDArray[np.bool_]) -> Segmentation:
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return Segmentation(size=[int(side) for side in code["size"]], counts=code["counts"].decode("ascii"))
