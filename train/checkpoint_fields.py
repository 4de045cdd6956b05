"""What the fields of a checkpoint must be, whoever wrote it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from solo_rt.errors import UsageError
from solo_rt.spec import Provenance
from solo_rt.train.torch_file import is_plain

MOST_PIXELS = 4096 * 4096  # of a network's input


def check_fields(values: Mapping[str, Any]) -> None:
    """Raise UsageError unless `values`, the fields of a `Checkpoint` by name, are what they should be."""
    for name, (expected, is_right) in FIELDS.items():
        if not is_right(values[name]):
            raise UsageError(f"expected {name} to be {expected}, got {shown(values[name])}")
    colours, classes = len(values["palette"]), len(values["classes"])
    if colours not in (0, classes):
        raise UsageError(f"expected no palette or a colour per class, got {colours} for {classes} classes")


def shown(value: object) -> str:
    """Return a value in few words, for messages."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(type(value) is kind for value in values)


def _are_finite(values: Any) -> bool:
    numbers = isinstance(values, (tuple, list)) and all(type(value) in (int, float) for value in values)
    return numbers and len(values) == 3 and all(map(math.isfinite, values))


def _is_provenance(value: Any) -> bool:
    known = {field.name: type(getattr(Provenance(), field.name)) for field in fields(Provenance)}
    return isinstance(value, dict) and all(
        key in known and isinstance(item, (int, float) if known[key] is float else known[key])
        for key, item in value.items()
    )


FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("the name of a network", lambda value: isinstance(value, str)),
    "classes": ("distinct names", lambda value: _are(str, value) and 0 < len(set(value)) == len(value)),
    "weights": ("tensors by name", lambda value: isinstance(value, dict) and all(map(is_plain, value.values()))),
    "step": ("a number of steps", lambda value: type(value) is int and value >= 0),
    "training": ("a dictionary", lambda value: isinstance(value, dict)),
    "provenance": ("the fields of a provenance", _is_provenance),
    "palette": (
        "colours",
        lambda value: (
            isinstance(value, (tuple, list))
            and all(_are(int, c) and len(c) == 3 and 0 <= min(c) <= max(c) < 256 for c in value)
        ),
    ),
    "unpainted": ("numbers of classes", lambda value: _are(int, value)),
    "mean": ("three numbers", _are_finite),
    "std": ("three positive numbers", lambda value: _are_finite(value) and min(value) > 0),
    "imgsz": (
        f"height and width of at most {MOST_PIXELS} pixels",
        lambda value: (
            value is None
            or (_are(int, value) and len(value) == 2 and min(value) > 0 and math.prod(value) <= MOST_PIXELS)
        ),
    ),
    "grids": ("numbers of cells", lambda value: value is None or _are(int, value)),
    "test_scale": (
        "the longest and the shortest side of a picture",
        lambda value: value is None or (_are(int, value) and len(value) == 2 and min(value) > 0),
    ),
}
