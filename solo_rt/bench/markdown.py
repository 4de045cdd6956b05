"""A record as Markdown, which is what the command prints as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solo_rt.bench.machine import shown
from solo_rt.bench.ratio import compare_rates
from solo_rt.bench.rivals import OURS

HEADINGS = ("layer", "frames/s", "± 95 %", "ms p50", "p90", "p95", "p99", "max", "objects", "MB", "J/frame")


def to_markdown(record: Mapping[str, Any]) -> str:
    """Return the tables of a record, with what it was measured on and how far it can be trusted."""
    lines = [*_about(record), ""]
    rows = [_row(name, layer) for name, layer in record["layers"].items()]
    lines += [*table(HEADINGS, rows), ""] if rows else []
    card = record["layers"].get("network", {}).get("gpu_ms")
    if card is not None:
        parts = f"{card['enqueue']:.2f} ms to queue it, {card['wait']:.2f} ms of waiting"
        lines += [
            f"A call of the network takes {card['device']:.2f} ms on the card, copies included; the host {parts}.",
            "",
        ]
    live = record["layers"].get("live")
    if live is not None:
        lost = f"Live at {record['clip']['frame_rate']:g} frames/s {live.get('lost', 0):.1%} is lost"
        lines += [f"{lost}{_highest(live) if 'highest_fps' in live else ''}.", ""]
    unstable = [name for name, layer in record["layers"].items() if not layer["stable"]]
    if unstable:
        lines += [f"Not stable within 2 %: {', '.join(unstable)}.", ""]
    lines += _against(record) if "against" in record else []
    return "\n".join(lines)


def _highest(live: Mapping[str, Any]) -> str:
    interval = f" ± {live['highest_interval']:.1f} (95 %)" if "highest_interval" in live else ""
    return f"; up to {live['highest_fps']:.1f}{interval} frames/s less than 1 % is lost"


def _against(record: Mapping[str, Any]) -> list[str]:
    """Return the table of the rivals, what differs between them as footnotes, and who is missing."""
    found, absent = record["against"], record["absent"]
    ours = found.get(OURS, {"laps": []})["laps"]
    rows = []
    for number, (name, layer) in enumerate(found.items(), 1):
        ratio = compare_rates(layer["laps"], ours) if ours and name != OURS else None
        values = (ratio.value, ratio.low, ratio.high) if ratio is not None else (None,) * 3
        row = _row(f"{name} [{number}]", layer)
        rows.append([*row[:3], *("" if value is None else f"{value:.2f}" for value in values), row[8]])
    return [
        "From the clip to an annotated video, in turn:",
        "",
        *table(("", "frames/s", "± 95 %", f"{OURS} is so many times faster", "95 % from", "to", "objects"), rows),
        "",
        *(f"[{number}] {name}: {layer['what']}.  " for number, (name, layer) in enumerate(found.items(), 1)),
        *(f"No figures of {name}: {reason}  " for name, reason in absent.items()),
        "",
    ]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, numbers to the right; a column without any value is left out."""
    columns = [cells for cells in zip(headings, *rows, strict=True) if any(cells[1:])]
    widths = [max(3, *map(len, cells)) for cells in columns]
    is_text = [not all(map(_is_number, cells[1:])) for cells in columns]
    rule = [":" + "-" * (w - 1) if text else "-" * (w - 1) + ":" for w, text in zip(widths, is_text, strict=True)]
    lines = [
        [cell.ljust(w) if text else cell.rjust(w) for cell, w, text in zip(row, widths, is_text, strict=True)]
        for row in zip(*columns, strict=True)
    ]
    return [f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]] if lines else []


def _is_number(cell: str) -> bool:
    """Return whether a cell holds a number, or nothing."""
    return not cell or cell.replace(".", "", 1).isdigit()


def accuracy(model: Mapping[str, Any]) -> str:
    """Return the accuracy that a model's file carries, for people; empty where it carries none."""
    return next((f"{name} {model['metrics'][name]:.3f}" for name in ("AP", "mIoU") if name in model["metrics"]), "")


def _about(record: Mapping[str, Any]) -> list[str]:
    model, clip, machine, opening = record["model"], record["clip"], record["machine"], record["opening"]
    facts = [f"{model['width']}x{model['height']}", accuracy(model), f"SHA-256 {model['sha256'][:12]}"]
    load = machine["load"]
    quick = ", --quick" if record["asked"]["quick"] else ""
    averages = "load average " + " to ".join(f"{load[when][0]:.1f}" for when in ("before", "after") if load[when])
    return [
        f"**{model['name']}** ({', '.join(filter(None, facts))}) on {record['engine']}",
        "",
        f"- clip: {clip['name']}, {clip['width']}x{clip['height']}, {clip['frame_rate']:g} frames/s",
        f"- machine: {shown(machine)}; {averages}, others took {load['others']:.0%} of the CPU",
        f"- {opening['engine_s']:.2f} s to open the model, {opening['first_frame_s']:.2f} s to the first result",
        f"- solo-rt {machine['versions']['solo-rt']}, {record['taken_at']}{quick}",
        *(f"- **unreliable**: {reason}" for reason in record["unreliable"]),
        *([f"- **partial**: {record['partial']}"] if "partial" in record else []),
    ]


def _row(name: str, layer: Mapping[str, Any]) -> list[str]:
    times = layer.get("ms", {})
    return [
        name,
        f"{layer['fps']:.1f}",
        f"{layer['interval']:.1f}" if "interval" in layer else "",
        *(f"{times[key]:.2f}" if key in times else "" for key in ("p50", "p90", "p95", "p99", "max")),
        f"{layer['objects_per_frame']:.1f}" if "objects_per_frame" in layer else "",
        f"{layer['peak_rss_mb']:.0f}" if "peak_rss_mb" in layer else "",
        f"{layer['joules_per_frame']:.3f}" if "joules_per_frame" in layer else "",
    ]
