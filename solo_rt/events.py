"""What zones and lines on the picture tell: `ZoneState` and `Event`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

EventKind = Literal["enter", "leave", "dwell", "cross"]


@dataclass(frozen=True, slots=True)
class Event:
    """An object has entered or left a zone, has been in it for long, or has crossed a line, in this frame."""

    kind: EventKind
    zone: str  # name of the zone or the line
    track_id: int
    class_id: int  # index into ModelSpec.classes
    seconds: float | None = None  # dwell and leave: how long it was inside
    forward: bool | None = None  # cross: from the left of the line to its right, as one looks from its first point

    def to_record(self, classes: tuple[str, ...]) -> dict[str, object]:
        """Return the event as plain JSON values."""
        return {
            "event": self.kind,
            "zone": self.zone,
            "track_id": self.track_id,
            "class_id": self.class_id,
            "class": classes[self.class_id],
            **({} if self.seconds is None else {"seconds": round(self.seconds, 3)}),
            **({} if self.forward is None else {"direction": "forward" if self.forward else "backward"}),
        }


@dataclass(frozen=True, slots=True)
class ZoneState:
    """A polygon or a line on the picture, and what it has counted up to this frame."""

    name: str
    points: NDArray[np.float32]  # [K, 2] xy in pixels of the frame: corners of a polygon, or of a line in its order
    is_line: bool = False
    inside: Mapping[int, int] = field(default_factory=dict)  # objects in the polygon now, by class id
    entered: Mapping[int, int] = field(default_factory=dict)  # so far, by class id; of a line: crossed forward
    left: Mapping[int, int] = field(default_factory=dict)  # likewise; of a line: crossed backward

    def to_record(self, classes: tuple[str, ...]) -> dict[str, object]:
        """Return what it has counted as plain JSON values, by names of classes."""
        counts = {"forward": self.entered, "backward": self.left}
        if not self.is_line:
            counts = {"entered": self.entered, "left": self.left, "inside": self.inside}
        named = {key: {classes[i]: number for i, number in sorted(by.items())} for key, by in counts.items()}
        return {"line" if self.is_line else "zone": self.name, **named}
