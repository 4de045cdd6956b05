"""When pictures of an AVI are shown: it has no times, only pictures one after another as they are decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import av

T = TypeVar("T")


def with_times(
    pictures: Iterable[tuple[av.VideoFrame, T]],
    container: av.container.InputContainer,
    stream: av.VideoStream,
    step: int,
) -> Iterable[tuple[av.VideoFrame, T]]:
    """Return the pictures of any stream with the times at which they are shown.

    `step` is from one picture to the next, in ticks of the stream.
    """
    is_disordered = container.format.name == "avi" and stream.codec_context.has_b_frames
    return _in_order(pictures, step) if is_disordered else pictures


def _in_order(pictures: Iterable[tuple[av.VideoFrame, T]], step: int) -> Iterator[tuple[av.VideoFrame, T]]:
    """Yield pictures with the times that an AVI with B-frames means.

    What FFmpeg calls their `pts` is the place of their packets in the file; `dts`, which counts them as they come out
    of the decoder, is right but for where it begins. The first keeps its own time, so that sound stays where it was.
    """
    shift: int | None = None
    last = 0
    for picture, note in pictures:
        if picture.dts is None:  # of those that the decoder gives up at the end
            last += step
        else:
            if shift is None:
                shift = 0 if picture.pts is None else picture.pts - picture.dts
            last = picture.dts + shift
        picture.pts = last
        yield picture, note
