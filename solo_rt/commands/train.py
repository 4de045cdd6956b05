"""`solo-rt train`."""

from __future__ import annotations

from pathlib import Path

import click

from solo_rt.cli_options import verbose
from solo_rt.commands.extras import require_torch, show_progress


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
    require_torch("train")
    from solo_rt.train.loop import train as run_training
    from solo_rt.train.recipes import find_recipe

    recipe = find_recipe(model)
    folder = out or Path("runs") / model
    command = f"solo-rt train --model {model} --seed {seed} --device {device}"
    with show_progress() as show:

        def on_step(step: int, values: dict[str, float]) -> None:
            show(step, recipe.steps, f"loss {values['total']:.3f}, mask IoU {values['mean_iou']:.3f}")

        path = run_training(
            recipe, folder, seed=seed, device=device, workers=workers, resume=resume, command=command, on_step=on_step
        )
    click.echo(path)
    return 0
