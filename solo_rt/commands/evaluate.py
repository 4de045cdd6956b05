"""`solo-rt eval`."""

from __future__ import annotations

from pathlib import Path

import click

from solo_rt.cli_options import as_json, print_json, verbose
from solo_rt.commands.extras import require_torch, show_progress
from solo_rt.errors import UsageError


@click.command(name="eval")
@click.option("--model", metavar="NAME|FILE", help="Shipped model or .onnx file.  [default: solov2-nano]")
@click.option("--data", required=True, metavar="coco:DIR", help="Folder with instances.json and images/.")
@click.option("--max-images", type=click.IntRange(min=1), help="Only the first ones.")
@click.option("--results", type=click.Path(path_type=Path), help="Write the detections in COCO's results format.")
@click.option("--backend", default="auto", show_default=True, help="onnxruntime or openvino.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--record", is_flag=True, help='Write AP and AP50 into the model file; needs the extra "train".')
@as_json
@verbose
def evaluate(
    model: str | None,
    data: str,
    max_images: int | None,
    results: Path | None,
    backend: str,
    device: str,
    record: bool,
    as_json: bool,
) -> int:
    """Measure COCO mask AP through the run time."""
    from contextlib import closing
    from dataclasses import asdict

    from solo_rt.engine import find_model, open_engine
    from solo_rt.evaluate.masks import evaluate as measure
    from solo_rt.tables import print_scores

    if not data.startswith("coco:"):
        raise UsageError(f"--data {data}: expected coco:DIR, a folder with instances.json and images/")
    path = find_model(model)
    with closing(open_engine(path, backend=backend, device=device)) as engine, show_progress() as show:
        scores = measure(
            engine,
            Path(data.removeprefix("coco:")),
            max_images=max_images,
            results=results,
            on_image=lambda done, total: show(done, total, "pictures"),
        )
        spec = engine.spec
    if record:
        require_torch("eval --record")
        from solo_rt.train.export.onnx_file import record_metrics

        record_metrics(path, spec, {name: round(scores.metrics[name], 4) for name in ("AP", "AP50", "AP75")})
    print_json(asdict(scores)) if as_json else print_scores(scores)
    return 0
