"""`solo-rt export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from solo_rt.commands.options import LocalPath, Size, as_json, command, print_json, require_torch


@command()
@click.argument("checkpoint", type=LocalPath())
@click.option("-o", "--output", type=LocalPath(), required=True, help="The .onnx file to write.")
@click.option("--imgsz", type=Size("HxW"), help="Network input, height x width.  [default: as trained]")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Pictures at once: those of several sources, or several of one file.",
)
@click.option(
    "--output-kind",
    type=click.Choice(["labels", "logits", "coarse"]),
    help="What a semantic network gives; coarse logits are the fastest on a CPU.  [default: labels]",
)
@as_json
def export(
    checkpoint: Path,
    output: Path,
    imgsz: tuple[int, int] | None,
    batch: int,
    output_kind: Literal["labels", "logits", "coarse"] | None,
    as_json: bool,
) -> int:
    """Turn a checkpoint into an ONNX file. Fails if ONNX Runtime does not reproduce PyTorch."""
    require_torch("export")
    from solo_rt.train.export import export as write_onnx

    errors = write_onnx(checkpoint, output, imgsz=imgsz, batch=batch, output_kind=output_kind)
    if as_json:
        print_json({"output": str(output), "relative_errors": errors})
    else:
        parity = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB, relative error to PyTorch: {parity}")
    return 0
