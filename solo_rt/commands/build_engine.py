"""`solo-rt build-engine`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from solo_rt import defaults
from solo_rt.commands.lines import tell
from solo_rt.commands.options import (
    MOST_IN_BATCH,
    as_json,
    check_writable,
    command,
    print_json,
    require_onnx,
    require_torch,
)
from solo_rt.commands.parameters import LocalPath, Size
from solo_rt.commands.progress import show_progress
from solo_rt.errors import UsageError


@command("build-engine")
@click.option(
    "--model", metavar="NAME|FILE", help=f"Shipped model, .onnx file or .pt checkpoint.  [default: {defaults.MODEL}]"
)
@click.option("--output", type=LocalPath(), help="The .engine file to write.  [default: in the cache]")
@click.option("--fp16", "precision", flag_value="fp16", help="Half precision where it is safe. The default.")
@click.option("--fp32", "precision", flag_value="fp32", help="Single precision.")
@click.option("--int8", "precision", flag_value="int8", help="INT8 convolutions; needs --calib.")
@click.option("--calib", metavar="DIR|VIDEO", help="Pictures for the ranges of INT8 and for the comparison afterwards.")
@click.option("--shapes", type=Size("HxW"), help="Network input, height x width; of a checkpoint only.")
@click.option("--batch", type=click.IntRange(1, MOST_IN_BATCH), help="Pictures at once; of a checkpoint only.")
@click.option(
    "--workspace", type=click.IntRange(min=1), metavar="MB", help="Most memory a layer may use while it runs."
)
@click.option("--level", type=click.IntRange(0, 5), help="How long to look for fast kernels, 0 to 5.")
@click.option("--device", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the CUDA device.")
@click.option("--rebuild", is_flag=True, help="Build although the cache holds a fitting engine.")
@click.option(
    "--no-check", is_flag=True, help="Without comparing with the FP32 model; then TensorRT for RTX needs no GPU."
)
@as_json
def build_engine(
    model: str | None,
    output: Path | None,
    precision: str | None,
    calib: str | None,
    shapes: tuple[int, int] | None,
    batch: int | None,
    workspace: int | None,
    level: int | None,
    device: int,
    rebuild: bool,
    no_check: bool,
    as_json: bool,
) -> int:
    """Compile a model into a TensorRT engine for this machine, and check that it still sees the same.

    The engine is a plain TensorRT plan with a description beside it; solo-rt run --backend tensorrt finds it. Building
    takes minutes, mostly for timing kernels, once for a card: an engine in the cache is taken as it is.
    """
    require_onnx("build-engine")
    from solo_rt.builder import build_checked
    from solo_rt.builder.compiler import BuildOptions

    chosen = precision or "fp16"
    if chosen == "int8" and calib is None:
        raise UsageError("--int8 needs --calib DIR|VIDEO: pictures like those the model will see")
    if output is not None:
        check_writable(output, overwrite=True)
    options = BuildOptions(
        precision=chosen,  # type: ignore[arg-type]  # one of the three flag values
        workspace=(workspace or 0) << 20,
        level=-1 if level is None else level,
    )
    with show_progress() as show, _onnx_file(model, shapes, batch) as path:
        built = build_checked(
            path,
            options,
            output=output,
            calibration=calib,
            device=device,
            is_checked=not no_check,
            rebuild=rebuild,
            show=show,
        )
    plan = built.plan
    if as_json:
        print_json(
            {"engine": str(plan.path), "bytes": plan.size, "new": built.is_new, "agreement": dict(plan.agreement)}
        )
        return 0
    click.echo(
        f"{plan.path}: {plan.size / 1e6:.1f} MB, {plan.key.precision}{'' if built.is_new else ', from the cache'}"
    )
    if plan.agreement:
        click.echo(", ".join(f"{name} {value:.4f}" for name, value in plan.agreement.items()))
    elif plan.key.gpu:
        tell("not compared with the FP32 model; solo-rt eval measures it")
    else:
        tell("for no card in particular, to be looked at; solo-rt run wants one that was built where it runs")
    return 0


@contextmanager
def _onnx_file(model: str | None, imgsz: tuple[int, int] | None, batch: int | None) -> Iterator[Path]:
    """Give the ONNX file of a model; a checkpoint is exported into a folder that is removed afterwards.

    Raises: UsageError, also for a size or a batch that an ONNX file does not have: its shapes are fixed.
    """
    from solo_rt.engine.model_file import find_model, read_spec

    path = find_model(model)
    if path.suffix == ".pt":
        require_torch("build-engine of a checkpoint")
        from solo_rt.train.export import export

        with TemporaryDirectory() as folder:
            exported = Path(folder) / f"{path.stem}.onnx"
            export(path, exported, imgsz=imgsz, batch=batch or 1)
            yield exported
        return
    if path.suffix != ".onnx":
        raise UsageError(f"{path}: expected an .onnx file or a checkpoint (.pt), got an engine")
    size = read_spec(path).input
    if (imgsz or (size.height, size.width), batch or size.batch) != ((size.height, size.width), size.batch):
        raise UsageError(
            f"{path}: its input is fixed at {size.height}x{size.width}, batch {size.batch}; give the checkpoint (.pt), "
            f"or export it with --imgsz"
        )
    yield path
