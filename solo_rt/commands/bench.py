"""`solo-rt bench`, and what goes with it: `bench compare`, `bench sweep`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from solo_rt import defaults
from solo_rt.commands.lines import tell
from solo_rt.commands.options import (
    backend_option,
    check_writable,
    command,
    device_option,
    model_option,
    precision_option,
    threads_option,
    trust_option,
)
from solo_rt.commands.parameters import LocalPath
from solo_rt.commands.progress import show_progress
from solo_rt.errors import EngineError, SoloRTError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from solo_rt.engine import Precision

STOP_SECONDS = 10.0  # from a signal to the end of the process: a lap that is under way is finished
MOST_LANES = 64
T = TypeVar("T")

source_option = click.option(
    "--source", metavar="CLIP", help="Video to measure on.  [default: the sample clip, which is made once]"
)
quick_option = click.option("--quick", is_flag=True, help="For a first look: laps are short.")
json_option = click.option("--json", "json_file", type=LocalPath(), help="Write all that was measured.")
markdown_option = click.option("--markdown", type=LocalPath(), help="Write the tables that are printed.")
chart_option = click.option("--chart", type=LocalPath(), help="Draw what was measured into a .png.")


@command()
@model_option
@source_option
@device_option
@backend_option
@precision_option
@threads_option
@trust_option
@click.option("--lanes", type=int, help="Frames computed at once, as in run.")
@quick_option
@json_option
@markdown_option
@chart_option
@click.option(
    "--against",
    metavar="A,B",
    help="Others on the same clip: all, or of torch, opencv, supervision, ultralytics, ultralytics-openvino and "
    "ultralytics-int8.",
)
def bench(
    model: str | None,
    source: str | None,
    device: str,
    backend: str,
    precision: Precision,
    threads: int | None,
    trust: bool,
    lanes: int | None,
    quick: bool,
    json_file: Path | None,
    markdown: Path | None,
    chart: Path | None,
    against: str | None,
) -> int:
    """Measure what a model does on this machine: the network alone, with its masks, in the pipeline, and live.

    It takes some minutes, with --quick less than one: everything is measured in turn until its rate is stable. Ctrl-C
    ends it, and keeps what was measured so far.
    """
    _check_outputs(source, [model], json_file, markdown, chart)
    from solo_rt.bench.chart import draw_record
    from solo_rt.bench.markdown import to_markdown
    from solo_rt.bench.measurement import Order, measure

    order = Order(model, source, backend, device, precision, threads, lanes, quick, trust)
    record, code = _take(lambda stop, on_step: measure(order, stop=stop, on_step=on_step, against=against))
    if record is None:
        return code
    _finish(record, to_markdown(record), lambda: draw_record(record), json_file, markdown, chart)
    return code or _complain([record])


@command("bench-compare")
@click.argument("first", type=LocalPath())
@click.argument("second", type=LocalPath())
@click.option("--anyway", is_flag=True, help="Also for another clip, another model or another size.")
def bench_compare(first: Path, second: Path, anyway: bool) -> int:
    """Compare two files of solo-rt bench --json: how many times faster SECOND is, with its 95 % confidence interval."""
    from solo_rt.bench.comparison import compare
    from solo_rt.bench.schema import read_record

    click.echo(compare(read_record(first), read_record(second), anyway=anyway))
    return 0


@command("bench-sweep")
@click.option("--models", metavar="A,B", help=f"Names or files, as --model of bench.  [default: {defaults.MODEL}]")
@click.option("--precisions", metavar="A,B", default="auto", show_default=True, help="Of auto, fp32, bf16 and int8.")
@click.option("--lanes", metavar="1,2", help="Numbers of frames computed at once.  [default: as in run]")
@source_option
@device_option
@backend_option
@threads_option
@trust_option
@quick_option
@json_option
@markdown_option
@chart_option
def bench_sweep(
    models: str | None,
    precisions: str,
    lanes: str | None,
    source: str | None,
    device: str,
    backend: str,
    threads: int | None,
    trust: bool,
    quick: bool,
    json_file: Path | None,
    markdown: Path | None,
    chart: Path | None,
) -> int:
    """Measure models with precisions and lanes side by side: a table, and a chart of speed against accuracy.

    The accuracy is what the files of the models say of themselves. All take turns, so that what the machine does beside
    falls on all alike.
    """
    names = _split("--models", models) if models is not None else [None]
    counts = [_number(word) for word in _split("--lanes", lanes)] if lanes is not None else [None]
    wanted = _split("--precisions", precisions)
    _check_outputs(source, names, json_file, markdown, chart)
    from solo_rt.bench.measurement import Order, measure_each
    from solo_rt.bench.sweep import LAYERS, draw_sweep, list_orders, to_markdown
    from solo_rt.engine import PRECISIONS

    known = [precision for precision in PRECISIONS if precision in wanted]
    if len(known) < len(wanted):
        raise UsageError(f"--precisions {precisions}: expected some of {', '.join(PRECISIONS)}, each once")
    base = Order(None, source, backend, device, "auto", threads, None, quick, trust)
    orders = list_orders(base, names, known, counts)
    refused: list[str] = []

    def refuse(order: Order, error: SoloRTError) -> None:
        lanes = f" with {order.lanes} lanes" if (order.lanes or 1) > 1 else ""
        refused.append(f"{order.model or defaults.MODEL} {order.precision}{lanes}: {error}")
        tell(f"left out: {refused[-1]}", level="warning")

    records, code = _take(
        lambda stop, on_step: measure_each(orders, LAYERS, stop=stop, on_step=on_step, on_refusal=refuse)
    )
    if records is None:
        return code
    if not records:
        raise EngineError("nothing could be measured; the lines above say why")
    _finish(records, to_markdown(records, refused), lambda: draw_sweep(records), json_file, markdown, chart)
    return code or _complain(records)


def _take(measure: Callable[[threading.Event, Callable[[int, int, str], None]], T]) -> tuple[T | None, int]:
    """Return what is measured, None if it was interrupted before anything was, and the exit code of an interrupt."""
    from solo_rt.commands.interrupts import Interrupts

    doing = "starting"
    with Interrupts(within=STOP_SECONDS, doing=lambda: doing) as interrupts, show_progress() as show:

        def on_step(done: int, most: int, text: str) -> None:
            nonlocal doing
            doing = text
            show(done, most, text)

        try:
            found = measure(interrupts.stop, on_step)
        except KeyboardInterrupt:
            tell("solo-rt: interrupted before anything was measured", fields={"exit_code": interrupts.exit_code})
            return None, interrupts.exit_code
    return found, 0 if interrupts.number is None else interrupts.exit_code


def _check_outputs(
    source: str | None,
    models: Sequence[str | None],
    json_file: Path | None,
    markdown: Path | None,
    chart: Path | None,
) -> None:
    """Raise UsageError, before anything is measured, for files that could not be written or would replace others."""
    from solo_rt.engine import find_model
    from solo_rt.pipeline.paths import refuse_overwriting

    if chart is not None and chart.suffix.lower() != ".png":
        raise UsageError(f"--chart {chart}: expected a file that ends in .png")
    outputs = [path for path in (json_file, markdown, chart) if path is not None]
    for path in outputs:
        check_writable(path, overwrite=True)
    for model in models:
        refuse_overwriting(source, find_model(model), list(map(str, outputs)))


def _split(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words) or len(set(words)) < len(words):
        raise UsageError(f"{option} {text}: expected a list such as a,b of which each is named once")
    return words


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= MOST_LANES:
        raise UsageError(f"--lanes {text}: expected numbers from 1 to {MOST_LANES}, such as 1,2")
    return int(text)


def _finish(
    record: object,
    text: str,
    draw: Callable[[], NDArray[np.uint8]],
    json_file: Path | None,
    markdown: Path | None,
    chart: Path | None,
) -> None:
    """Write what was measured where that was asked for, and print it, whichever of the two cannot be done.

    Bytes of file names that are no UTF-8 stay escaped, as in `print_json`.
    """
    import json

    from solo_rt.bench.chart import write_chart
    from solo_rt.files import replace_file

    try:
        if json_file is not None:
            content = json.dumps(record, indent=1, ensure_ascii=False)
            replace_file(json_file, content.encode(errors="backslashreplace"))
        if markdown is not None:
            replace_file(markdown, text.encode(errors="backslashreplace"))
        if chart is not None:
            write_chart(chart, draw())
    finally:
        click.echo(text.rstrip())


def _complain(records: Sequence[Mapping[str, Any]]) -> int:
    """Say what is missing; return 4 if something is, and 0 if not."""
    for record in records:
        if "partial" in record:
            tell(f"not all was measured: {record['partial']}", level="error")
    return 4 if any("partial" in record for record in records) else 0
