"""`solo-rt train`, and the same as `torchrun ... -m solo_rt.train`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from solo_rt.commands.lines import tell
from solo_rt.commands.options import check_writable, command, require_torch
from solo_rt.commands.parameters import CountOr, Grids, LocalPath, PhaseText, Size
from solo_rt.commands.progress import show_progress
from solo_rt.cpu import keep_memory
from solo_rt.defaults import MODEL
from solo_rt.device import Device
from solo_rt.errors import UsageError
from solo_rt.train.settings import ALL, Settings

if TYPE_CHECKING:
    from solo_rt.train.loop import Progress
    from solo_rt.train.recipe import Recipe

UNLISTED = ("total", "lr", "gradient_norm")  # values of a step that are no parts of the loss

Positive = click.IntRange(min=1)
File = LocalPath(exists=True, dir_okay=False)


@command(show_default=True)
@click.option("--model", help=f"The network to train.  [default: that of the recipe, or {MODEL}]")
@click.option("--data", default=Settings.data, metavar="URI", help="Data set, such as coco:DIR.")
@click.option("--recipe", metavar="NAME", help="How to train it.  [default: the recipe of the model]")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Times to go through the data.")
@click.option("--steps", type=Positive, help="Optimiser steps, instead of epochs.")
@click.option("--phase", type=PhaseText(), multiple=True, help="Instead of the recipe's phases; may be repeated.")
@click.option("--imgsz", type=Size("HxW"), help="Network input, height x width.")
@click.option("--batch", type=Positive, help="Pictures per step, over all processes.")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate, taken as it is.")
@click.option("--ema", type=click.FloatRange(0, 1, max_open=True), help="Decay of the averaged weights; 0: no average.")
@click.option(
    "--class-weights",
    type=click.Choice(["auto", "off"]),
    help="Whether rare classes count more, for labels of pixels.  [default: as the recipe says]",
)
@click.option("--grids", type=Grids(), help="Cells along each side, by level: more for many small objects.")
@click.option("--freeze/--no-freeze", default=True, help="Freeze what the recipe freezes.")
@click.option("--augment/--no-augment", default=Settings.augment, help="Change pictures at random.")
@click.option(
    "--accumulate",
    type=Positive,
    default=Settings.accumulate,
    help="Parts to compute a batch in; each counts alike, however much there is in it.",
)
@click.option("--amp", type=click.Choice(["off", "bf16", "fp16"]), help="Precision.  [default: bf16 where it is fast]")
@click.option("--compile", "compiled", is_flag=True, help="Compile the network with torch.compile.")
@click.option("--channels-last/--no-channels-last", default=Settings.channels_last, help="Memory layout.")
@click.option("--device", default=str(Settings.device), help="cpu, cuda or cuda:N; under torchrun cpu or cuda.")
@click.option("--sync-bn", is_flag=True, help="Batch normalisation over all processes, on GPUs.")
@click.option("--strict", is_flag=True, help="End at a picture that cannot be read, instead of leaving it out.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=Settings.workers,
    show_default=True,
    help="Processes loading pictures.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=Settings.seed, help="Of the weights and of the data."
)
@click.option("--out", type=LocalPath(), help="Folder of the run.  [default: runs/MODEL]")
@click.option("--resume", default=Settings.resume, metavar="auto|off|FILE", help="Go on with the run in --out.")
@click.option("--init", type=File, help="Checkpoint to start from; takes what fits.")
@click.option(
    "--qat", is_flag=True, help="Go on from --init with rounding as in INT8, where quantize alone loses too much."
)
@click.option(
    "--backbone-weights",
    type=File,
    help="ImageNet weights with torchvision's names, or a checkpoint whose backbone is taken.",
)
@click.option("--keep", type=Positive, default=Settings.keep, help="Checkpoints to keep.")
@click.option("--save-every", type=Positive, default=Settings.save_every, help="Steps between checkpoints.")
@click.option(
    "--val",
    type=CountOr("all", least=0),
    default=Settings.val,
    help="Held-out pictures to measure on by then.",
)
@click.option("--preview", type=LocalPath(), help="Draw held-out pictures and what is found by then: a .png.")
@click.option("--max-steps", type=Positive, help="Leave after this step, to be resumed.")
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard.")
def train(
    model: str | None,
    data: str,
    recipe: str | None,
    epochs: float | None,
    steps: int | None,
    phase: tuple[tuple[tuple[int, int], int, int], ...],
    imgsz: tuple[int, int] | None,
    batch: int | None,
    lr: float | None,
    ema: float | None,
    class_weights: Literal["auto", "off"] | None,
    grids: tuple[int, ...] | None,
    freeze: bool,
    augment: bool,
    accumulate: int,
    amp: Literal["off", "bf16", "fp16"] | None,
    compiled: bool,
    channels_last: bool,
    device: str,
    sync_bn: bool,
    workers: int,
    strict: bool,
    seed: int,
    out: Path | None,
    resume: str,
    init: Path | None,
    qat: bool,
    backbone_weights: Path | None,
    keep: int,
    save_every: int,
    val: int | Literal["all"],
    preview: Path | None,
    max_steps: int | None,
    tensorboard: bool,
) -> int:
    """Train a model; needs the extra "train".

    Without options this is solov2-nano on the procedural world: about an hour on two CPU cores; fast-scnn takes four.
    Recipes for other data are those published for GPUs: on a CPU they take days to months. --steps 100 is a try.

    On several GPUs or machines: torchrun --standalone --nproc-per-node N -m solo_rt.train, with the same options.
    Ctrl-C, SIGTERM and SIGHUP finish the step, write a checkpoint and leave with 130, 143 and 129; --resume auto goes
    on. An earlier checkpoint, --resume FILE, wants a folder that holds none later.
    """
    require_torch("train")
    keep_memory()
    from solo_rt.engine.precision import has_bf16
    from solo_rt.train.models import check_model
    from solo_rt.train.recipe import Phase, adapt
    from solo_rt.train.recipes import RECIPES, find_recipe

    if recipe is not None and recipe not in RECIPES:
        raise UsageError(f"--recipe {recipe}: expected one of {', '.join(RECIPES)}")
    model = model or RECIPES[recipe or MODEL].model
    check_model(model)
    if preview is not None:
        if preview.suffix.lower() != ".png":
            raise UsageError(f"--preview {preview}: expected a file that ends in .png")
        check_writable(preview, overwrite=True)
    adapted = adapt(
        RECIPES[recipe or find_recipe(model, data)],
        model=model,
        phases=tuple(Phase(size, count, steps=length) for size, length, count in phase),
        imgsz=imgsz,
        batch=batch,
        epochs=epochs,
        steps=steps,
        lr=lr,
        ema=ema,
        class_weights=class_weights,
        grids=grids,
        frozen=freeze,
    )
    wanted = Device.parse(device)
    settings = Settings(
        data=data,
        seed=seed,
        augment=augment,
        accumulate=accumulate,
        amp=amp or ("bf16" if wanted.kind == "cuda" or has_bf16() else "off"),
        device=wanted,
        workers=workers,
        strict=strict,
        channels_last=channels_last,
        compile=compiled,
        sync_bn=sync_bn,
        init=init,
        qat=qat,
        backbone_weights=backbone_weights,
        resume=resume,
        keep=keep,
        save_every=save_every,
        val=ALL if val == "all" else val,
        preview=preview,
        max_steps=max_steps,
        tensorboard=tensorboard,
        command=shlex.join(["solo-rt", "train", *_given()]),
    )
    return _run(adapted, out or Path("runs") / model, settings)


def _run(recipe: Recipe, folder: Path, settings: Settings) -> int:
    """Train until the end or an interrupt, with progress on stderr, and return the exit code."""
    from solo_rt.commands.interrupts import Interrupts
    from solo_rt.train.loop import train as run_training

    with Interrupts() as interrupts, show_progress() as show:

        def on_step(progress: Progress) -> None:
            show(progress.step, progress.steps, describe(progress))

        outcome = run_training(
            recipe,
            folder,
            settings,
            stop=interrupts.stop,
            on_start=tell,
            on_step=on_step,
        )
    if outcome.leads:
        click.echo(outcome.checkpoint)
    return interrupts.exit_code if interrupts.stop.is_set() else 0


def describe(progress: Progress) -> str:
    """Return two lines on a step: loss and its parts; rate, speed and the share of time it waits for data."""
    values = progress.values
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items() if name not in UNLISTED)
    return (
        f"loss {values['total']:.3f} ({parts})\n"
        f"lr {values['lr']:.2g}, {progress.pictures_per_second:.1f} pictures/s, {progress.waiting:.0%} waiting for data"
    )


def _given() -> list[str]:
    """Return the options of the command line, wherever it was started from."""
    return sys.argv[2:] if sys.argv[1:2] == ["train"] else sys.argv[1:]
