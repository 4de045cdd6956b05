"""`solo-rt download`."""

from __future__ import annotations

from pathlib import Path

import click

from solo_rt.commands.options import as_json, command, print_json
from solo_rt.commands.parameters import LocalPath
from solo_rt.commands.progress import show_progress
from solo_rt.errors import UsageError
from solo_rt.uri import expand_home


@command()
@click.argument("name", required=False)
@click.option("--root", type=LocalPath(), help="Of all data.  [default: $SOLO_RT_DATA, or data in the cache folder]")
@click.option("--verify", is_flag=True, help="Download nothing, only count the files that are there.")
@click.option("--keep", is_flag=True, help="Keep the archives after they have been unpacked.")
@as_json
def download(name: str | None, root: Path | None, verify: bool, keep: bool, as_json: bool) -> int:
    """Get a published data set. Without a NAME, list them.

    An interrupted download goes on where it was; what is there already is not fetched again. With --verify, exits with
    1 if files are missing.
    """
    if name is None and (verify or keep):
        raise UsageError(f"{'--verify' if verify else '--keep'}: expected the NAME of a data set as well")
    from dataclasses import asdict

    from solo_rt.train.data.download import SOURCES, count_files
    from solo_rt.train.data.download import download as fetch
    from solo_rt.train.data.semantic import data_root

    folder = Path(expand_home(str(root or data_root()))).resolve()
    if name is None:
        listed = {key: {"folder": str(folder / source.folder)} for key, source in SOURCES.items()}
        print_json(listed) if as_json else click.echo("\n".join(f"{key}  {v['folder']}" for key, v in listed.items()))
        return 0
    if verify:
        from solo_rt.commands.tables import print_counts

        counts = count_files(name, folder)
        print_json([asdict(count) for count in counts]) if as_json else print_counts(
            (c.pattern, c.expected, c.found) for c in counts
        )
        return 0 if all(count.found >= count.expected for count in counts) else 1
    with show_progress() as show:
        path = fetch(name, folder, keep=keep, show=show)
    print_json({"name": name, "folder": str(path)}) if as_json else click.echo(path)
    return 0
