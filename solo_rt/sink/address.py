"""Addresses of outputs that say what is written in front of where: `coco:results.json`, `labels:folder`."""

from __future__ import annotations

FOLDERS = ("labels", "crops")  # of PNG files
FILES = ("coco", "mots", "ytvis")


def split(uri: str) -> tuple[str, str]:
    """Return the kind that an address names, empty where it names none, and the path."""
    kind, _, path = uri.partition(":")
    return (kind, path) if kind in (*FOLDERS, *FILES) and path else ("", uri)


def pattern(uri: str) -> str:
    """Return an address as the path of what it writes: `labels:folder` writes `folder/*.png`."""
    kind, path = split(uri)
    return f"{path.rstrip('/') or '/'}/*.png" if kind in FOLDERS else path
