"""`solo-rt build-engine`."""

from __future__ import annotations

from pathlib import Path

import click

from solo_rt.cli_options import Size, as_json, print_json, verbose
from solo_rt.commands.extras import show_progress
from solo_rt.errors import UsageError


@click.command(name="build-engine")
@click.option(
    "--model", metavar="NAME|FILE", help="Shipped model, .onnx file or .pt checkpoint.  [default: solov2-nano]"
)
@click.option("--output", type=click.Path(path_type=Path), help="The .engine file to write.  [default: in the cache]")
@click.option("--fp16", "precision", flag_value="fp16", help="Half precision where it is safe. The default.")
@click.option("--fp32", "precision", flag_value="fp32", help="Single precision.")
@click.option("--int8", "precision", flag_value="int8", help="INT8 convolutions; needs --calib.")
@click.option("--calib", metavar="DIR|VIDEO", help="Pictures for the ranges of INT8 and for the comparison afterwards.")
@click.option("--shapes", type=Size("HxW"), help="Network input, height x width; of a checkpoint only.")
@click.option("--batch", type=click.IntRange(min=1), help="Pictures at once; of a checkpoint only.")
@click.option(
    "--workspace", type=click.IntRange(min=1), metavar="MB", help="Most memory a layer may use while it runs."
)
@click.option("--level", type=click.IntRange(0, 5), help="How long to look for fast kernels, 0 to 5.")
@click.option("--dla", type=click.IntRange(min=0), metavar="CORE", help="Deep-learning accelerator of a Jetson.")
@click.option("--version-compatible", is_flag=True, help="Runs on later TensorRT of the same major version, too.")
@click.option(
    "--timing-cache", type=click.Path(path_type=Path), help="Keep kernel timings here: later builds are quick."
)
@click.option("--device", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the CUDA device.")
@click.option("--rebuild", is_flag=True, help="Build although the cache holds a fitting engine.")
@click.option("--no-check", is_flag=True, help="Without a GPU, and without comparing with the FP32 model afterwards.")
@as_json
@verbose
def build_engine(
    model: str | None,
    output: Path | None,
    precision: str | None,
    calib: str | None,
    shapes: tuple[int, int] | None,
    batch: int | None,
    workspace: int | None,
    level: int | None,
    dla: int | None,
    version_compatible: bool,
    timing_cache: Path | None,
    device: int,
    rebuild: bool,
    no_check: bool,
    as_json: bool,
) -> int:
    """Compile a model into a TensorRT engine for this machine, and check that it still sees the same.

    The engine is a plain TensorRT plan with a description beside it; solo-rt run --backend tensorrt finds it.
    """
    from solo_rt.build_engine import build_checked
    from solo_rt.engine.build import BuildOptions

    chosen = precision or "fp16"
    if chosen == "int8" and calib is None:
        raise UsageError("--int8 needs --calib DIR|VIDEO: pictures like those the model will see")
    options = BuildOptions(
        precision=chosen,  # type: ignore[arg-type]  # one of the three flag values
        workspace=(workspace or 0) << 20,
        level=-1 if level is None else level,
        dla=-1 if dla is None else dla,
        version_compatible=version_compatible,
        timing_cache=timing_cache,
    )
    with show_progress() as show:
        built = build_checked(
            model,
            options,
            output=output,
            calibration=calib,
            imgsz=shapes,
            batch=batch,
            device=None if no_check else device,
            rebuild=rebuild,
            on_phase=lambda phase, done, total: show(done, total, phase.lower()),
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
    else:
        click.echo("not compared with the FP32 model; run the comparison on the machine that will use it", err=True)
    return 0
