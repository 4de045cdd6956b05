"""What FFmpeg makes of a video: the pictures of its decoders, by way of its own filters and nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from solo_rt.types import UInt8

# What swscale rounds in the same way everywhere.
EXACT = "scale=flags=bilinear+accurate_rnd+bitexact"


def through(pictures: Sequence[av.VideoFrame], *filters: str) -> list[av.VideoFrame]:
    """Return what the filters, given as `name=options`, make of the pictures, which are of one size and layout."""
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(template=pictures[0], time_base=pictures[0].time_base or 1)]
    nodes += [graph.add(*text.split("=", 1)) for text in filters]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    results = []
    for picture in [*pictures, None]:
        graph.vpush(picture)
        while True:
            try:
                results.append(graph.vpull())
            except (av.BlockingIOError, av.EOFError):
                break
    return results


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def planes_of(picture: av.VideoFrame) -> list[UInt8]:
    """Return copies of the 8-bit planes of a picture, `[h, w]` each, or `[h, w, 3]` of one in RGB."""
    channels = 3 if picture.format.name == "rgb24" else 1
    rows = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in picture.planes]
    cut = [row[: p.height, : p.width * channels] for row, p in zip(rows, picture.planes, strict=True)]
    return [values.reshape(len(values), -1, 3).copy() if channels == 3 else values.copy() for values in cut]
