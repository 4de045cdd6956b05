"""`solo-rt import-weights`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from solo_rt.commands.lines import tell
from solo_rt.commands.options import as_json, check_writable, command, print_json, require_torch
from solo_rt.commands.parameters import LocalPath, Size
from solo_rt.errors import UsageError

# Those of train.importing, which --help does not load.
SOURCES = (
    *("official", "mmdet", "adet", "seed"),
    *("tramac", "leftthomas", "segmentron", "coincheung", "encoding", "torchvision"),
)


@command("import-weights")
@click.argument("file", type=LocalPath())
@click.option("-o", "--output", type=LocalPath(), required=True, help="The .pt file to write.")
@click.option(
    "--from",
    "source",
    type=click.Choice(["auto", *SOURCES]),
    default="auto",
    show_default=True,
    help="The code base that made the file.",
)
@click.option(
    "--classes", metavar="NAME,...", help="Names of the classes.  [default: those in the file, or by their number]"
)
@click.option(
    "--test-scale",
    type=Size("LONGxSHORT"),
    help="Most pixels of the sides of a picture when eval --exact measures it.  [default: as published]",
)
@as_json
def import_weights(
    file: Path,
    output: Path,
    source: str,
    classes: str | None,
    test_scale: tuple[int, int] | None,
    as_json: bool,
) -> int:
    """Turn weights that another code base published into a checkpoint, to be exported, run, or trained further.

    FILE is read without running any code that it may hold. Unless it fills a network entirely, nothing is written.
    """
    require_torch("import-weights")
    from solo_rt.train.checkpoint import save_checkpoint
    from solo_rt.train.importing import import_weights as read_weights
    from solo_rt.train.importing.report import IncompleteWeightsError

    if output.suffix != ".pt":
        raise UsageError(f"expected an output that ends in .pt, got {output}")
    if output.resolve() == file.resolve():
        raise UsageError(f"--output {output}: expected another file than the weights, which would be lost")
    check_writable(output, overwrite=True)
    try:
        names = None if classes is None else [name.strip() for name in classes.split(",")]
        checkpoint, report = read_weights(file, source=source, classes=names)
    except IncompleteWeightsError as error:
        tell(error.report.listing())
        raise
    save_checkpoint(replace(checkpoint, test_scale=test_scale), output)
    if as_json:
        facts = {"output": str(output), "source": report.source, "model": checkpoint.model}
        print_json({**facts, "classes": list(checkpoint.classes), "tensors": len(report.loaded)})
    else:
        click.echo(
            f"{output}: {checkpoint.model} with {len(checkpoint.classes)} classes, "
            f"{len(report.loaded)} tensors from {report.source}"
        )
    return 0
