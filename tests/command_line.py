"""The command line in this process, as the fixture `solo` runs it."""

from __future__ import annotations

from collections.abc import Callable

Solo = Callable[..., tuple[int, str, str]]  # from arguments, of any type, to exit code, stdout and stderr
