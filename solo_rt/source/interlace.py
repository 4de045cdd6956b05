"""Interlaced pictures made whole: each holds two moments, one on its even lines and one on its odd ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

import av

from solo_rt.source.planes import in_host_memory

T = TypeVar("T")


def deinterlaced(pictures: Iterable[tuple[av.VideoFrame, T]], *, codec: str) -> Iterator[tuple[av.VideoFrame, T]]:
    """Yield every picture in its turn: as it is, or made whole if it says that it is interlaced.

    What comes with a picture stays with it, and so do its times, tags and flags. Of the two moments the first is kept;
    the lines of the other are made up from those around them and from the pictures before and after. For that, every
    picture from the first interlaced one on waits for the next. Source: FFmpeg's bwdif.
    H.265, FFmpeg's `codec` hevc, has every field in a picture of its own: there is nothing to make whole.
    """
    mending: _Filter[T] | None = None
    for picture, note in pictures:
        if mending is not None and not mending.takes(picture):
            yield from mending.flush()
            mending = None
        if mending is None and picture.interlaced_frame and codec != "hevc":
            with suppress(av.FFmpegError):  # of a few lines, or of a layout that swscale does not know either
                mending = _Filter(picture)
        if mending is None:
            yield picture, note
        else:
            yield from mending.push(picture, note)
    if mending is not None:
        yield from mending.flush()


class _Filter(Generic[T]):
    """FFmpeg's bwdif for pictures of one size and layout: they come out in the order they go in, one later."""

    def __init__(self, first: av.VideoFrame) -> None:
        self._layout = width, height, name = _layout(first)
        self._waiting: deque[tuple[av.VideoFrame, T]] = deque()
        self._graph = av.filter.Graph()
        self._graph.threads = 1  # the decoder and the network have better uses for the cores
        source = self._graph.add_buffer(width=width, height=height, format=name, time_base=1)
        bwdif = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def takes(self, picture: av.VideoFrame) -> bool:
        return _layout(picture) == self._layout

    def push(self, picture: av.VideoFrame, note: T) -> Iterator[tuple[av.VideoFrame, T]]:
        self._waiting.append((picture, note))
        self._graph.vpush(in_host_memory(picture))
        return self._pull()

    def flush(self) -> Iterator[tuple[av.VideoFrame, T]]:
        """Yield what is left. Nothing can be pushed after it."""
        self._graph.vpush(None)
        return self._pull()

    def _pull(self) -> Iterator[tuple[av.VideoFrame, T]]:
        while True:
            try:
                mended = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):  # until the next picture, or for good
                return
            picture, note = self._waiting.popleft()
            if not picture.interlaced_frame:
                yield picture, note
                continue
            mended.pts, mended.time_base, mended.duration = picture.pts, picture.time_base, picture.duration
            mended.colorspace, mended.color_range = picture.colorspace, picture.color_range  # lost where NV12 is split
            yield mended, note


def _layout(picture: av.VideoFrame) -> tuple[int, int, str]:
    """Return width, height and pixel format, in host memory for a picture on a GPU."""
    is_on_gpu = picture.format.name == "cuda"
    return picture.width, picture.height, (picture.sw_format if is_on_gpu else picture.format).name
