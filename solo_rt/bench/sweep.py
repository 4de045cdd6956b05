"""Many models, precisions and lanes on one clip: a table, and speed against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt.bench.chart import Point, draw_points
from solo_rt.bench.machine import shown
from solo_rt.bench.markdown import table
from solo_rt.bench.measurement import Order
from solo_rt.engine import Precision
from solo_rt.engine.precision import lower_precisions

LAYERS = ("network", "model", "pipeline to JSON lines")
METRICS = ("AP", "mIoU")
HEADINGS = ("model", "input", "engine", "lanes", *METRICS, "network, frames/s", "model", "pipeline", "± 95 %", "best")


def list_orders(
    base: Order, models: Sequence[str | None], precisions: Sequence[Precision], lanes: Sequence[int | None]
) -> list[Order]:
    """Return what is to be measured: every model with every precision and every number of lanes."""
    return [
        replace(base, model=model, precision=precision, lanes=count)
        for model, precision, count in product(models, precisions, lanes)
    ]


def accuracies(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the accuracy of a model in the precision it was computed in, by its name, of 1.

    It is empty where nobody measured what bf16 or INT8 cost on such a CPU.
    """
    model = record["model"]
    lower = lower_precisions(record["engine"])
    if any(precision not in model["costs"] for precision in lower):
        return {}
    lost = sum(model["costs"][precision] for precision in lower)
    return {name: round(model["metrics"][name] - lost, 4) for name in METRICS if name in model["metrics"]}


def best(records: Sequence[Mapping[str, Any]]) -> set[int]:
    """Return the numbers of those that no other beats in both speed and accuracy, each kind of accuracy by itself."""
    found = set()
    for metric in METRICS:
        known = [(i, _speed(r), accuracies(r)[metric]) for i, r in enumerate(records) if metric in accuracies(r)]
        found |= {
            i
            for i, speed, value in known
            if speed and not any(s >= speed and v >= value and (s, v) != (speed, value) for _, s, v in known)
        }
    return found


def to_markdown(records: Sequence[Mapping[str, Any]], refused: Sequence[str] = ()) -> str:
    """Return the table of a sweep, with what could not be measured."""
    chosen, rows = best(records), []
    for number, record in enumerate(records):
        model, layers, found = record["model"], record["layers"], accuracies(record)
        pipeline = layers.get(LAYERS[-1], {})
        rows.append(
            [
                model["name"],
                f"{model['width']}x{model['height']}",
                record["engine"],
                str(record["asked"].get("lanes", "")),
                *(f"{found[metric]:.3f}" if metric in found else "" for metric in METRICS),
                *(f"{layers[name]['fps']:.1f}" if name in layers else "" for name in LAYERS),
                f"{pipeline['interval']:.1f}" if "interval" in pipeline else "",
                "*" if number in chosen else "",
            ]
        )
    first = next(iter(records), None)
    about = [] if first is None else [
        f"- clip: {first['clip']['name']}, {first['clip']['width']}x{first['clip']['height']}",
        f"- machine: {shown(first['machine'])}; {first['taken_at']}",
        *(f"- **unreliable**: {reason}" for reason in first["unreliable"]),
        *(f"- **partial**: {r['model']['name']} on {r['engine']}: {r['partial']}" for r in records if "partial" in r),
    ]  # fmt: skip
    return "\n".join([*about, *(f"- **not measured**: {reason}" for reason in refused), "", *table(HEADINGS, rows), ""])


def draw_sweep(records: Sequence[Mapping[str, Any]]) -> NDArray[np.uint8]:
    """Return the chart of a sweep, `uint8 [H, W, 3] BGR`: speed of the pipeline against accuracy of the files."""
    chosen, points = best(records), []
    for number, record in enumerate(records):
        lanes = record["asked"].get("lanes")
        words = [record["model"]["name"], *lower_precisions(record["engine"])]
        name = " ".join([*words, *([f"{lanes} lanes"] if lanes not in (None, 1) else [])])
        points += [
            Point(name, _speed(record), value, METRICS.index(metric), number in chosen)
            for metric, value in accuracies(record).items()
            if _speed(record)
        ]
    notes = []
    if records:
        first = records[0]
        notes = [
            f"{first['clip']['name']}, {first['clip']['width']}x{first['clip']['height']}; {shown(first['machine'])}; "
            f"{first['taken_at']}. Full dots: no other is both faster and more accurate.",
            *(f"unreliable: {reason}" for reason in first["unreliable"]),
        ]
    return draw_points("Frames per second of the pipeline to JSON lines", METRICS, points, notes)


def _speed(record: Mapping[str, Any]) -> float:
    return float(record["layers"].get(LAYERS[-1], {"fps": 0.0})["fps"])
