"""`solo-rt export`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from solo_rt.commands.options import MOST_IN_BATCH, as_json, command, print_json, require_torch
from solo_rt.commands.parameters import LocalPath, Size
from solo_rt.errors import EngineError

if TYPE_CHECKING:
    from solo_rt.engine import Engine
    from solo_rt.types import Frame

MOST_PICTURES = 64  # that a precision is measured on


@command()
@click.argument("checkpoint", type=LocalPath())
@click.option("-o", "--output", type=LocalPath(), required=True, help="The .onnx file to write.")
@click.option("--imgsz", type=Size("HxW"), help="Network input, height x width.  [default: as trained]")
@click.option(
    "--batch",
    type=click.IntRange(1, MOST_IN_BATCH),
    default=1,
    show_default=True,
    help="Pictures at once: those of several sources, or several of one file.",
)
@click.option(
    "--output-kind",
    type=click.Choice(["labels", "logits", "coarse"]),
    help="What a semantic network gives; coarse logits are the fastest on a CPU.  [default: labels]",
)
@click.option(
    "--max-det",
    type=click.IntRange(1, 400),
    help="Most instances in a picture; five times as many candidates are looked at.  [default: 100]",
)
@click.option(
    "--calib",
    metavar="DIR|VIDEO",
    help="Pictures like those the model will see: note in the file what computing in bf16 costs of masks or labels.",
)
@as_json
def export(
    checkpoint: Path,
    output: Path,
    imgsz: tuple[int, int] | None,
    batch: int,
    output_kind: Literal["labels", "logits", "coarse"] | None,
    max_det: int | None,
    calib: str | None,
    as_json: bool,
) -> int:
    """Turn a checkpoint into an ONNX file. Fails if ONNX Runtime does not reproduce PyTorch.

    Where --calib finds that bf16 loses at most 0.1 points, run computes the model in bf16 on CPUs that have it.
    """
    require_torch("export")
    pictures = None if calib is None else _calibration(calib)
    from solo_rt.train.export import export as write_onnx

    errors = write_onnx(checkpoint, output, imgsz=imgsz, batch=batch, output_kind=output_kind, max_det=max_det)
    said: dict[str, object] = {"output": str(output), "relative_errors": errors}
    parity = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    lines = [f"{output}: {output.stat().st_size / 1e6:.2f} MB, relative error to PyTorch: {parity}"]
    if pictures is not None:
        what, cost = _note_cost(output, pictures)
        said["bf16"] = {"metric": what, "lost": cost}
        lines.append(f"bf16 loses {100 * cost:.2f} points of {what}")
    if as_json:
        print_json(said)
    else:
        click.echo("\n".join(lines))
    return 0


def _calibration(calib: str) -> Iterator[Frame]:
    """Return the pictures of --calib, the first of them read: before the work it is known whether they will do.

    Raises: as `open_source`; EngineError where what bf16 costs cannot be measured.
    """
    from solo_rt.builder.comparison import frames
    from solo_rt.engine.precision import has_bf16

    if not has_bf16() or find_spec("openvino") is None:
        lacks = "OpenVINO is not installed" if has_bf16() else "this CPU has no instructions for bf16"
        raise EngineError(
            f"--calib: {lacks}; leave it out, or measure elsewhere: solo-rt eval --record --precision bf16"
        )
    pictures = frames(calib, MOST_PICTURES)
    return chain(list(islice(pictures, 1)), pictures)


def _note_cost(path: Path, pictures: Iterable[Frame]) -> tuple[str, float]:
    """Note what bf16 loses in the ONNX file at `path`; return of what, and how much. Raises: as `measure_loss`."""
    from solo_rt.builder.comparison import measure_loss
    from solo_rt.engine import open_engine
    from solo_rt.engine.model_file import record_costs

    def engine(precision: Literal["fp32", "bf16"]) -> Engine:
        return open_engine(path, backend="openvino", device="cpu", precision=precision)

    with closing(engine("fp32")) as whole, closing(engine("bf16")) as half:
        what, cost = measure_loss(whole, half, pictures)
    record_costs(path, whole.spec, {"bf16": round(cost, 4)})
    return what, round(cost, 4)
