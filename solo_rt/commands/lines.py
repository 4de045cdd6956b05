"""What is said on standard error: lines for people, or objects for programs, one a line; no secrets in either."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone

import click

# User and password of an address; FFmpeg's messages repeat them. A path made of an address has lost one slash.
SECRETS = re.compile(r"(\w+://|\w+:/(?=\S*:\S*@))\S*@")


class LineFormatter(logging.Formatter):
    """Makes lines of log records."""

    as_json = False

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line, or as several where it holds a traceback for people."""
        if not self.as_json:
            return hide_secrets(super().format(record))
        fields = {"exception": self.formatException(record.exc_info)} if record.exc_info else {}
        return _object(record.created, record.levelname, record.name, record.getMessage(), fields)


FORMATTER = LineFormatter("solo-rt: %(levelname)s: %(message)s")  # the one of this process


def choose_format(name: object) -> None:
    """Say everything as objects from now on if `name` is json, else as text."""
    FORMATTER.as_json = name == "json"
    logging.captureWarnings(FORMATTER.as_json)


def tell(text: str, *, level: str = "info", exception: str = "", fields: Mapping[str, object] | None = None) -> None:
    """Say something on standard error; `fields` are for programs only."""
    click.echo(line(text, level=level, exception=exception, fields=fields), err=True)


def line(text: str, *, level: str = "info", exception: str = "", fields: Mapping[str, object] | None = None) -> str:
    """Return what `tell` writes: with its level, where that is not info, behind the traceback of an exception."""
    if FORMATTER.as_json:
        more = {**(fields or {}), **({"exception": exception} if exception else {})}
        return _object(time.time(), level, "solo_rt", text, more)
    return hide_secrets(exception + (text if level == "info" else f"solo-rt: {level}: {text}"))


def hide_secrets(text: str) -> str:
    """Return a text without the user and the password of any address in it."""
    return SECRETS.sub(r"\1***@", text)


def _object(at: float, level: str, logger: str, message: str, fields: Mapping[str, object]) -> str:
    when = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"time": when, "level": level.lower(), "logger": logger, "message": message, **fields}
    return json.dumps({k: hide_secrets(v) if isinstance(v, str) else v for k, v in record.items()})
