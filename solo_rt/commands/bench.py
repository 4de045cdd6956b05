"""`solo-rt bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from solo_rt import defaults
from solo_rt.commands.lines import tell
from solo_rt.commands.options import LocalPath, check_writable, command
from solo_rt.commands.progress import show_progress
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Precision

STOP_SECONDS = 10.0  # from a signal to the end of the process: a lap that is under way is finished


@command()
@click.option(
    "--model", metavar="NAME|FILE", help=f"Shipped model, .onnx, .engine or .pt file.  [default: {defaults.MODEL}]"
)
@click.option("--source", metavar="CLIP", help="Video to measure on.  [default: the sample clip, which is made once]")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--backend", default="auto", show_default=True, help="onnxruntime, openvino, tensorrt or torch.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of an ONNX file, as in run.",
)
@click.option("--threads", type=int, help="Threads of the inference engine.  [default: by the number of cores]")
@click.option("--lanes", type=int, help="Frames computed at once, as in run.")
@click.option("--quick", is_flag=True, help="In less than a minute, for a first look: laps are short.")
@click.option("--json", "json_file", type=LocalPath(), help="Write all that was measured, for compare.")
@click.option("--markdown", type=LocalPath(), help="Write the tables that are printed.")
@click.option("--chart", type=LocalPath(), help="Draw the rates into a .png.")
def bench(
    model: str | None,
    source: str | None,
    device: str,
    backend: str,
    precision: Precision,
    threads: int | None,
    lanes: int | None,
    quick: bool,
    json_file: Path | None,
    markdown: Path | None,
    chart: Path | None,
) -> int:
    """Measure what a model does on this machine: the network alone, with its masks, in the pipeline, and live.

    It takes some minutes: everything is measured in turn until its rate is stable. Ctrl-C ends it, and keeps what was
    measured so far.
    """
    _check_outputs(source, model, json_file, markdown, chart)
    from solo_rt.bench.measurement import Order, measure
    from solo_rt.commands.interrupts import Interrupts

    order = Order(model, source, backend, device, precision, threads, lanes, quick)
    doing = "starting"
    with Interrupts(within=STOP_SECONDS, doing=lambda: doing) as interrupts, show_progress() as show:

        def on_step(done: int, most: int, text: str) -> None:
            nonlocal doing
            doing = text
            show(done, most, text)

        try:
            record = measure(order, stop=interrupts.stop, on_step=on_step)
        except KeyboardInterrupt:
            tell("solo-rt: interrupted before anything was measured", fields={"exit_code": interrupts.exit_code})
            return interrupts.exit_code
    _finish(record, json_file, markdown, chart)
    if interrupts.number is not None:
        return interrupts.exit_code
    if "partial" in record:
        tell(f"not all was measured: {record['partial']}", level="error")
        return 4
    return 0


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


def _check_outputs(
    source: str | None, model: str | None, json_file: Path | None, markdown: Path | None, chart: Path | None
) -> None:
    """Raise UsageError, before anything is measured, for files that could not be written or would replace others."""
    from solo_rt.engine import find_model
    from solo_rt.pipeline.paths import refuse_overwriting

    if chart is not None and chart.suffix.lower() != ".png":
        raise UsageError(f"--chart {chart}: expected a file that ends in .png")
    outputs = [path for path in (json_file, markdown, chart) if path is not None]
    for path in outputs:
        check_writable(path, overwrite=True)
    refuse_overwriting(source, find_model(model), list(map(str, outputs)))


def _finish(record: dict[str, Any], json_file: Path | None, markdown: Path | None, chart: Path | None) -> None:
    """Print a record, and write it in the forms that were asked for."""
    import json

    from solo_rt.bench.chart import draw_record, write_chart
    from solo_rt.bench.markdown import to_markdown
    from solo_rt.files import replace_file

    text = to_markdown(record)
    click.echo(text.rstrip())
    if json_file is not None:
        replace_file(json_file, json.dumps(record, indent=1, ensure_ascii=False).encode())
    if markdown is not None:
        replace_file(markdown, text.encode())
    if chart is not None:
        write_chart(chart, draw_record(record))
