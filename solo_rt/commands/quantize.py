"""`solo-rt quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from solo_rt.commands.measured import is_semantic
from solo_rt.commands.options import as_json, check_writable, command, print_json, require_onnx
from solo_rt.commands.parameters import LocalPath
from solo_rt.commands.progress import show_progress
from solo_rt.errors import ExportError, UsageError
from solo_rt.files import replace_file

if TYPE_CHECKING:
    from solo_rt.progress import Show


@command()
@click.argument("model")
@click.option("--calib", metavar="DIR|VIDEO", required=True, help="Pictures like those the model will see.")
@click.option("-o", "--output", type=LocalPath(), required=True, help="The .onnx file to write.")
@click.option(
    "--frames",
    type=click.IntRange(min=3),
    default=64,
    show_default=True,
    help="Most pictures for the ranges, of a video every fifth frame; a third as many more are compared.",
)
@click.option("--data", metavar="URI", help="Labelled pictures, as of eval: measure AP or mIoU instead of agreement.")
@click.option("--force", is_flag=True, help="Write the file however much it loses.")
@as_json
def quantize(model: str, calib: str, output: Path, frames: int, data: str | None, force: bool, as_json: bool) -> int:
    """Write a model (a shipped name or an .onnx file) in INT8, unless it loses more than 1 point of AP or 0.5 of mIoU.

    Without --data it is compared with the model it was made of, on pictures of --calib that it was not calibrated with.
    What it loses stands in the file; solo-rt run and eval take it like any other.
    """
    path = _check(model, output)
    from solo_rt.builder.int8 import MOST_LOST, Calibration, Loss, lost_agreement, write_cost, write_int8

    metrics: dict[str, float] = {}
    with TemporaryDirectory() as folder, show_progress() as show:
        part = Path(folder) / output.name
        calibration = Calibration(calib, frames, on_picture=show)
        write_int8(path, part, calibration)
        if data is None:
            loss = lost_agreement(path, part, calibration)
        else:
            what = "mIoU" if is_semantic(path, ()) else "AP"
            metrics["float"] = _measure(path, data, what, show)
            if not metrics["float"] > 0:
                raise UsageError(
                    f"--data {data}: {path} finds nothing that is labelled there, which says nothing about what INT8 "
                    "loses; choose other data, or train it first"
                )
            metrics["int8"] = _measure(part, data, what, show)
            loss = Loss(what, metrics["float"] - metrics["int8"])
        if not loss.is_small and not force:
            raise ExportError(
                f"{output}: INT8 loses {loss}, more than {100 * MOST_LOST[loss.what]:g}, nothing is written; "
                "calibrate with more, or other pictures, go on with solo-rt train --qat, or --force it"
            )
        write_cost(part, path, loss.lost)
        replace_file(output, part.read_bytes())
    _report(output, path, loss.what, loss.lost, metrics, as_json=as_json)
    return 0


def _check(model: str, output: Path) -> Path:
    """Return the file to quantise. Raises: UsageError where that, or writing the result, is impossible."""
    require_onnx("quantize")
    from solo_rt.engine.model_file import find_model

    path = find_model(model)
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: expected an .onnx file; solo-rt export makes one of a checkpoint")
    if output.suffix != ".onnx" or output.resolve() == path.resolve():
        raise UsageError(f"--output {output}: expected another file than the model, that ends in .onnx")
    check_writable(output, overwrite=True)
    return path


def _measure(path: Path, data: str, what: str, show: Show) -> float:
    """Return the AP or mIoU of a model."""
    from solo_rt.builder.int8 import open_exact
    from solo_rt.train.evaluate.instances import evaluate_instances, score_findings
    from solo_rt.train.evaluate.semantic import evaluate_pixels, score_counted
    from solo_rt.train.evaluate.shards import Subject
    from solo_rt.train.evaluate.views import Views

    subject = Subject(data, "val", None, str(path))

    def on_image(done: int, total: int) -> None:
        show(done, total, "measuring")

    with closing(open_exact(path)) as engine:
        if what == "mIoU":
            return score_counted(evaluate_pixels(engine, subject, views=Views(), on_image=on_image)).metrics[what]
        return score_findings(evaluate_instances(engine, subject, on_image=on_image)).metrics[what]


def _report(output: Path, path: Path, what: str, lost: float, metrics: Mapping[str, float], *, as_json: bool) -> None:
    sizes = [file.stat().st_size for file in (path, output)]
    if as_json:
        print_json({"output": str(output), "bytes": sizes[1], "metric": what, "lost": lost, **metrics})
        return
    before, after = (f"{size / 1e6:.2f} MB" for size in sizes)
    click.echo(f"{output}: {after} instead of {before}, loses {100 * lost:.2f} points of {what}")
