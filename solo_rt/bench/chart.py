"""Charts as pictures, drawn with OpenCV: bars of what was measured, and speed against accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from solo_rt.bench.machine import shown
from solo_rt.bench.markdown import accuracy
from solo_rt.bench.rivals import OURS
from solo_rt.errors import UsageError
from solo_rt.files import replaced_file

FINE = 4  # the picture is drawn so many times larger and made small again: OpenCV's letters are drawn lines
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK, FAINT, BAR, OTHER = (40, 40, 40), (150, 150, 150), (176, 114, 32), (170, 170, 170)  # BGR
GRID = (230, 230, 230)
KINDS = (BAR, (40, 110, 220))  # of accuracy
WIDTH, MARGIN, ROW, LINE, PLOT = 960, 24, 34, 20, 380  # pixels
TEXT, SMALL, TITLE = 0.48, 0.4, 0.62  # sizes of letters


class Bar(NamedTuple):
    """A row of a bar chart."""

    name: str
    value: float
    interval: float = 0.0  # half of it
    is_ours: bool = True


class Point(NamedTuple):
    """A dot of a chart of speed against accuracy."""

    name: str
    speed: float
    accuracy: float  # of 1
    kind: int  # of accuracy: which of the names
    is_best: bool  # no other is both faster and more accurate


class Canvas:
    """A white picture to draw on, in pixels of the picture that it becomes."""

    def __init__(self, width: int, height: int) -> None:
        self._picture = np.full((height * FINE, width * FINE, 3), 255, np.uint8)

    def text(self, x: float, y: float, text: str, *, size: float = TEXT, colour: tuple[int, int, int] = INK) -> None:
        """Write, beginning at x, with the letters' feet at y."""
        place = (round(x * FINE), round(y * FINE))
        cv2.putText(
            self._picture,
            plain(text),
            place,
            FONT,
            size * FINE,
            colour,
            max(1, round(1.2 * FINE * size * 2)),
            cv2.LINE_AA,
        )

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, int, int]) -> None:
        """Fill a rectangle."""
        corners = ((round(x0 * FINE), round(y0 * FINE)), (round(x1 * FINE), round(y1 * FINE)))
        cv2.rectangle(self._picture, *corners, colour, cv2.FILLED)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, int, int] = INK) -> None:
        """Draw a line."""
        ends = ((round(x0 * FINE), round(y0 * FINE)), (round(x1 * FINE), round(y1 * FINE)))
        cv2.line(self._picture, *ends, colour, FINE, cv2.LINE_AA)

    def dot(self, x: float, y: float, colour: tuple[int, int, int], *, is_full: bool) -> None:
        """Draw a dot, or a ring."""
        place = (round(x * FINE), round(y * FINE))
        cv2.circle(self._picture, place, 5 * FINE, colour, cv2.FILLED if is_full else 2 * FINE, cv2.LINE_AA)

    def picture(self) -> NDArray[np.uint8]:
        """Return `uint8 [H, W, 3] BGR`."""
        small = cv2.resize(self._picture, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)


def draw_bars(title: str, bars: Sequence[Bar], notes: Sequence[str]) -> NDArray[np.uint8]:
    """Return a chart of frames per second, `uint8 [H, W, 3] BGR`: bars with their intervals, and notes."""
    lines = [part for note in notes for part in wrap(note, WIDTH - 2 * MARGIN, SMALL)]
    canvas = Canvas(WIDTH, 2 * MARGIN + 40 + ROW * len(bars) + LINE * len(lines))
    canvas.text(MARGIN, MARGIN + 16, title, size=TITLE)
    left = MARGIN + max((width_of(bar.name, TEXT) for bar in bars), default=0) + 12
    most = max((bar.value + bar.interval for bar in bars), default=0) or 1.0
    scale = (WIDTH - MARGIN - 110 - left) / most
    y = MARGIN + 40.0
    for bar in bars:
        end = left + bar.value * scale
        canvas.text(MARGIN, y + 18, bar.name)
        canvas.box(left, y + 4, end, y + ROW - 8, BAR if bar.is_ours else OTHER)
        if bar.interval:
            ends = max(left, end - bar.interval * scale), end + bar.interval * scale
            canvas.line(ends[0], y + 15, ends[1], y + 15)
            for x in ends:
                canvas.line(x, y + 11, x, y + 19)
        canvas.text(end + bar.interval * scale + 8, y + 19, f"{bar.value:.1f} fps")
        y += ROW
    for line in lines:
        y += LINE
        canvas.text(MARGIN, y, line, size=SMALL, colour=FAINT)
    return canvas.picture()


def draw_points(title: str, kinds: Sequence[str], points: Sequence[Point], notes: Sequence[str]) -> NDArray[np.uint8]:
    """Return a chart of speed against accuracy, `uint8 [H, W, 3] BGR`; those that none beats are joined by a line."""
    lines = [part for note in notes for part in wrap(note, WIDTH - 2 * MARGIN, SMALL)]
    canvas = Canvas(WIDTH, PLOT + 2 * MARGIN + 76 + LINE * len(lines))
    canvas.text(MARGIN, MARGIN + 16, title, size=TITLE)
    left, top, right, bottom = MARGIN + 50, MARGIN + 40, WIDTH - MARGIN, MARGIN + 40 + PLOT
    across = ticks(0.0, max((point.speed for point in points), default=1.0))
    values = [point.accuracy for point in points] or [0.0, 1.0]
    up = ticks(min(values), max(values) + 0.01)  # there is room for a name above the highest

    def at(speed: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * (speed - across[0]) / (across[-1] - across[0])
        return x, bottom - (bottom - top) * (value - up[0]) / (up[-1] - up[0])

    for speed in across:
        x, _ = at(speed, up[0])
        canvas.line(x, top, x, bottom, GRID)
        canvas.text(x - width_of(f"{speed:g}", SMALL) / 2, bottom + 16, f"{speed:g}", size=SMALL, colour=FAINT)
    for value in up:
        _, y = at(across[0], value)
        canvas.line(left, y, right, y, GRID)
        canvas.text(left - 8 - width_of(f"{value:g}", SMALL), y + 4, f"{value:g}", size=SMALL, colour=FAINT)
    for kind, colour in enumerate(KINDS):
        front = sorted(at(point.speed, point.accuracy) for point in points if point.kind == kind and point.is_best)
        for (x0, y0), (x1, y1) in pairwise(front):
            canvas.line(x0, y0, x1, y1, colour)
    taken: list[tuple[float, float, float]] = []  # left, right and foot of names
    for point in sorted(points, key=lambda point: point.accuracy):
        x, y = at(point.speed, point.accuracy)
        canvas.dot(x, y, KINDS[point.kind], is_full=point.is_best)
        wide, foot = width_of(point.name, SMALL), y - 12
        begin = min(max(x - wide / 2, left + 4), right - wide)
        while any(begin < end and begin + wide > start and abs(foot - other) < 14 for start, end, other in taken):
            foot -= 14
        taken.append((begin, begin + wide, foot))
        canvas.text(begin, foot, point.name, size=SMALL)
    x = float(left)
    for kind, name in enumerate(kinds):
        if any(point.kind == kind for point in points):
            canvas.dot(x + 5, bottom + 34, KINDS[kind], is_full=True)
            canvas.text(x + 16, bottom + 38, name, size=SMALL)
            x += 40 + width_of(name, SMALL)
    for number, line in enumerate(lines, 1):
        canvas.text(MARGIN, bottom + 40 + LINE * number, line, size=SMALL, colour=FAINT)
    return canvas.picture()


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers, evenly spaced, that `low` and `high` lie between."""
    span = max(high - low, 0.01)
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * unit for factor in (1, 2, 5, 10) if span / (factor * unit) <= 5)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * number, 10) for number in range(first, max(last, first + 1) + 1)]


def draw_record(record: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the chart of a record of `solo-rt bench`, `uint8 [H, W, 3] BGR`."""
    layers, model, clip = record["layers"], record["model"], record["clip"]
    bars = [Bar(name, layer["fps"], layer.get("interval", 0.0)) for name, layer in layers.items() if name != "live"]
    if "highest_fps" in layers.get("live", {}):
        bars.append(Bar("live, at most", layers["live"]["highest_fps"], layers["live"].get("highest_interval", 0.0)))
    for name, rival in record.get("against", {}).items():
        bars.append(Bar(f"video to video: {name}", rival["fps"], rival.get("interval", 0.0), is_ours=name == OURS))
    measured = f"{clip['name']}, {clip['width']}x{clip['height']}; {shown(record['machine'])}"
    notes = [", ".join(filter(None, [measured, accuracy(model)])), record["taken_at"]]
    notes += [f"unreliable: {reason}" for reason in record["unreliable"]]
    notes += [f"partial: {record['partial']}"] if "partial" in record else []
    return draw_bars(f"{model['name']} on {record['engine']}", bars, notes)


def write_chart(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a chart as PNG, whole or not at all. Raises: OSError."""
    ok, data = cv2.imencode(".png", picture)
    if not ok:
        raise UsageError(f"{path}: OpenCV cannot write PNG here")
    with replaced_file(path) as part:
        part.write_bytes(data.tobytes())


def width_of(text: str, size: float) -> float:
    """Return the width of a text in pixels."""
    return float(cv2.getTextSize(plain(text), FONT, size * FINE, FINE)[0][0]) / FINE


def wrap(text: str, width: float, size: float) -> list[str]:
    """Return a text as lines that are no wider than so many pixels, unless a word is."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def plain(text: str) -> str:
    """Return a text in the letters that OpenCV has."""
    return text.replace("±", "+-").replace("—", "-").encode("ascii", "replace").decode()
