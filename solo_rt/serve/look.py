"""How a viewer wants the pictures: what is drawn, of which objects, how large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import numpy as np

from solo_rt import defaults
from solo_rt.errors import UsageError
from solo_rt.render import DEFAULT_STYLE, Style

WIDTHS = (320, 480, 640, 960, 1280, 1920)  # of pictures, so that viewers whose windows differ a little share theirs
MOST_WIDTH = 8192
NUMBERS = 10_000  # that classes may be called by
_RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Look:
    """What is drawn on a picture, and how wide that is. Viewers with the same one share their pictures."""

    style: Style = DEFAULT_STYLE
    conf: float = 0.0  # least score of an instance
    classes: frozenset[int] | None = None  # ids; None is all
    width: int | None = None  # pixels at most, one of WIDTHS or more than they are; None is the frame's own

    @classmethod
    def parse(cls, query: str, classes: Sequence[str] = ()) -> Look:
        """Return the look that the query of an address asks for: `boxes=1&conf=0.5&classes=person,3-5&width=640`.

        What is not said is as in files. `classes` are the names that may stand for their ids. Raises: UsageError.
        """
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=16)
        except ValueError as error:
            raise UsageError("look: expected at most 16 pairs like boxes=1, joined by &") from error
        said = dict(pairs)
        unknown = [name for name in said if name not in (*defaults.PARTS, "conf", "classes", "width")]
        if unknown or len(said) < len(pairs):
            raise UsageError(
                f"look: expected each of {', '.join(defaults.PARTS)}, conf, classes and width at most once"
            )
        switches = {name: _switch(name, said[name]) for name in defaults.PARTS if name in said}
        return cls(
            style=Style(**switches),
            conf=_conf(said.get("conf", "0")),
            classes=_class_ids(said["classes"], classes) if "classes" in said else None,
            width=_width(said["width"]) if "width" in said else None,
        )


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise UsageError(f"look: expected {name}=0 or {name}=1")
    return text == "1"


def _conf(text: str) -> float:
    if not re.fullmatch(r"\d(\.\d{1,4})?", text) or float(text) > 1:
        raise UsageError("look: expected conf of 0 to 1, like conf=0.5")
    return round(float(text), 2)  # a slider has no more places, and looks are to be shared


def _width(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= MOST_WIDTH:
        raise UsageError(f"look: expected a width of 1 to {MOST_WIDTH} pixels, like width=640")
    return next((width for width in WIDTHS if width >= int(text)), MOST_WIDTH)


def _class_ids(text: str, names: Sequence[str]) -> frozenset[int]:
    chosen = np.zeros(max(NUMBERS, len(names)), np.bool_)  # however often ranges repeat each other
    for part in filter(None, text.split(",")):
        found = _RANGE.fullmatch(part)
        if part in names:
            chosen[names.index(part)] = True
        elif found is not None:
            chosen[int(found[1]) : int(found[2] or found[1]) + 1] = True
        else:
            raise UsageError("look: expected classes by name or number, like classes=person,3-5")
    return frozenset(np.flatnonzero(chosen).tolist())
