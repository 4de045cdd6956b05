"""`solo-rt eval` of models that give every pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.commands.measured import measured_spec, record_metrics
from solo_rt.commands.options import print_json, require_torch
from solo_rt.commands.progress import show_progress
from solo_rt.device import Device
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Engine
    from solo_rt.train.evaluate.semantic import SemanticScores
    from solo_rt.train.evaluate.shards import Shard
    from solo_rt.train.evaluate.tallies import Counted

RECORDED = ("mIoU", "pixel_accuracy")


def is_semantic(path: Path | None, files: Sequence[Path]) -> bool:
    """Return whether the `files` of an evaluation in parts, or else the model at `path`, are semantic."""
    if path is None:
        from solo_rt.train.evaluate.tallies import is_tally

        return is_tally(files[0])
    if path.suffix == ".pt":
        require_torch("eval of a checkpoint")
        from solo_rt.train.checkpoint import load_checkpoint
        from solo_rt.train.task import is_semantic as labels_pixels

        return labels_pixels(load_checkpoint(path).model)
    return measured_spec(path).decoder.task == "semantic"


def evaluate_semantic(
    path: Path | None,
    data: str,
    *,
    split: str,
    max_images: int | None,
    shard: Shard | None,
    files: Sequence[Path],
    scales: str | None,
    flip: bool,
    results: Path | None,
    pictures: Path | None,
    backend: str,
    device: str,
    trusted: bool,
    record: bool,
    as_json: bool,
) -> int:
    """Measure the model at `path`, or add up `files` where it is None, and show, write or record the scores."""
    if path is None:
        from solo_rt.train.evaluate.tallies import merge_tallies

        counted = merge_tallies(files)
    else:
        counted = _count(
            path,
            data,
            split,
            max_images,
            shard,
            scales=scales,
            flip=flip,
            pictures=pictures,
            backend=backend,
            device=device,
            trusted=trusted,
        )
    if counted.tally.enlarged:
        click.echo(
            "solo-rt: warning: the model's labels were enlarged, borders are coarser than by the usual protocol; "
            "export with --output-kind logits to measure by it",
            err=True,
        )
    if results is not None:
        from solo_rt.train.evaluate.shards import Shard
        from solo_rt.train.evaluate.tallies import write_tally

        write_tally(results, shard or Shard(1, 1), counted)
    if shard is not None:
        click.echo(results)
        return 0
    scores = _score(counted)
    if record:
        record_metrics(counted.model, scores.metrics, names=RECORDED)
    from solo_rt.commands.tables import print_semantic_scores

    print_json(scores.to_record()) if as_json else print_semantic_scores(scores)
    return 0


def _count(
    path: Path,
    uri: str,
    split: str,
    max_images: int | None,
    shard: Shard | None,
    *,
    scales: str | None,
    flip: bool,
    pictures: Path | None,
    backend: str,
    device: str,
    trusted: bool,
) -> Counted:
    """Return what was counted on the shard of the pictures, or on all; `pictures` is a sheet to write."""
    from solo_rt.train.data.semantic import open_semantic
    from solo_rt.train.evaluate.label_sheet import LabelSheet
    from solo_rt.train.evaluate.protocol import describe_labels
    from solo_rt.train.evaluate.semantic import count
    from solo_rt.train.evaluate.tallies import Counted
    from solo_rt.train.evaluate.views import Views

    views = Views(_factors(scales) if scales is not None else (1.0,), mirrored=flip)
    pixels = open_semantic(uri, split=split)
    order = range(len(pixels))[:max_images]
    sheet = LabelSheet(pixels.legend)
    engine = _open(path, backend=backend, device=device, trusted=trusted)
    with closing(engine), show_progress() as show:
        tally = count(
            engine,
            pixels,
            order if shard is None else shard.of(order),
            views=views,
            on_image=lambda done, total: show(done, total, "pictures"),
            on_picture=sheet.add,
        )
        counted = Counted(uri, split, max_images, str(path), describe_labels(engine, views), tally)
    if pictures is not None:
        sheet.write(pictures)
    return counted


def _score(counted: Counted) -> SemanticScores:
    from solo_rt.train.data.semantic import open_semantic
    from solo_rt.train.evaluate.semantic import score

    pixels = open_semantic(counted.data, split=counted.split)
    return score(counted.tally, pixels, protocol=f"{counted.split}, {counted.protocol}")


def _open(path: Path, *, backend: str, device: str, trusted: bool) -> Engine:
    """Return the engine of a model file, or of a checkpoint, which then gives logits."""
    if path.suffix == ".pt":
        from solo_rt.train.engine.exact import open_checkpoint

        return open_checkpoint(path, device=Device.parse(device), output_kind="logits")
    from solo_rt.engine import open_engine

    return open_engine(path, backend=backend, device=device, trusted=trusted)


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--scales {text}: expected factors such as 0.5,0.75,1,1.25,1.5,1.75") from error
