"""Addresses of outputs that say what is written in front of where: `coco:results.json`, `labels:folder`."""

from __future__ import annotations

from collections.abc import Iterable

from solo_rt.errors import UsageError

FOLDERS = ("labels", "crops")  # of PNG files
ZONED = ("events", "counts")  # tables of what zones tell
TRACKED = ("mots", "ytvis")  # objects by track
FILES = ("coco", *TRACKED, *ZONED)


def split(uri: str) -> tuple[str, str]:
    """Return the kind that an address names, empty where it names none, and the path."""
    kind, _, path = uri.partition(":")
    return (kind, path) if kind in (*FOLDERS, *FILES) and path else ("", uri)


def pattern(uri: str) -> str:
    """Return an address as the path of what it writes: `labels:folder` writes `folder/*.png`."""
    kind, path = split(uri)
    return f"{path.rstrip('/') or '/'}/*.png" if kind in FOLDERS else path


def check_needs(uris: Iterable[str], *, has_zones: bool, has_tracks: bool) -> None:
    """Raise UsageError for an output of what zones tell, or of tracked objects, where there are none."""
    for uri in uris:
        kind = split(uri)[0]
        if kind in ZONED and not has_zones:
            raise UsageError(f"output {uri}: it holds what zones tell, and there are none; name them with --zones FILE")
        if kind in TRACKED and not has_tracks:
            raise UsageError(f"output {uri}: it holds objects that are followed, and none are; add --track")
