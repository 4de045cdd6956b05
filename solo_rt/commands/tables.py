"""Results for people, as rich tables."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # a run would wait for what only `eval` needs
    from solo_rt.doctor import Finding
    from solo_rt.pipeline.report import RunReport
    from solo_rt.train.evaluate.instances import InstanceScores
    from solo_rt.train.evaluate.semantic import SemanticScores


# A name that others gave must not steer the terminal; lines may break.
CONTROLS = dict.fromkeys((*range(10), *range(11, 32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")
COLOURS = {"+": "green", "!": "red", "-": "dim"}


def print_report(report: RunReport, outputs: Sequence[str]) -> None:
    """Print what a run did: counts, time per stage in milliseconds, outputs."""
    losses = [(report.dropped, "dropped"), (report.skipped, "skipped by --max-fps"), (report.failed, "failed")]
    counts = ", ".join(
        [
            f"{report.processed} frame{'s' if report.processed != 1 else ''} in {report.seconds:.2f} s",
            f"{report.fps:.1f} fps",
            *(
                []
                if report.instances is None
                else [f"{report.instances} instance{'s' if report.instances != 1 else ''}"]
            ),
            *([] if report.moved is None else [f"{report.processed - report.moved} computed, {report.moved} moved"]),
            *(f"{count} {what}" for count, what in losses if count),
            *([f"{report.read} captured"] if report.read != report.processed else []),  # the sum of all these
        ]
    )
    rows = []
    for name, stats in {**report.stages, "latency": report.latency}.items():
        times = [f"{1e3 * value:.1f}" for value in (stats.mean, stats.p50, stats.p95, stats.p99, stats.max)]
        rows.append([name, *times, f"{stats.busy:.0%}" if name != "latency" else ""])
    click.echo(counts)
    _print_cells(["stage, ms", "mean", "p50", "p95", "p99", "max", "busy"], rows)
    _print_zones({"": report})
    for output in outputs:
        click.echo(output)


def print_reports(reports: Mapping[str, RunReport], outputs: Sequence[str]) -> None:
    """Print what the runs of several sources did, a line each; times in milliseconds."""
    headings = ["frames", "fps", "instances", "dropped", "skipped", "failed", "latency p50", "p95", "max"]
    rows = []
    for name, report in reports.items():
        counts = (report.dropped, report.skipped, report.failed)
        latency = (report.latency.p50, report.latency.p95, report.latency.max)
        found = "" if report.instances is None else str(report.instances)
        times = [f"{1e3 * seconds:.1f}" for seconds in latency]
        rows.append([name, str(report.processed), f"{report.fps:.1f}", found, *map(str, counts), *times])
    _print_cells(["source", *headings], rows)
    for name, report in reports.items():
        if report.moved is not None:
            click.echo(f"{name}: {report.processed - report.moved} computed, {report.moved} moved".translate(CONTROLS))
    _print_zones(reports)
    for output in outputs:
        click.echo(output)


def _print_zones(reports: Mapping[str, RunReport]) -> None:
    """Print what zones and lines have counted, a line for each class; `reports` are by source."""
    for is_line, headings in ((False, ["entered", "left", "inside"]), (True, ["forward", "backward"])):
        rows: list[list[str | int]] = []
        for source, report in reports.items():
            for zone in (zone for zone in report.zones if zone.is_line == is_line):
                counts = (zone.entered, zone.left, zone.inside)[: len(headings)]
                for class_id in sorted({*zone.entered, *zone.left}) or [-1]:  # nothing has a line as well
                    name = report.classes[class_id] if class_id >= 0 else ""
                    title = " ".join(filter(None, (source, zone.name, name)))
                    rows.append([title, *(by.get(class_id, 0) for by in counts)])
        if rows:
            _print_numbers(headings, rows)


def print_scores(scores: InstanceScores) -> None:
    """Print the numbers of each protocol, then those of each class; AP is a share of 1."""
    click.echo(f"{scores.images} pictures, {len(scores.per_class)} classes, {scores.protocol}")
    for names, where in ((scores.only_in_model, "data set"), (scores.only_in_data, "model")):
        if names:
            click.echo(f"not measured, unknown to the {where}: {', '.join(names)}".translate(CONTROLS))
    click.echo("COCO mask AP (pycocotools)")
    numbers = list(scores.metrics.items())
    for part in (numbers[:6], numbers[6:]):
        _print_numbers([name for name, _ in part], [["", *(value for _, value in part)]])
    city = scores.cityscapes
    if city is not None:
        click.echo("Cityscapes instance AP (the benchmark's own protocol)")
        _print_numbers(list(city.metrics), [["", *city.metrics.values()]])
    headings = ["AP", "AP50", "objects", *(["Cityscapes AP", "Cityscapes AP50"] if city else [])]
    rows = [
        [name, *numbers.values(), *(city.per_class[name].values() if city else ())]
        for name, numbers in scores.per_class.items()
    ]
    _print_numbers(headings, rows)


def _print_numbers(headings: Sequence[str], rows: Iterable[Sequence[str | float | int]]) -> None:
    """Print rows of a name and numbers; a negative one, or NaN, was not measured."""

    def cell(value: str | float | int) -> str:
        return str(value) if not isinstance(value, float) else f"{value:.3f}" if value >= 0 else "-"

    _print_cells(["", *headings], ([str(name), *map(cell, values)] for name, *values in rows))


def _print_cells(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of a name, to the left, and numbers, to the right, under a heading each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, heading in enumerate(headings):
        table.add_column(heading, justify="right" if column else "left")
    for row in rows:
        table.add_row(*(cell.translate(CONTROLS) for cell in row))
    _print(table)


def print_semantic_scores(scores: SemanticScores) -> None:
    """Print the numbers over all classes, then those of each class and category, all shares of 1."""
    click.echo(f"{scores.images} pictures of {scores.data}, {scores.protocol}")
    _print_numbers(list(scores.metrics), [["", *scores.metrics.values()]])
    weighted = any(not math.isnan(score.iIoU) for score in scores.per_class.values())
    rows: list[list[str | float | int]] = [
        [name, score.IoU, score.accuracy, *([score.iIoU] if weighted else []), score.pixels]
        for name, score in scores.per_class.items()
    ]
    _print_numbers(["IoU", "accuracy", *(["iIoU"] if weighted else []), "pixels"], rows)
    if scores.per_category:
        _print_numbers(["IoU"], list(scores.per_category.items()))


def print_label_report(
    title: str, classes: Iterable[tuple[str, int, int]], findings: Iterable[tuple[str, str]]
) -> None:
    """Print which classes a data set has, with their pixels and pictures, and what is wrong, with its level."""
    rows = list(classes)
    total = max(1, sum(pixels for _, pixels, _ in rows))
    click.echo(title.translate(CONTROLS))
    _print_numbers(
        ["share of pixels", "pixels", "pictures"],
        [[name, pixels / total, pixels, pictures] for name, pixels, pictures in rows],
    )
    for level, text in findings:
        click.echo(f"{level}: {text}".translate(CONTROLS))


def print_counts(counts: Iterable[tuple[str, int, int]]) -> None:
    """Print of each kind of file how many there are, the second number, of how many there should be."""
    _print_columns(
        ("+" if found >= expected else "!", pattern, f"{found:,} of {expected:,} files")
        for pattern, expected, found in counts
    )


def print_model(card: Mapping[str, Any]) -> None:
    """Print what `describe_model` or `describe_checkpoint` returns."""
    is_checkpoint = "step" in card
    kind = f"{card['precision']} engine" if "precision" in card else f"{card['parameters']:,} parameters"
    kind += ", int8" if "int8" in (card.get("costs") or {}) else ""
    facts = {
        "model": f"{card['name']}, {kind}, {card['bytes'] / 1e6:.1f} MB",
        "file": card["path"],
        **({} if is_checkpoint else _port_facts(card)),
        "classes": f"{len(card['classes'])}: {', '.join(card['classes'])}",
        **(_checkpoint_facts(card) if is_checkpoint else _decoder_facts(card)),
    }
    provenance = dict(card["provenance"])
    metrics = provenance.pop("metrics")
    facts |= {name.replace("_", " "): str(value) for name, value in provenance.items() if value}
    facts |= {"metrics": ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())} if metrics else {}
    costs = dict(card.get("costs") or {})
    facts |= {"costs": ", ".join(f"{name} {value:+.4f}" for name, value in costs.items())} if costs else {}
    _print_columns(facts.items())


def _port_facts(card: Mapping[str, Any]) -> dict[str, str]:
    taken = card["input"]
    return {
        "input": f"{taken['name']} float32 {taken['shape']}",
        "outputs": "\n".join(f"{name} {port['type']} {port['shape']}" for name, port in card["outputs"].items()),
    }


def _decoder_facts(card: Mapping[str, Any]) -> dict[str, str]:
    decoder = dict(card["decoder"])
    if "palette" in decoder:
        decoder["palette"] = f"of {len(decoder['palette'])} colours"
    return {"decoder": _list(decoder), **(_engine_facts(card) if "built_for" in card else _onnx_facts(card))}


def _checkpoint_facts(card: Mapping[str, Any]) -> dict[str, str]:
    return {
        "input": "{}x{}".format(*card["imgsz"]) if card["imgsz"] else "the network's own size",
        "normalised by": f"mean {card['mean']}, std {card['std']}",
        "trained": f"{card['step']:,} steps{', can be resumed' if card['resumable'] else ''}",
        **({"best measured": f"{card['best']:.4f}"} if card["best"] is not None else {}),
    }


def _onnx_facts(card: Mapping[str, Any]) -> dict[str, str]:
    return {"made by": f"{card['producer']}, opset {card['opset']}", "operators": _list(card["operators"])}


def _engine_facts(card: Mapping[str, Any]) -> dict[str, str]:
    machine, options, agreement = card["built_for"], card["options"], card["agreement"]
    places = [
        machine["gpu"] or "no card in particular",
        *([f"CUDA {machine['cuda']}"] if machine["cuda"] else []),
        f"TensorRT {machine['tensorrt']}",
        machine["platform"],
        f"plugins {machine['plugins']}",
    ]
    chosen = [
        *([f"workspace {options['workspace'] >> 20} MB"] if options["workspace"] else []),
        *([f"level {options['level']}"] if options["level"] >= 0 else []),
    ]
    return {
        "built for": ", ".join(places),
        "options": ", ".join(chosen) or "TensorRT's defaults",
        "agreement with FP32": ", ".join(f"{name} {value:.4f}" for name, value in agreement.items()) or "not measured",
        **{f"SHA-256 of {name}": digest for name, digest in card["sha256"].items() if digest},
    }


def _list(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what `examine` returns: a sign for there, missing and needed-but-missing, name and detail."""
    _print_columns(
        ("+" if finding.found else "!" if finding.required else "-", finding.subject, finding.detail)
        for finding in findings
    )


def _print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows of a name and a value, which takes the rest of the line, some with a sign of `COLOURS` before them."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        *signs, name, value = row
        table.add_row(
            *(Text(sign, COLOURS[sign]) for sign in signs),
            Text(name, "bold", no_wrap=True),
            Text(value.translate(CONTROLS), overflow="fold"),
        )
    _print(table)


def _print(table: Table) -> None:
    """Print a table as wide as the terminal; elsewhere as wide as it is, so that grep finds whole lines."""
    width = None if sys.stdout.isatty() else 10_000
    # Brackets and colons in a name are no orders to rich.
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
