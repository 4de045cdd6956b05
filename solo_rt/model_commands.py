"""The commands that make and measure models: `train`, `export`, `eval` and `demo-data`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from solo_rt.cli_options import Size, as_json, print_json, verbose
from solo_rt.errors import UsageError

LOG_SECONDS = 10.0  # between two log lines where there is no terminal

Show = Callable[[int, int, str], None]  # steps done, of how many, and what to say


@click.command()
@click.option("--model", default="solov2-nano", show_default=True, help="The recipe to follow.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/MODEL]")
@click.option("--seed", default=0, show_default=True, help="Of the weights and of the data.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--workers", default=1, show_default=True, help="Processes that draw training pictures.")
@click.option("--resume", is_flag=True, help="Go on where the run in --out was left.")
@verbose
def train(model: str, out: Path | None, seed: int, device: str, workers: int, resume: bool) -> int:
    """Train a model on the procedural world; needs the extra "train"."""
    _require_torch("train")
    from solo_rt.train.loop import train as run_training
    from solo_rt.train.recipes import find_recipe

    recipe = find_recipe(model)
    folder = out or Path("runs") / model
    command = f"solo-rt train --model {model} --seed {seed} --device {device}"
    with _progress() as show:

        def on_step(step: int, values: dict[str, float]) -> None:
            show(step, recipe.steps, f"loss {values['total']:.3f}, mask IoU {values['mean_iou']:.3f}")

        path = run_training(
            recipe, folder, seed=seed, device=device, workers=workers, resume=resume, command=command, on_step=on_step
        )
    click.echo(path)
    return 0


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The .onnx file to write.")
@click.option("--imgsz", type=Size("HxW"), help="Network input, height x width.  [default: the model's own]")
@as_json
@verbose
def export(checkpoint: Path, output: Path, imgsz: tuple[int, int] | None, as_json: bool) -> int:
    """Turn a checkpoint into an ONNX file. Fails if ONNX Runtime does not reproduce PyTorch."""
    _require_torch("export")
    from solo_rt.train.export import export as write_onnx

    errors = write_onnx(checkpoint, output, imgsz=imgsz)
    if as_json:
        print_json({"output": str(output), "relative_errors": errors})
    else:
        parity = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB, relative error to PyTorch: {parity}")
    return 0


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
    from solo_rt.evaluate import evaluate as measure
    from solo_rt.tables import print_scores

    if not data.startswith("coco:"):
        raise UsageError(f"--data {data}: expected coco:DIR, a folder with instances.json and images/")
    path = find_model(model)
    with closing(open_engine(path, backend=backend, device=device)) as engine, _progress() as show:
        scores = measure(
            engine,
            Path(data.removeprefix("coco:")),
            max_images=max_images,
            results=results,
            on_image=lambda done, total: show(done, total, "pictures"),
        )
        spec = engine.spec
    if record:
        _require_torch("eval --record")
        from solo_rt.train.export import record_metrics

        record_metrics(path, spec, {name: round(scores.metrics[name], 4) for name in ("AP", "AP50", "AP75")})
    print_json(asdict(scores)) if as_json else print_scores(scores)
    return 0


@click.command(name="demo-data")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=7, show_default=True, help="The world to draw.")
@click.option("--size", type=Size("WxH"), default="1280x720", show_default=True, help="Of the videos.")
@click.option("--frames", type=click.IntRange(min=1), default=300, show_default=True, help="Of the videos.")
@click.option("--coco", type=click.IntRange(min=1), help="Also write a COCO data set of this many pictures.")
@verbose
def demo_data(folder: Path, seed: int, size: tuple[int, int], frames: int, coco: int | None) -> int:
    """Write sample videos of the procedural world. They are cam0.avi and cam0.mp4; --coco adds a COCO data set."""
    from solo_rt.train.data.world_files import write_coco, write_videos

    width, height = size
    with _progress() as show:
        paths = write_videos(
            folder, seed=seed, size=(height, width), frames=frames, on_image=lambda n, total: show(n, total, "frames")
        )
        if coco is not None:
            on_image = lambda n, total: show(n, total, "pictures")  # noqa: E731
            paths.append(write_coco(folder / "coco", images=coco, on_image=on_image))
    for path in paths:
        click.echo(path)
    return 0


COMMANDS = (train, export, evaluate, demo_data)


def _require_torch(command: str) -> None:
    """Raise UsageError where the training extra is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("torch", "onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"{command} needs {', '.join(missing)}; install them with pip install 'solo-rt[train]'")


@contextmanager
def _progress() -> Iterator[Show]:
    """Give a function that shows progress on stderr: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not sys.stderr.isatty():
        shown_at = time.monotonic()

        def log(done: int, total: int, text: str) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at >= LOG_SECONDS:
                shown_at = time.monotonic()
                click.echo(f"{done}/{total} {text}", err=True)

        yield log
        return
    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)
