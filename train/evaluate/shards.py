"""An evaluation in parts: what several processes found, written to files, read back and put together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from solo_rt.errors import DatasetError, UsageError
from solo_rt.files import replace_file
from solo_rt.train.evaluate.detections import Detection

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `part` of `parts`, from 1: every `parts`-th picture."""

    part: int
    parts: int

    def __post_init__(self) -> None:
        if not 1 <= self.part <= self.parts:
            raise UsageError(f"shard: expected I/N with I in 1..N, got {self.part}/{self.parts}")

    def of(self, indices: Sequence[int]) -> Sequence[int]:
        """Return the pictures of this part."""
        return indices[self.part - 1 :: self.parts]


WHOLE = Shard(1, 1)


@dataclass(frozen=True, slots=True)
class Subject:
    """Which model is measured on which pictures."""

    data: str  # address of the data set
    split: str
    max_images: int | None  # only the first ones
    model: str


@dataclass(frozen=True, slots=True)
class Findings(Subject):
    """What was found, and everything that must agree before parts can be put together."""

    protocol: str  # how it was found
    classes: tuple[str, ...]  # of the model
    detections: tuple[Detection, ...]
    left_out: tuple[int, ...] = ()  # pictures that could not be read, by index


def write_part(path: Path, shard: Shard, findings: Findings) -> None:
    """Write one part, in one step. Raises: UsageError when it cannot be written."""
    write_record(path, {"solo-rt findings": FORMAT, "part": shard.part, "parts": shard.parts, **asdict(findings)})


def write_record(path: Path, record: dict[str, object]) -> None:
    """Write a JSON file in one step. Raises: UsageError when it cannot be written."""
    try:
        replace_file(path, json.dumps(record).encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def merge_parts(paths: Sequence[Path]) -> Findings:
    """Return the findings of all parts together. Raises: DatasetError unless every part is there, once."""
    found: dict[int, Findings] = {}
    count = 0
    for path in paths:
        part, count, findings = _read_part(path)
        if part in found:
            raise DatasetError(f"{path}: part {part} of {count} is there twice")
        first = next(iter(found.values()), findings)
        for name in ("data", "split", "max_images", "model", "protocol", "classes"):
            expected, got = getattr(first, name), getattr(findings, name)
            if expected != got:
                raise DatasetError(f"{path}: expected {name} {expected} as in {paths[0]}, got {got}")
        found[part] = findings
    if sorted(found) != list(range(1, count + 1)) or not found:
        raise DatasetError(f"expected the files of all {count or 'N'} parts, got {sorted(found)}")
    detections = tuple(detection for part in sorted(found) for detection in found[part].detections)
    left_out = tuple(index for part in sorted(found) for index in found[part].left_out)
    return replace(found[1], detections=detections, left_out=left_out)


def _read_part(path: Path) -> tuple[int, int, Findings]:
    try:
        record = json.loads(path.read_text())
        if record.pop("solo-rt findings") != FORMAT:
            raise KeyError("solo-rt findings")
        part, parts = int(record.pop("part")), int(record.pop("parts"))
        record |= {"classes": tuple(record["classes"]), "detections": tuple(record["detections"])}
        record["left_out"] = tuple(record.get("left_out", ()))
        return part, parts, Findings(**record)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: expected what solo-rt eval --shard writes ({type(error).__name__}); write it again"
        ) from error
