"""The curves of a run as a picture: losses, rate and metrics over steps, drawn with OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.uint8]  # [H, W, 3] BGR
Series = Sequence[tuple[float, float]]  # step and value, in order

PANEL = (260, 620)  # height, width in pixels
PLOT = (46, 36, 20, 76)  # left out at the top, bottom, right and left of a panel
COLUMNS = 2
POINTS = 400  # of a curve: more are averaged in groups
INK, GRID, LINE, RAW = (60, 60, 60), (225, 225, 225), (180, 95, 30), (235, 205, 175)
TICKS = 5


def draw_curves(records: Sequence[dict[str, float]], path: Path) -> None:
    """Write a picture with a panel for each value of the `records`, whose `step` is the abscissa, to `path`.

    Draws nothing, and writes no file, without any record. Values that are not finite are left out.
    """
    names = list(dict.fromkeys(name for record in records for name in record if name != "step"))
    panels = []
    for name in names:
        series = [(r["step"], r[name]) for r in records if math.isfinite(r.get(name, math.nan))]
        if series:
            panels.append(_panel(name, series))
    if not panels:
        return
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % COLUMNS)
    rows = [np.hstack(panels[i : i + COLUMNS]) for i in range(0, len(panels), COLUMNS)]
    done, data = cv2.imencode(".png", np.vstack(rows))
    assert done
    path.write_bytes(data.tobytes())


def _panel(name: str, series: Series) -> Canvas:
    """Return one curve with its axes: every value in a pale tone, and their moving mean."""
    height, width = PANEL
    top, bottom, right, left = PLOT
    canvas = np.full((height, width, 3), 255, np.uint8)
    points = _thin(np.array(series, np.float64))
    smooth = _smoothed(points[:, 1])
    low, high, ticks = _scale(float(points[:, 1].min()), float(points[:, 1].max()))
    first, last = points[0, 0], max(points[-1, 0], points[0, 0] + 1)

    def place(step: float, value: float) -> tuple[int, int]:
        x = left + (step - first) / (last - first) * (width - left - right)
        y = height - bottom - (value - low) / (high - low) * (height - top - bottom)
        return round(x), round(y)

    for tick in ticks:
        y = place(first, tick)[1]
        cv2.line(canvas, (left, y), (width - right, y), GRID, 1)
        _write(canvas, f"{tick:.4g}", (left - 8, y + 4), align=1.0)
    for share in (0.0, 0.5, 1.0):
        step = first + share * (last - first)
        _write(canvas, f"{step:,.0f}", (place(step, low)[0], height - bottom + 18), align=share)
    for values, colour, thickness in ((points[:, 1], RAW, 1), (smooth, LINE, 2)):
        line = np.array([place(step, value) for step, value in zip(points[:, 0], values, strict=True)], np.int32)
        cv2.polylines(canvas, [line.reshape(-1, 1, 2)], False, colour, thickness, cv2.LINE_AA)
        if len(line) == 1:
            cv2.circle(canvas, tuple(map(int, line[0])), 3, colour, cv2.FILLED, cv2.LINE_AA)
    _write(canvas, name.replace("_", " "), (left, top - 18), scale=0.55)
    _write(canvas, f"last {series[-1][1]:.4g}", (width - right, top - 18), align=1.0)
    return canvas


def _thin(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return at most `POINTS` rows: means of as many groups of neighbours."""
    if len(points) <= POINTS:
        return points
    return np.array([group.mean(axis=0) for group in np.array_split(points, POINTS)])


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each value and its neighbours, up to a twentieth of all to either side."""
    reach = len(values) // 20
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return round limits that hold `low` and `high`, and the ticks between them."""
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        low, high = low - (abs(low) * 0.5 or 0.5), high + (abs(high) * 0.5 or 0.5)
    raw = (high - low) / TICKS
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return first * step, last * step, [i * step for i in range(first, last + 1)]


def _write(canvas: Canvas, text: str, at: tuple[int, int], *, align: float = 0.0, scale: float = 0.42) -> None:
    """Write `text` with its base line at `at`; `align` is the share of its width to the left of it."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(text, font, scale, 1)
    cv2.putText(canvas, text, (round(at[0] - align * width), at[1]), font, scale, INK, 1, cv2.LINE_AA)
