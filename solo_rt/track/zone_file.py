"""Zones as they are written in TOML and JSON files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from solo_rt.documents import list_known, read_document, suggest
from solo_rt.errors import UsageError
from solo_rt.track.zones import Anchor, Zone, is_name

POINTS = {"zone": "polygon", "line": "points"}  # the key of the points, by table
COMMON = ("name", "size", "classes", "source", "anchor")  # the other keys of both


def read_zones(path: str | Path) -> tuple[Zone, ...]:
    """Return the zones of a .toml or .json file in their order, then its lines. Raises: UsageError."""
    document = _load(Path(path))
    _refuse_unknown(document, (*POINTS, "size"), f"{path}")
    whole = {"size": document["size"]} if "size" in document else {}
    zones = []
    for table in POINTS:
        entries = document.get(table, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UsageError(f"{path}: expected {table} as a list of tables, [[{table}]] in TOML")
        for number, entry in enumerate(entries, 1):
            zones.append(_Entry({**whole, **entry}, f"{path}: {table} {number}").zone(table))
    if not zones:
        raise UsageError(f"{path}: expected a [[zone]] or a [[line]], found none")
    return tuple(zones)


class _Entry:
    """What stands below a [[zone]] or a [[line]], and how messages call it."""

    def __init__(self, values: dict[str, object], origin: str) -> None:
        self._values = values
        self._origin = self._where = origin

    def zone(self, table: str) -> Zone:
        """Return the zone. Raises: UsageError."""
        name = self._text("name", "")
        self._where += f" ({name})" if is_name(name) else ""
        key = POINTS[table]
        _refuse_unknown(self._values, (*COMMON, key, *(["dwell"] if table == "zone" else [])), self._where)
        return Zone(
            name,
            self._points(key),
            is_line=table == "line",
            size=self._size(),
            classes=self._names("classes"),
            source=self._text("source", ""),
            anchor=cast(Anchor, self._text("anchor", "bottom")),
            dwell=self._number(self._values["dwell"], "dwell") if "dwell" in self._values else None,
            origin=self._origin,
        )

    def _text(self, key: str, fallback: str) -> str:
        value = self._values.get(key, fallback)
        if not isinstance(value, str):
            raise self._error(f"{key} as text", value)
        return value

    def _names(self, key: str) -> tuple[str, ...]:
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self._error(f"{key} as a list of names", values)
        return tuple(values)

    def _points(self, key: str) -> tuple[tuple[float, float], ...]:
        points = self._values.get(key)
        if not isinstance(points, list):
            raise self._error(f"{key} as a list of points, [[x, y], ...]", points)
        return tuple(self._pair(point, f"point {number}") for number, point in enumerate(points, 1))

    def _size(self) -> tuple[int, int] | None:
        if "size" not in self._values:
            return None
        width, height = self._pair(self._values["size"], "size")
        if not width.is_integer() or not height.is_integer():
            raise self._error("size as [width, height] in pixels", self._values["size"])
        return int(width), int(height)

    def _pair(self, value: object, what: str) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2:
            raise self._error(f"{what} as two numbers", value)
        return self._number(value[0], what), self._number(value[1], what)

    def _number(self, value: object, what: str) -> float:
        if type(value) not in (int, float):
            raise self._error(f"{what} as numbers", value)
        try:
            return float(cast(float, value))
        except OverflowError:
            return math.inf

    def _error(self, expected: str, value: object) -> UsageError:
        got = "nothing" if value is None else repr(value)
        return UsageError(f"{self._where}: expected {expected}, got {got if len(got) <= 60 else got[:57] + '...'}")


def _load(path: Path) -> dict[str, object]:
    kind = path.suffix.lower()
    if kind == ".toml":
        return read_document(path, "zone file", kind="toml")
    if kind == ".json":
        return read_document(path, "zone file", kind="json")
    raise UsageError(f"zone file {path}: expected a file that ends in .toml or .json")


def _refuse_unknown(keys: Iterable[str], known: tuple[str, ...], where: str) -> None:
    for key in keys:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r:.60}; {suggest(key, known) or list_known(known)}")
