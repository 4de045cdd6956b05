"""What a run writes about itself: `log.jsonl`, TensorBoard's files if asked for, and `curves.png` at the end."""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from solo_rt.errors import SinkError, UsageError
from solo_rt.files import replace_file

log = logging.getLogger(__name__)


class RunLog:
    """Appends to `log.jsonl` of a folder; what it holds past `step`, of a run that was cut off, is dropped.

    A failure to write once the run has begun is a warning, not its end. Raises: SinkError when it cannot begin.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._path = path = folder / "log.jsonl"
        try:
            kept = [line for line in read_log(path) if line["step"] <= step]
            replace_file(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
            self._file = path.open("a")
        except OSError as error:
            raise SinkError(
                f"cannot write {path}: {error.strerror}; free some space or choose another --out"
            ) from error
        self._failed = False
        self._board = None
        if tensorboard:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add what a step found."""
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()  # tries again what could not be written before
            if self._board is not None:
                for name, value in values.items():
                    self._board.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Finish the files."""
        try:
            self._file.close()
            if self._board is not None:
                self._board.close()  # type: ignore[no-untyped-call]
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            log.warning("cannot write %s: %s; the run goes on, what is missing is in no curve", self._path, error)
        self._failed = True

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """Return the records of a log in order; a torn last line, the trace of a kill, is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def require_tensorboard() -> None:
    """Raise UsageError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs the package tensorboard; install it with pip install tensorboard")
