"""`solo-rt demo-data`."""

from __future__ import annotations

from pathlib import Path

import click

from solo_rt.commands.lines import tell
from solo_rt.commands.options import command
from solo_rt.commands.parameters import LocalPath, Size
from solo_rt.commands.progress import show_progress
from solo_rt.errors import UsageError


@command("demo-data")
@click.argument("folder", type=LocalPath())
@click.option("--seed", default=7, show_default=True, help="The world to draw.")
@click.option("--size", type=Size("WxH"), default="1280x720", show_default=True, help="Of the videos.")
@click.option("--frames", type=click.IntRange(min=1), default=300, show_default=True, help="Of the videos.")
@click.option("--coco", type=click.IntRange(min=1), help="Also write a COCO data set of this many pictures.")
@click.option("--semantic", type=click.IntRange(min=1), help="Also write that many pictures with a label per pixel.")
@click.option("--overwrite", is_flag=True, help="Write the videos anew where files of their names are there already.")
def demo_data(
    folder: Path, seed: int, size: tuple[int, int], frames: int, coco: int | None, semantic: int | None, overwrite: bool
) -> int:
    """Write sample videos of the procedural world: cam0.avi and cam0.mp4.

    --coco adds a COCO data set and --semantic one for `eval --data folder:FOLDER/semantic`.
    """
    from solo_rt.train.data.semantic.folder import write_folder
    from solo_rt.train.data.semantic.world import held_out_world
    from solo_rt.train.data.world_files import VIDEOS, write_coco, write_videos

    for name, wanted in (("coco", coco), ("semantic", semantic)):
        if wanted is not None and (folder / name).exists():
            raise UsageError(f"{folder / name} is there already; choose another folder")
    width, height = size
    with show_progress() as show:
        paths = write_videos(
            folder,
            seed=seed,
            size=(height, width),
            frames=frames,
            overwrite=overwrite,
            on_image=lambda n, total: show(n, total, "frames"),
        )
        for kept in [folder / name for name in VIDEOS if folder / name not in paths]:
            tell(f"{kept} is left as it is; --overwrite writes it anew")

        def on_image(done: int, total: int) -> None:
            show(done, total, "pictures")

        if coco is not None:
            paths.append(write_coco(folder / "coco", images=coco, on_image=on_image))
        if semantic is not None:
            paths.append(write_folder(folder / "semantic", held_out_world(length=semantic), on_image=on_image))
    for path in paths:
        click.echo(path)
    return 0
