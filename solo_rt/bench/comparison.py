"""Two records side by side: how many times faster the second is, and how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from solo_rt.bench.machine import shown
from solo_rt.bench.markdown import table
from solo_rt.bench.ratio import compare_rates
from solo_rt.errors import UsageError

HEADINGS = ("layer", "A frames/s", "B frames/s", "B / A", "95 % from", "to", "")


def compare(first: Mapping[str, Any], second: Mapping[str, Any], *, anyway: bool = False) -> str:
    """Return the table of two records. Raises: UsageError for what cannot be compared, unless `anyway`."""
    reasons = differences(first, second)
    if reasons and not anyway:
        raise UsageError(f"these cannot be compared: {'; '.join(reasons)}; --anyway does it all the same")
    rows: list[list[str]] = []
    for name, layer in first["layers"].items():
        other = second["layers"].get(name)
        if other is None:
            continue
        if name != "live":
            rows.append(_row(name, layer["laps"], other["laps"]))
        elif "highest_fps" in layer and "highest_fps" in other:
            rows.append(_row("live, at most", _highest(layer), _highest(other)))
    missing = sorted(set(first["layers"]) ^ set(second["layers"]))
    return "\n".join(
        [
            *(f"- {letter}: {_title(record)}" for letter, record in (("A", first), ("B", second))),
            *(f"- **cannot be compared**: {reason}" for reason in reasons),
            *([f"- only in one of them: {', '.join(missing)}"] if missing else []),
            *(
                f"- {letter} is **unreliable**: {reason}"
                for letter, record in (("A", first), ("B", second))
                for reason in record["unreliable"]
            ),
            "",
            *table(HEADINGS, rows),
        ]
    )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return why two records cannot be compared: they are not of the same work."""
    model, other = first["model"], second["model"]
    reasons = []
    if model["name"] != other["name"]:
        reasons.append(f"the models are {model['name']} and {other['name']}")
    elif (model["width"], model["height"]) != (other["width"], other["height"]):
        sizes = (f"{size['width']}x{size['height']}" for size in (model, other))
        reasons.append(f"the inputs of the models are {' and '.join(sizes)}")
    elif model["sha256"] != other["sha256"]:
        reasons.append(f"the files of {model['name']} are not the same")
    if not _same_clip(first["clip"], second["clip"]):
        reasons.append(f"the clips are {_clip(first)} and {_clip(second)}")
    if first["thresholds"] != second["thresholds"]:
        reasons.append("the thresholds are not the same")
    return reasons


def _highest(live: Mapping[str, Any]) -> Sequence[float]:
    """Return what each search found; records of earlier versions hold one rate only."""
    found: Sequence[float] = live.get("highest_laps", [live["highest_fps"]])
    return found


def _same_clip(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two clips show the same: by their bytes, or by the recipe of both."""
    same_bytes = bool(first["sha256"]) and first["sha256"] == second["sha256"]
    return same_bytes or ("://" in first["name"] and first["name"] == second["name"])


def _clip(record: Mapping[str, Any]) -> str:
    clip = record["clip"]
    return f"{clip['name']} ({clip['width']}x{clip['height']}, {clip['sha256'][:12] or 'no file'})"


def _title(record: Mapping[str, Any]) -> str:
    return f"{record['model']['name']} on {record['engine']}; {shown(record['machine'])}; {record['taken_at']}"


def _row(name: str, first: Sequence[float], second: Sequence[float]) -> list[str]:
    means = [f"{statistics.fmean(rates):.1f}" for rates in (first, second)]
    if min(*first, *second) <= 0:
        return [name, *means, "", "", "", "not known"]
    ratio = compare_rates(first, second)
    bounds = ["" if bound is None else f"{bound:.3f}" for bound in (ratio.low, ratio.high)]
    return [name, *means, f"{ratio.value:.3f}", *bounds, ratio.verdict]
