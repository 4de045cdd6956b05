"""The kinds of values that options and arguments have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from solo_rt.uri import expand_home


class Secret(click.types.StringParamType):
    """A text that is not shown to anybody."""


class CountOr(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or a word that stands for one."""

    def __init__(self, word: str, *, least: int = 1) -> None:
        self._word, self._least = word, least
        self.name = f"N|{word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number or the word."""
        if value == self._word:
            return value
        if not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(value) < self._least:
            self.fail(f"expected a whole number from {self._least} on, or {self._word}, got {value!r}", param, ctx)
        return int(value)


class LocalPath(click.Path):
    """A path of this machine, `~` the home folder; an address of another, which would become one, is refused."""

    def __init__(self, *, exists: bool = False, dir_okay: bool = True) -> None:
        super().__init__(exists=exists, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if isinstance(value, str) and "://" in value:
            self.fail(f"expected a path, got an address, {value}", param, ctx)
        return super().convert(expand_home(value) if isinstance(value, str) else value, param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]
    """Two lengths in pixels, written 256x448; `name` says in which order: one of LONGxSHORT is refused in another."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return both lengths in the order given."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value))
        if found is None:
            self.fail(f"expected {self.name} like 256x448, got {value!r}", param, ctx)
        first, second = int(found[1]), int(found[2])
        if self.name.startswith("LONG") and first < second:
            self.fail(f"expected the long side first, as in {second}x{first}, got {value!r}", param, ctx)
        return first, second


class Names(click.ParamType):  # type: ignore[type-arg]
    """Some of certain names, written A,B."""

    name = "A,B"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the names."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not set(names) <= set(self._known):
            self.fail(f"expected some of {', '.join(self._known)}, got {value!r}", param, ctx)
        return names


class PhaseText(click.ParamType):  # type: ignore[type-arg]
    """A stretch of training, written HxW:STEPS:BATCH."""

    name = "HxW:STEPS:BATCH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return size, steps and batch."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts[1:]):
            self.fail(f"expected {self.name} like 256x448:3000:16, got {value!r}", param, ctx)
        return Size("HxW").convert(parts[0], param, ctx), int(parts[1]), int(parts[2])


class Grids(click.ParamType):  # type: ignore[type-arg]
    """Cells along each side, by level, written 40,36,24,16,12."""

    name = "S,S,S,S,S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isdecimal() and len(part) <= 9 for part in parts):
            self.fail(f"expected numbers like 40,36,24,16,12, got {value!r}", param, ctx)
        return tuple(map(int, parts))
