"""What a smaller model still sees of what the one it was made of sees, on pictures without labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt import defaults
from solo_rt.builder.agreement import agreement
from solo_rt.decode import decode, decode_semantic
from solo_rt.decoders import SemanticDecoder
from solo_rt.engine import Engine
from solo_rt.errors import UsageError
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.source import open_source
from solo_rt.spec import ModelSpec
from solo_rt.types import Frame, Instances

Float32 = NDArray[np.float32]
FRAME_STEP = 5  # of a video, every fifth frame: neighbours say nothing new

log = logging.getLogger(__name__)


def frames(uri: str, count: int) -> Iterator[Frame]:
    """Yield the first pictures of a source, at most `count`; of a video every fifth. Raises: as `open_source`.

    What is wrong with the source is logged, once for all times that it is read.
    """
    with open_source(uri) as source:
        step = 1 if source.info.kind == "pictures" else FRAME_STEP
        yield from islice(source, 0, count * step, step)
        if source.damage is not None:
            _warn(source.damage)


@cache
def _warn(damage: str) -> None:
    log.warning("not all of the source arrived: %s", damage)


def inputs(spec: ModelSpec, pictures: Iterable[Frame]) -> Iterator[Float32]:
    """Yield the pictures as inputs of a network, `float32 [B, 3, H, W]`, each repeated to fill its batch."""
    for picture in pictures:
        tensor, _ = prepare(picture, spec.input)
        yield np.repeat(tensor, spec.input.batch, axis=0)


def measure_loss(reference: Engine, candidate: Engine, pictures: Iterable[Frame]) -> tuple[str, float]:
    """Return what is compared, masks or labels, and the share of it, 0 to 1, that `candidate` loses.

    Of instances this is 1 less the share found again times the mean IoU of their masks; of labels, 1 less their mean
    IoU. Raises: UsageError where `reference` finds nothing, so that there is nothing to lose.
    """
    if isinstance(reference.spec.decoder, SemanticDecoder):
        return "labels", 1 - compare(reference, candidate, pictures)["label_iou"]
    pairs = list(_pairs(reference, candidate, pictures))
    if not any(len(instances) for instances, _ in pairs):
        raise UsageError(
            f"{reference.spec.name} finds nothing on the {len(pairs)} pictures of --calib, which says nothing about "
            "what another precision loses; choose others, or train it first"
        )
    measured = agreement(pairs)
    return "masks", 1 - measured["found"] * measured["mask_iou"]


def finds_something(engine: Engine, picture: Frame) -> bool:
    """Return whether an engine finds an instance in a picture, or gives a pixel of it a class."""
    if isinstance(engine.spec.decoder, SemanticDecoder):
        return bool((_labels(engine, picture) < len(engine.spec.classes)).any())
    return len(_instances(engine, picture)) > 0


def compare(reference: Engine, candidate: Engine, pictures: Iterable[Frame]) -> dict[str, float]:
    """Return how far `candidate` sees what `reference` sees.

    Of instances this is `agreement`. Of semantic models, `labels` is the share of pixels that both give the same class,
    and `label_iou` the mean over the classes of what both give it of what either does. Pixels without a class differ
    from those with one; those that neither gives a class count nowhere.
    """
    if isinstance(reference.spec.decoder, SemanticDecoder):
        return _compare_labels(reference, candidate, pictures)
    return agreement(_pairs(reference, candidate, pictures))


def _compare_labels(reference: Engine, candidate: Engine, pictures: Iterable[Frame]) -> dict[str, float]:
    none = len(reference.spec.classes)
    kinds = none + 1
    counts = np.zeros((kinds, kinds), np.int64)  # pixels by class of the reference, and of the candidate
    for picture in pictures:
        one, other = (np.minimum(_labels(engine, picture), none) for engine in (reference, candidate))
        counts += np.bincount(one * kinds + other, minlength=kinds**2).reshape(kinds, kinds)
    counts[none, none] = 0
    both, either = (of[:none] for of in (counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()))
    if not counts.any():
        return {"labels": 1.0, "label_iou": 1.0}
    return {
        "labels": float(both.sum() / counts.sum()),
        "label_iou": float((both[either > 0] / either[either > 0]).mean()),
    }


def _labels(engine: Engine, picture: Frame) -> NDArray[np.int64]:
    """Return the classes of all pixels of the picture's part of the input, in one row; `IGNORED` is none."""
    return decode_semantic(*_outputs(engine, picture)).labels.astype(np.int64).ravel()


def _pairs(reference: Engine, candidate: Engine, pictures: Iterable[Frame]) -> Iterator[tuple[Instances, Instances]]:
    """Yield what both find in each picture."""
    for picture in pictures:
        yield _instances(reference, picture), _instances(candidate, picture)


def _instances(engine: Engine, picture: Frame) -> Instances:
    return decode(*_outputs(engine, picture), conf=defaults.CONF)


def _outputs(engine: Engine, picture: Frame) -> tuple[dict[str, Any], ModelSpec, Letterbox]:
    """Return the outputs of an engine for a picture, and what reads them."""
    spec = engine.spec
    tensor, letterbox = prepare(picture, spec.input)
    outputs = engine.infer({spec.input.name: np.repeat(tensor, spec.input.batch, axis=0)})
    return {name: values[0] for name, values in outputs.items()}, spec, letterbox
