"""Looks at every label of a data set, before a training run of days finds out what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solo_rt.errors import DatasetError
from solo_rt.train.data.semantic.base import SemanticSet
from solo_rt.types import IGNORED

PUBLISHED = {  # pictures
    ("cityscapes", "train"): 2_975,
    ("cityscapes", "val"): 500,
    ("voc", "train"): 1_464,
    ("voc", "val"): 1_449,
    ("voc-aug", "train"): 10_582,
    ("voc-aug", "val"): 1_449,
    ("ade20k", "train"): 20_210,
    ("ade20k", "val"): 2_000,
    ("sbu", "train"): 4_085,
    ("sbu", "val"): 638,
    ("camvid", "train"): 367,
    ("camvid", "val"): 101,
    ("camvid", "test"): 233,
    ("camvid-trainval", "train"): 468,
    ("camvid-trainval", "val"): 233,
    ("lip", "train"): 30_462,
    ("lip", "val"): 10_000,
}
MOST_ERRORS = 20  # files named one by one
MUCH_IGNORED = 0.5  # of all pixels, that is


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or that often is."""

    level: Literal["error", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What there is in a data set."""

    split: str
    images: int  # that were read
    pixels: dict[str, int]  # by class
    occurrences: dict[str, int]  # pictures that show a class
    ignored: float  # share of all pixels
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether there is no error among the findings."""
        return all(finding.level != "error" for finding in self.findings)


def check_labels(
    data: SemanticSet,
    *,
    split: str,
    max_images: int | None = None,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> LabelReport:
    """Return how often each class occurs in the first pictures of `data`, or all, and what is wrong with them.

    Pictures that cannot be read become findings. `on_image(done, total)` is called after each picture.
    """
    indices = range(len(data))[:max_images]
    pixels, occurrences = np.zeros((2, 256), np.int64)
    damaged: list[str] = []
    for done, index in enumerate(indices, 1):
        try:
            counts = np.bincount(data[index].labels.ravel(), minlength=256)
        except DatasetError as error:
            damaged.append(str(error))
        else:
            pixels += counts
            occurrences += counts > 0
        on_image(done, len(indices))
    findings = [Finding("error", text) for text in damaged[:MOST_ERRORS]]
    if len(damaged) > MOST_ERRORS:
        findings.append(Finding("error", f"{len(damaged) - MOST_ERRORS} more pictures like these"))
    findings += _judge(data, split, pixels, complete=max_images is None)
    return LabelReport(
        split,
        len(indices) - len(damaged),
        dict(zip(data.classes, map(int, pixels), strict=False)),
        dict(zip(data.classes, map(int, occurrences), strict=False)),
        float(pixels[IGNORED] / max(1, pixels.sum())),
        tuple(findings),
    )


def shared_pictures(parts: Sequence[SemanticSet]) -> list[str]:
    """Return the names that occur in more than one part of a data set: what is trained on must not be measured on."""
    seen: set[str] = set()
    shared: set[str] = set()
    for part in parts:
        shared |= seen & set(part.names)
        seen |= set(part.names)
    return sorted(shared)


def _judge(data: SemanticSet, split: str, pixels: NDArray[np.int64], *, complete: bool) -> Iterator[Finding]:
    classes = len(data.classes)
    there = np.flatnonzero(pixels[:classes])
    total = int(pixels.sum())
    if data.kind == "folder" and there.tolist() == [0] and pixels[IGNORED]:
        yield Finding(
            "error",
            f"labels hold nothing but 0 and {IGNORED}, which is ignored; if it is a class, say so in classes.json: "
            f'"ids": [0, {IGNORED}]',
        )
    elif there.size <= 1 < classes and total:
        names = [data.classes[k] for k in there]
        yield Finding("error", f"expected several classes, got {names or 'none'}: every network will seem to be right")
    elif complete and there.size < classes and total:
        absent = [data.classes[k] for k in range(classes) if not pixels[k]]
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        yield Finding("warning", f"no pixel of {', '.join(absent[:5])}{more}: their IoU will be undefined")
    if total and pixels[IGNORED] > MUCH_IGNORED * total:
        yield Finding("warning", f"{pixels[IGNORED] / total:.0%} of all pixels are ignored")
    expected = PUBLISHED.get((data.kind, split))
    if expected not in (None, len(data)):
        yield Finding("warning", f"expected the {expected:,} pictures that were published, got {len(data):,}")
