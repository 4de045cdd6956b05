"""`solo-rt eval` of models that give every pixel a class."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.cli_options import print_json
from solo_rt.commands.extras import record_metrics, require_torch, show_progress
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Engine
    from solo_rt.evaluate.semantic import SemanticScores
    from solo_rt.evaluate.shards import Shard
    from solo_rt.evaluate.tallies import Counted

RECORDED = ("mIoU", "pixel_accuracy")


def is_semantic(model: str | None, files: Sequence[Path]) -> bool:
    """Return whether the `files` of an evaluation in parts, or else the model, are semantic. Raises: UsageError."""
    if files:
        from solo_rt.evaluate.tallies import is_tally

        return is_tally(files[0])
    if model is not None and model.endswith(".pt"):
        require_torch("eval of a checkpoint")
        from solo_rt.train.checkpoint import load_checkpoint
        from solo_rt.train.task import is_semantic as labels_pixels

        return labels_pixels(load_checkpoint(Path(model)).model)
    from solo_rt.engine import find_model
    from solo_rt.engine.base import read_spec

    return read_spec(find_model(model)).decoder.task == "semantic"


def evaluate_semantic(
    model: str | None,
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
    record: bool,
    as_json: bool,
) -> int:
    """Measure a model, or add up `files`, and show, write or record the scores."""
    if files:
        from solo_rt.evaluate.tallies import merge_tallies

        counted = merge_tallies(files)
    else:
        counted = _count(
            model,
            data,
            split,
            max_images,
            shard,
            scales=scales,
            flip=flip,
            pictures=pictures,
            backend=backend,
            device=device,
        )
    if counted.tally.enlarged:
        click.echo(
            "solo-rt: warning: the model's labels were enlarged, borders are coarser than by the usual protocol; "
            "export with --output-kind logits to measure by it",
            err=True,
        )
    if results is not None:
        from solo_rt.evaluate.shards import Shard
        from solo_rt.evaluate.tallies import write_tally

        write_tally(results, shard or Shard(1, 1), counted)
    if shard is not None:
        click.echo(results)
        return 0
    scores = _score(counted)
    if record:
        record_metrics(counted.model, scores.metrics, names=RECORDED)
    from solo_rt.tables import print_semantic_scores

    print_json(scores.to_record()) if as_json else print_semantic_scores(scores)
    return 0


def _count(
    model: str | None,
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
) -> Counted:
    """Return what was counted on the shard of the pictures, or on all; `pictures` is a sheet to write."""
    from solo_rt.evaluate.label_sheet import LabelSheet
    from solo_rt.evaluate.semantic import count, describe
    from solo_rt.evaluate.tallies import Counted
    from solo_rt.evaluate.views import Views
    from solo_rt.train.data.semantic import open_semantic

    views = Views(_factors(scales) if scales is not None else (1.0,), mirrored=flip)
    pixels = open_semantic(uri, split=split)
    order = range(len(pixels))[:max_images]
    sheet = LabelSheet(pixels.legend)
    with closing(_open(model, backend=backend, device=device)) as engine, show_progress() as show:
        tally = count(
            engine,
            pixels,
            order if shard is None else shard.of(order),
            views=views,
            on_image=lambda done, total: show(done, total, "pictures"),
            on_picture=sheet.add,
        )
        counted = Counted(uri, split, max_images, _path(model), describe(engine, views), tally)
    if pictures is not None:
        sheet.write(pictures)
    return counted


def _score(counted: Counted) -> SemanticScores:
    from solo_rt.evaluate.semantic import score
    from solo_rt.train.data.semantic import open_semantic

    pixels = open_semantic(counted.data, split=counted.split)
    return score(counted.tally, pixels, protocol=f"{counted.split}, {counted.protocol}")


def _open(model: str | None, *, backend: str, device: str) -> Engine:
    """Return the engine of a model file, or of a checkpoint, which then gives logits."""
    if model is not None and model.endswith(".pt"):
        from solo_rt.train.checkpoint_engine import open_checkpoint

        return open_checkpoint(Path(model), device=device, output_kind="logits")
    from solo_rt.engine import find_model, open_engine

    return open_engine(find_model(model), backend=backend, device=device)


def _path(model: str | None) -> str:
    from solo_rt.engine import find_model

    return model if model is not None and model.endswith(".pt") else str(find_model(model))


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--scales {text}: expected factors such as 0.5,0.75,1,1.25,1.5,1.75") from error
