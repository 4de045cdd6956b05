"""What every source is: an iterator of frames that knows what it reads and reports what it lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, Protocol, TypeVar

from solo_rt.source.sound import Sound
from solo_rt.types import Frame

S = TypeVar("S", bound="Source")

MAX_PIXELS = 8192 * 8192  # a picture with more is refused before it is allocated; 8K video has half as many


Kind = Literal["video", "pictures", "world", "camera", "network", "screen", "pipe", "own"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What is known about a source once it is open. Size and rate are those of the first frame, shown upright."""

    uri: str  # as given, credentials removed
    kind: Kind = "own"  # own: a class of the caller's
    width: int
    height: int
    frame_rate: Fraction | None = None  # average, frames per second; None when the file does not say
    frame_count: int | None = None  # an estimate, good for a progress bar; None when the file does not say
    time_base: Fraction  # seconds per unit of Frame.pts
    live: bool = False  # frames come at their own pace and are lost unless read in time
    pixel_aspect: Fraction = Fraction(1)  # width of a pixel as it is to be shown, by its height; frames keep their own
    sound: Sound | None = field(default=None, repr=False, compare=False)  # if it was asked for and there is some


SourceState = Literal["connecting", "live", "stalled", "lost"]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A live source has come or gone."""

    state: SourceState  # stalled: connected, but no picture comes; lost: given up
    reason: str  # one sentence; empty when all is well
    at: float  # Unix time, seconds

    def to_record(self) -> dict[str, object]:
        """Return the change as plain JSON values."""
        return {"state": self.state, "reason": self.reason, "wall_time": round(self.at, 3)}


class Source(Protocol):
    """Frames in order, read once: a second loop goes on where the first one stopped.

    Opening reads the first frame, so that whatever keeps a source from being read is reported there. A source is
    used by one thread at a time; frames stay valid after `close()`.
    """

    info: SourceInfo
    on_state: Callable[[StateChange], None] | None = None
    """Called by the reading thread when a live source has come or gone; whoever wants to know sets it."""

    @property
    def damage(self) -> str | None:
        """One sentence on what could not be read so far and how much it was; None when nothing was lost."""

    def __iter__(self) -> Iterator[Frame]: ...

    def stop(self) -> None:
        """Let a loop that waits for the next frame end soon. For any thread, at any time."""
        return  # a file keeps nobody waiting

    def close(self) -> None:
        """Release the file; reading ends. May be called again."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()
