"""`solo-rt eval`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt.commands.evaluate_semantic import evaluate_semantic, is_semantic
from solo_rt.commands.measured import check_recordable, find_measured, measured_spec, record_metrics
from solo_rt.commands.options import as_json, print_json, verbose
from solo_rt.commands.progress import show_progress
from solo_rt.device import Device
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Engine
    from solo_rt.train.evaluate.instances import InstanceScores
    from solo_rt.train.evaluate.shards import Findings, Shard

RECORDED = ("AP", "AP50", "AP75")

Resize = Callable[[tuple[int, int]], "Engine"]  # height, width of the network's input


@click.command(name="eval")
@click.option("--model", metavar="NAME|FILE", help="Shipped model, .onnx, .engine or .pt file.  [default: solov2-nano]")
@click.option(
    "--data", metavar="URI", help="coco:, casia: or cityscapes:DIR; labels of pixels: also folder:, voc:, ade20k: ..."
)
@click.option("--split", type=click.Choice(["train", "val"]), default="val", show_default=True)
@click.option("--max-images", type=click.IntRange(min=1), help="Only the first ones, in the order of their ids.")
@click.option(
    "--results", type=click.Path(path_type=Path), help="Write the detections in COCO's format, or the counts."
)
@click.option(
    "--pictures", type=click.Path(path_type=Path), help="Draw the first pictures, truth beside finds: a .png."
)
@click.option("--exact", is_flag=True, help="Enlarge masks and pad pictures as the published code does; slow.")
@click.option("--conf", type=click.FloatRange(0, 1), default=0.0, help="Lowest score that counts.  [default: all]")
@click.option("--scales", metavar="A,B", help="Sizes to look at a picture in, for labels of pixels.  [default: 1]")
@click.option("--flip", is_flag=True, help="Look at each picture mirrored too, for labels of pixels.")
@click.option("--shard", metavar="I/N", help="Only write what part I of N finds to --results, for --merge.")
@click.option("--merge", is_flag=True, help="Score FILES, the --results of all shards.")
@click.option("--backend", default="auto", show_default=True, help="onnxruntime, openvino, tensorrt or torch.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--trust", is_flag=True, help="Open a TensorRT engine that was not built on this machine.")
@click.option("--record", is_flag=True, help='Write AP or mIoU into the model file; needs the extra "train".')
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@as_json
@verbose
def evaluate(
    model: str | None,
    data: str | None,
    split: str,
    max_images: int | None,
    results: Path | None,
    pictures: Path | None,
    exact: bool,
    conf: float,
    scales: str | None,
    flip: bool,
    shard: str | None,
    merge: bool,
    backend: str,
    device: str,
    trust: bool,
    record: bool,
    files: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Measure COCO mask AP through the run time, and Cityscapes' AP on Cityscapes; or the IoU of labels of pixels.

    The classes that the model and the data set have in common are measured, matched by name. Several processes share
    the work with --shard; solo-rt eval --merge FILES puts their results together. A TensorRT engine is measured with
    the thresholds that were built into it, which are those of its .onnx file.
    """
    part = _check(data, model=model, shard=shard, results=results, pictures=pictures, merge=merge, files=files)
    path = None if merge else find_measured(model, backend=backend, device=device)
    if record and path is not None:
        check_recordable(path)
    if is_semantic(path, files):
        if exact or conf:
            raise UsageError("--exact and --conf are for models that find instances; leave them out")
        return evaluate_semantic(
            path,
            data or "",
            split=split,
            max_images=max_images,
            shard=part,
            files=files,
            scales=scales,
            flip=flip,
            results=results,
            pictures=pictures,
            backend=backend,
            device=device,
            trusted=trust,
            record=record,
            as_json=as_json,
        )
    if scales is not None or flip:
        raise UsageError("--scales and --flip are for models that give every pixel a class; leave them out")
    if path is None:
        from solo_rt.train.evaluate.shards import merge_parts

        findings = merge_parts(files)
    else:
        opened = _open(path, backend=backend, device=device, trusted=trust, exact=exact)
        findings = _find(
            path, *opened, uri=data or "", split=split, max_images=max_images, shard=part, exact=exact, conf=conf
        )
    if part is not None and results is not None:
        from solo_rt.train.evaluate.shards import write_part

        write_part(results, part, findings)
        click.echo(results)
        return 0
    scores = _score(findings, results=results, pictures=pictures)
    if record:
        record_metrics(findings.model, scores.metrics, names=RECORDED)
    _show(scores, as_json=as_json)
    return 0


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
    for path in (results, pictures):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
    if pictures is not None and pictures.suffix.lower() != ".png":
        raise UsageError(f"--pictures {pictures}: expected a file that ends in .png")
    if shard is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", shard)
    if found is None or results is None or pictures is not None:
        raise UsageError(f"--shard {shard}: expected I/N with --results FILE to write, and without --pictures")
    from solo_rt.train.evaluate.shards import Shard

    return Shard(int(found[1]), int(found[2]))


def _open(path: Path, *, backend: str, device: str, trusted: bool, exact: bool) -> tuple[Engine, Resize | None]:
    """Return the engine of a model of instances, and what gives it another input size, if something does."""
    if path.suffix == ".pt":
        from solo_rt.train.engine.exact import open_checkpoint

        checkpoint = open_checkpoint(path, device=Device.parse(device))
        return checkpoint, checkpoint.resized
    from solo_rt.decoders import DetectionsDecoder
    from solo_rt.engine import open_engine

    if exact and isinstance(measured_spec(path).decoder, DetectionsDecoder):
        raise UsageError(
            f"--exact {path}: expected a model that gives its raw outputs, this engine decodes them itself; leave "
            f"--exact out, or measure the .onnx file it was built of"
        )
    return open_engine(path, backend=backend, device=device, lanes=1 if exact else None, trusted=trusted), None


def _find(
    path: Path,
    engine: Engine,
    resize: Resize | None,
    *,
    uri: str,
    split: str,
    max_images: int | None,
    shard: Shard | None,
    exact: bool,
    conf: float,
) -> Findings:
    """Return what the model at `path` finds in its shard of the pictures, or in all; its engine is closed then."""
    from solo_rt.train.data.instances import open_instances
    from solo_rt.train.evaluate.detections import detect, detect_exactly
    from solo_rt.train.evaluate.protocol import describe_instances
    from solo_rt.train.evaluate.shards import Findings

    with closing(engine), show_progress() as show:
        spec = engine.spec
        instances = open_instances(uri, split=split, images=max_images)
        indices = range(len(instances)) if shard is None else shard.of(range(len(instances)))

        def on_image(done: int, total: int) -> None:
            show(done, total, "pictures")

        if exact:
            if resize is None:
                size = f"{spec.input.height}x{spec.input.width}"
                click.echo(f"{path} has one input size: pictures are padded to {size}, not less", err=True)
            found = detect_exactly(engine, instances, indices, resize=resize, conf=conf, on_image=on_image)
        else:
            found = detect(engine, instances, indices, conf=conf, on_image=on_image)
    protocol = describe_instances(engine, conf=conf, exact=exact, resized=resize is not None)
    return Findings(uri, split, max_images, str(path), protocol, spec.classes, tuple(found))


def _score(findings: Findings, *, results: Path | None, pictures: Path | None) -> InstanceScores:
    """Return the scores, after writing the files asked for."""
    from solo_rt.train.data.instances import open_instances
    from solo_rt.train.evaluate.comparison import write_comparison
    from solo_rt.train.evaluate.instances import score_instances

    instances = open_instances(findings.data, split=findings.split, images=findings.max_images)
    indices = range(len(instances))
    if results is not None:
        results.write_text(json.dumps(findings.detections))
    if pictures is not None:
        write_comparison(pictures, instances, findings.detections, indices=indices)
    return score_instances(
        instances, findings.detections, indices=indices, classes=findings.classes, protocol=findings.protocol
    )


def _show(scores: InstanceScores, *, as_json: bool) -> None:
    from dataclasses import asdict

    from solo_rt.commands.tables import print_scores

    print_json(asdict(scores)) if as_json else print_scores(scores)
