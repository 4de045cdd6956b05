"""What the classes of imported weights are called: files seldom say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solo_rt.decoders import Rgb
from solo_rt.errors import UsageError


class Classes(NamedTuple):
    """Names of classes in the order of channels, and how they are painted, where that is known."""

    names: tuple[str, ...]
    palette: tuple[Rgb, ...] = ()
    unpainted: tuple[int, ...] = ()


# In the order of their category ids, which is the order of the channels in every code base.
_COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, "
    "teddy bear, hair drier, toothbrush"
)
COCO = Classes(tuple(_COCO.split(", ")))


def find_classes(
    count: int, metadata: Mapping[str, object], given: Sequence[str] | None, known: tuple[Classes, ...]
) -> Classes:
    """Return what `count` classes are called: as given, as a file's metadata say, or the first as many that are known.

    Raises: UsageError when other names are given than there are classes, or none and the file says nothing.
    """
    if given is not None:
        if len(given) != count or len(set(given)) != count or "" in given:
            raise UsageError(f"--classes: expected {count} distinct names, got {len(given)}: {', '.join(given)}")
        return Classes(tuple(given))
    stored = _stored(metadata)
    if isinstance(stored, list | tuple) and len(stored) == count and all(isinstance(name, str) for name in stored):
        return COCO if [name.replace("_", " ") for name in stored] == list(COCO.names) else Classes(tuple(stored))
    for classes in known:
        if len(classes.names) == count:
            return classes
    raise UsageError(f"the file does not name its {count} classes; give them with --classes NAME,NAME,...")


def _stored(metadata: Mapping[str, object]) -> object:
    """Return what OpenMMLab's metadata say: in mmdetection 1 and 2, else in the first and in later releases of 3."""
    if "CLASSES" in metadata:
        return metadata["CLASSES"]
    about_data = metadata.get("dataset_meta")
    return (about_data.get("classes") or about_data.get("CLASSES")) if isinstance(about_data, dict) else None
