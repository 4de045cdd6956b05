"""`solo-rt check-labels`."""

from __future__ import annotations

import click

from solo_rt.commands.options import as_json, command, print_json
from solo_rt.commands.progress import show_progress


@command("check-labels")
@click.argument("data", metavar="URI")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "both"]),
    default="both",
    show_default=True,
    help="Part of the data set; both are train and val.",
)
@click.option("--max-images", type=click.IntRange(min=1), help="Of each part, only the first ones.")
@as_json
def check_labels(data: str, split: str, max_images: int | None, as_json: bool) -> int:
    """Look at the labels of a data set: classes, sizes, values that mean nothing. URI is folder:DIR, voc:DIR ...

    Exits with 1 if training would fail, or teach nothing.
    """
    from dataclasses import asdict

    from solo_rt.commands.tables import print_label_report
    from solo_rt.train.data.semantic import open_semantic
    from solo_rt.train.data.semantic.check import check_labels as check
    from solo_rt.train.data.semantic.check import shared_pictures

    names = ("train", "val") if split == "both" else (split,)
    parts = [open_semantic(data, split=name) for name in names]
    shared = shared_pictures(parts)
    if not parts[0].has_parts:
        parts, names = parts[:1], ("train and val",)
    with show_progress() as show:
        reports = [
            check(part, split=name, max_images=max_images, on_image=lambda n, total: show(n, total, "pictures"))
            for part, name in zip(parts, names, strict=True)
        ]
    if as_json:
        print_json({"parts": [asdict(report) for report in reports], "in_both_parts": shared})
    else:
        for report in reports:
            print_label_report(
                f"{report.images} pictures of {data} {report.split}, {report.ignored:.1%} of the pixels ignored",
                [(name, report.pixels[name], report.occurrences[name]) for name in report.pixels],
                [(finding.level, finding.text) for finding in report.findings],
            )
        if shared:
            click.echo(f"warning: {len(shared)} names are in both train and val, such as {shared[0]}")
    return 0 if all(report.usable for report in reports) else 1
