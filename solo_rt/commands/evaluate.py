"""`solo-rt eval`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.commands.lines import tell
from solo_rt.commands.measured import check_recordable, find_measured, is_semantic, record_metrics
from solo_rt.commands.options import (
    as_json,
    backend_option,
    check_writable,
    command,
    device_option,
    model_option,
    precision_option,
    print_json,
    trust_option,
)
from solo_rt.commands.parameters import LocalPath, Size
from solo_rt.commands.progress import show_progress
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Precision
    from solo_rt.progress import OnProgress
    from solo_rt.train.evaluate.semantic import Counted
    from solo_rt.train.evaluate.shards import Findings, Shard


@command("eval")
@model_option
@click.option(
    "--data",
    metavar="URI",
    help="coco:, casia:, masks: or cityscapes:DIR; labels of pixels: also folder:, voc: ...",
)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test"]),
    default="val",
    show_default=True,
    help="Part of the data set; few have a test part.",
)
@click.option("--max-images", type=click.IntRange(min=1), help="Only the first ones, in the order of their ids.")
@click.option("--results", type=LocalPath(), help="Write the detections in COCO's format, or the counts.")
@click.option("--overwrite", is_flag=True, help="Replace files that --results and --pictures name.")
@click.option("--pictures", type=LocalPath(), help="Draw the first pictures, truth beside finds: a .png.")
@click.option("--exact", is_flag=True, help="Enlarge masks and pad pictures as the published code does; slow.")
@click.option(
    "--test-scale", type=Size("LONGxSHORT"), help="Most pixels of the sides with --exact.  [default: as published]"
)
@click.option("--conf", type=click.FloatRange(0, 1), default=0.0, help="Lowest score that counts.  [default: all]")
@click.option("--scales", metavar="A,B", help="Sizes to look at a picture in, for labels of pixels.  [default: 1]")
@click.option("--flip", is_flag=True, help="Look at each picture mirrored too, for labels of pixels.")
@click.option(
    "--workers", type=click.IntRange(min=1, max=1024), help="Processes that share the pictures and the cores."
)
@click.option("--shard", metavar="I/N", help="Only write what part I of N finds to --results, for --merge.")
@click.option("--merge", is_flag=True, help="Score FILES, the --results of all shards.")
@backend_option
@device_option
@precision_option
@click.option("--strict", is_flag=True, help="End at a picture that cannot be read, instead of leaving it out.")
@trust_option
@click.option(
    "--record",
    is_flag=True,
    help="Write AP or mIoU into the model file, or what bf16 costs of it; --precision auto is fp32 then. "
    'It needs the extra "train".',
)
@click.argument("files", nargs=-1, type=LocalPath())
@as_json
def evaluate(
    model: str | None,
    data: str | None,
    split: str,
    max_images: int | None,
    results: Path | None,
    overwrite: bool,
    pictures: Path | None,
    exact: bool,
    test_scale: tuple[int, int] | None,
    conf: float,
    scales: str | None,
    flip: bool,
    workers: int | None,
    shard: str | None,
    merge: bool,
    backend: str,
    device: str,
    precision: Precision,
    strict: bool,
    trust: bool,
    record: bool,
    files: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Measure COCO mask AP through the run time, and Cityscapes' AP on Cityscapes; or the IoU of labels of pixels.

    The classes that the model and the data set have in common are measured, matched by name. Several processes share
    the work with --workers, several machines with --shard: solo-rt eval --merge FILES puts their results together. A
    TensorRT engine is measured with the thresholds that were built into it, which are those of its .onnx file. On a
    CPU, a published network takes hours for the 5,000 pictures of COCO, and longer with --exact; --max-images 100 is a
    first look.
    """
    part = _check(data, model=model, shard=shard, results=results, pictures=pictures, merge=merge, files=files)
    if workers is not None and (merge or part is not None):
        raise UsageError("--workers: it is for a whole evaluation; leave --shard and --merge out")
    for output in filter(None, (results, pictures)):
        check_writable(output, overwrite=overwrite)
    path = None if merge else find_measured(model, backend=backend, device=device)
    if record:
        precision = "fp32" if precision == "auto" else precision
        if path is not None:
            check_recordable(path, precision)
    semantic = is_semantic(path, files)
    if semantic:
        _check_pixels(exact=exact, conf=conf, workers=workers, pictures=pictures)
    elif scales is not None or flip:
        raise UsageError("--scales and --flip are for models that give every pixel a class; leave them out")
    if test_scale is not None and not (exact and path is not None and path.suffix == ".pt"):
        raise UsageError("--test-scale is for --exact of a checkpoint, whose input can have any size; leave it out")
    from solo_rt.commands.evaluation import Evaluation
    from solo_rt.train.evaluate.semantic import Counted
    from solo_rt.train.evaluate.shards import WHOLE, Subject, merge_parts
    from solo_rt.train.evaluate.tallies import merge_tallies
    from solo_rt.train.evaluate.views import Views

    found: Counted | Findings
    if path is None:
        found = merge_tallies(files) if semantic else merge_parts(files)
    else:
        evaluation = Evaluation(
            Subject(data or "", split, max_images, str(path)),
            semantic=semantic,
            backend=backend,
            device=device,
            precision=precision,
            trusted=trust,
            exact=exact,
            scale=test_scale,
            conf=conf,
            views=Views(_factors(scales) if scales is not None else (1.0,), mirrored=flip),
            strict=strict,
        )
        with show_progress() as show:
            on_image: OnProgress = lambda done, total: show(done, total, "pictures")  # noqa: E731
            if workers is None:
                found = evaluation.find(part or WHOLE, pictures=pictures, on_image=on_image)
            else:
                found = evaluation.find_in_parts(workers, on_image)
    recorded = precision if record else None
    if isinstance(found, Counted):
        return _finish_pixels(found, part, results=results, record=recorded, as_json=as_json)
    return _finish_instances(found, part, results=results, pictures=pictures, record=recorded, as_json=as_json)


def _check(
    data: str | None,
    *,
    model: str | None,
    shard: str | None,
    results: Path | None,
    pictures: Path | None,
    merge: bool,
    files: Sequence[Path],
) -> Shard | None:
    """Return the shard asked for. Raises: UsageError for options that do not go together."""
    if merge and (data or model or shard or not files):
        raise UsageError("--merge takes the files of all shards and neither --data, --model nor --shard")
    if not merge and (files or not data):
        raise UsageError("expected --data URI, such as coco:DIR, or --merge FILES")
    if pictures is not None and pictures.suffix.lower() != ".png":
        raise UsageError(f"--pictures {pictures}: expected a file that ends in .png")
    if shard is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or results is None or pictures is not None:
        raise UsageError(f"--shard {shard}: expected I/N with --results FILE to write, and without --pictures")
    from solo_rt.train.evaluate.shards import Shard

    return Shard(int(found[1]), int(found[2]))


def _check_pixels(*, exact: bool, conf: float, workers: int | None, pictures: Path | None) -> None:
    """Raise UsageError for options that are not for labels of pixels."""
    if exact or conf:
        raise UsageError("--exact and --conf are for models that find instances; leave them out")
    if workers is not None and pictures is not None:
        raise UsageError("--pictures of labels are drawn by one process; leave --workers out")


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--scales {text}: expected factors such as 0.5,0.75,1,1.25,1.5,1.75") from error


def _finish_instances(
    findings: Findings,
    part: Shard | None,
    *,
    results: Path | None,
    pictures: Path | None,
    record: Precision | None,
    as_json: bool,
) -> int:
    """Write what one part found, or score, record and print what all did."""
    from solo_rt.commands.tables import print_scores
    from solo_rt.train.evaluate.instances import score_findings
    from solo_rt.train.evaluate.shards import write_part

    if part is not None and results is not None:
        write_part(results, part, findings)
        click.echo(results)
        return 0
    scores = score_findings(findings, results=results, pictures=pictures)
    if record:
        record_metrics(findings.model, scores.metrics, names=("AP", "AP50", "AP75"), precision=record)
    print_json(asdict(scores)) if as_json else print_scores(scores)
    return 0


def _finish_pixels(
    counted: Counted, part: Shard | None, *, results: Path | None, record: Precision | None, as_json: bool
) -> int:
    """Write what was counted, and unless it is only one part, score, record and print it."""
    from solo_rt.commands.tables import print_semantic_scores
    from solo_rt.train.evaluate.semantic import score_counted
    from solo_rt.train.evaluate.shards import WHOLE
    from solo_rt.train.evaluate.tallies import write_tally

    if counted.tally.enlarged:
        tell(
            "the model's labels were enlarged, borders are coarser than by the usual protocol; "
            "export with --output-kind logits to measure by it",
            level="warning",
        )
    if results is not None:
        write_tally(results, part or WHOLE, counted)
    if part is not None:
        click.echo(results)
        return 0
    scores = score_counted(counted)
    if record:
        record_metrics(counted.model, scores.metrics, names=("mIoU", "pixel_accuracy"), precision=record)
    print_json(scores.to_record()) if as_json else print_semantic_scores(scores)
    return 0
