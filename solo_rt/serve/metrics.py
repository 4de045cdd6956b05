"""The state of a run in the text format of Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UP = ("live", "running")  # states in which pictures come
_FAMILIES = {
    "source_up": ("gauge", "1 while pictures come"),
    "frames_total": ("counter", "Frames by what became of them"),
    "fps": ("gauge", "Results per second, of the last seconds"),
    "picture_age_seconds": ("gauge", "Age of the newest picture"),
    "latency_seconds": ("gauge", "From the decoder having a frame to its result, of the last seconds"),
    "stage_seconds": ("gauge", "Time of a frame in each stage, of the last minute"),
    "objects": ("gauge", "Objects on the newest picture"),
    "zone_objects": ("gauge", "Objects in a zone"),
    "zone_entered_total": ("counter", "Objects that entered a zone, or crossed a line forward"),
    "zone_left_total": ("counter", "Objects that left a zone, or crossed a line backward"),
    "viewers": ("gauge", "Pages and streams that watch"),
    "pictures_total": ("counter", "Pictures that were made for viewers"),
}

Sample = tuple[str, Mapping[str, str], float]


def write_metrics(sources: Sequence[Mapping[str, Any]], *, viewers: int, pictures: int) -> str:
    """Return the metrics of sources, each a `View.record()`."""
    samples = [sample for source in sources for sample in _samples(source)]
    samples += [("viewers", {}, viewers), ("pictures_total", {}, pictures)]
    lines = []
    for name, (kind, text) in _FAMILIES.items():
        values = [(labels, value) for family, labels, value in samples if family == name]
        if values:
            lines += [f"# HELP solo_rt_{name} {text}", f"# TYPE solo_rt_{name} {kind}"]
            lines += [f"solo_rt_{name}{_labels(labels)} {_number(value)}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _samples(source: Mapping[str, Any]) -> Iterable[Sample]:
    of = {"source": source["name"]}
    yield "source_up", of, source["state"] in UP
    yield "fps", of, source["fps"]
    for outcome, count in source.get("frames", {}).items():
        if outcome != "read":
            yield "frames_total", {**of, "outcome": outcome}, count
    if "age" in source:
        yield "picture_age_seconds", of, source["age"]
    if "latency" in source:
        yield from _quantiles("latency_seconds", of, source["latency"])
    for stage, times in source["stages"].items():
        yield from _quantiles("stage_seconds", {**of, "stage": stage}, times)
    for name, count in source.get("counts", {}).items():
        yield "objects", {**of, "class": name}, count
    for zone in source.get("zones", ()):
        for family, counts in (("objects", "inside"), ("entered_total", "entered"), ("left_total", "left")):
            if not (zone["is_line"] and counts == "inside"):
                yield f"zone_{family}", {**of, "zone": zone["name"]}, sum(zone[counts].values())


def _quantiles(family: str, labels: Mapping[str, str], times: Sequence[float]) -> Iterable[Sample]:
    for quantile, milliseconds in zip(("0.5", "0.95"), times, strict=True):
        yield family, {**labels, "quantile": quantile}, milliseconds / 1e3


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")  # all digits: a counter that is rounded stands still, and then jumps


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
