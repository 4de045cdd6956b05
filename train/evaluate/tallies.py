"""A semantic evaluation in parts: what several processes counted, written to files, read back and added up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from solo_rt.errors import DatasetError
from solo_rt.train.evaluate.cityscapes import InstanceTally
from solo_rt.train.evaluate.semantic import Counted, Tally
from solo_rt.train.evaluate.shards import Shard, write_record

FORMAT = 2
KEY = "solo-rt tally"


def is_tally(path: Path) -> bool:
    """Return whether a file is one of these; others are left to those who know them."""
    try:
        return KEY in json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return False


def write_tally(path: Path, shard: Shard, counted: Counted) -> None:
    """Write one part, in one step. Raises: UsageError when it cannot be written."""
    tally = counted.tally
    instances = tally.instances
    write_record(
        path,
        {
            KEY: FORMAT,
            "part": [shard.part, shard.parts],
            "what": counted.what,
            "images": tally.images,
            "enlarged": tally.enlarged,
            "confusion": tally.confusion.tolist(),
            "instances": [instances.classes.tolist(), instances.categories.tolist()] if instances else None,
        },
    )


def merge_tallies(paths: Sequence[Path]) -> Counted:
    """Return the sum of all parts. Raises: DatasetError unless every part of one evaluation is there, once."""
    parts: dict[Shard, Counted] = {}
    for path in paths:
        shard, counted = _read(path)
        first = next(iter(parts.values()), counted)
        if counted.what != first.what or shard in parts:
            raise DatasetError(
                f"{path}: expected another part of {first.what}, got part {shard.part} of {counted.what}"
            )
        parts[shard] = counted
    expected = {Shard(k + 1, shard.parts) for shard in parts for k in range(shard.parts)}
    if not parts or set(parts) != expected:
        raise DatasetError(f"expected {len(expected) or 'the files of all'} parts, got {len(parts)}")
    first, *others = (parts[shard] for shard in sorted(parts, key=lambda shard: shard.part))
    total = first.tally
    for counted in others:
        total += counted.tally
    return Counted(first.data, first.split, first.max_images, first.model, first.protocol, total)


def _read(path: Path) -> tuple[Shard, Counted]:
    try:
        record = json.loads(path.read_text())
        if record[KEY] != FORMAT:
            raise KeyError(KEY)
        weighted = record["instances"]
        instances = InstanceTally(np.array(weighted[0]), np.array(weighted[1])) if weighted else None
        tally = Tally(record["images"], np.array(record["confusion"], np.int64), instances, record["enlarged"])
        data, split, max_images, model, protocol = record["what"]
        return Shard(*record["part"]), Counted(data, split, max_images, model, protocol, tally)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DatasetError(
            f"{path}: expected what solo-rt eval --shard writes ({type(error).__name__}); write it again"
        ) from error
