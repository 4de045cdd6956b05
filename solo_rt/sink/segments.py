"""Video outputs cut into files of a few minutes: how long, and what they are called."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from solo_rt.errors import UsageError

LONGEST_JUMP = Fraction(10)  # seconds from one frame to the next; more begins a new file
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_seconds(text: str) -> Fraction:
    """Return the length that `60s`, `10m`, `1h` or `90` means, in seconds. Raises: UsageError."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh]?)", text.strip(), re.ASCII)
    seconds = Fraction(found[1]) * _UNITS[found[2]] if found else Fraction(0)
    if not seconds:
        raise UsageError(f"segment {text!r}: expected a time above 0 as 60s, 10m, 1h or 90")
    return seconds


def segment(uri: str, index: int) -> Path:
    """Return the file with a number: `out-000002.mp4` of `out.mp4`."""
    return Path(uri).with_stem(f"{Path(uri).stem}-{index:06d}")


def pattern(uri: str) -> str:
    """Return all files of an output as one name: `out-*.mp4` of `out.mp4`."""
    return str(Path(uri).with_stem(f"{Path(uri).stem}-*"))


def existing(uri: str) -> list[Path]:
    """Return the files that have such a name already, by their numbers."""
    path = Path(uri)
    name = re.compile(rf"{re.escape(path.stem)}-\d{{6,}}{re.escape(path.suffix)}", re.ASCII)
    return sorted(other for other in path.parent.iterdir() if name.fullmatch(other.name))
