"""What every sink is: it takes results one by one, in order, and leaves something complete behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeVar

from solo_rt.result import Result
from solo_rt.types import Frame

S = TypeVar("S", bound="Sink")


class Gap(NamedTuple):
    """Results that an output lacks."""

    first: int  # index of the frame
    frames: int


class Sink(Protocol):
    """Takes results. Used by one thread at a time; `close()` finishes the output and may be called again.

    An opened sink has not touched what was there before: that is replaced with the first result or event.
    """

    uri: str
    needs_picture: bool  # whether it shows the frame, so that drawing on it is worth the time
    takes_gpu_pictures: bool = False  # whether that picture may be on a GPU
    can_resume: bool = False  # whether results after a failed one can still be added, behind a gap

    def write(self, result: Result) -> None:
        """Add one result; what it holds is not kept after the call. Raises: SinkError when the output failed."""

    def note(self, event: Mapping[str, object]) -> None:
        """Add what happened between two results, as plain JSON values. Raises: SinkError when the output failed."""
        return  # most outputs have no place for it

    def resume(self, gap: Gap) -> None:
        """Make ready for the result after a gap, if the sink `can_resume`. Raises: SinkError while it cannot be."""
        return  # a sink that keeps nothing from one result to the next is ready

    def close(self) -> None:
        """Finish the output. Raises: SinkError when its end cannot be written."""

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def picture_of(result: Result) -> Frame:
    """Return the annotated picture, or the frame itself where nothing was drawn."""
    return result.frame if result.rendered is None else result.rendered
