"""Every failure a caller can act on, and the exit code the command line gives it.

    SoloRTError                     1  something went wrong inside
    ├── UsageError      ValueError  2  an argument, or a combination of them, cannot work
    ├── SpecError       ValueError  2  a model file does not describe itself, or contradicts its description
    ├── DatasetError    ValueError  2  a data set or an annotation file cannot be read
    ├── CacheError      FileNotFoundError 2  there is no folder to keep anything in between runs
    ├── SourceError     OSError     3  no frame could be read
    ├── SinkError       OSError     4  an output failed while it was being written
    ├── EngineError     RuntimeError 1 an engine could not run
    └── ExportError     RuntimeError 5 an exported model failed its parity check

Messages say what was expected, what was found and what to do, in one line.
"""

from __future__ import annotations


class SoloRTError(Exception):
    """Root of all errors raised on purpose by solo-rt."""

    exit_code = 1


class UsageError(SoloRTError, ValueError):
    """An argument cannot work: unknown name, contradiction, output that cannot be created."""

    exit_code = 2


class SpecError(SoloRTError, ValueError):
    """A model carries no ModelSpec, an unreadable one, or tensors that contradict it."""

    exit_code = 2


class DatasetError(SoloRTError, ValueError):
    """A data set cannot be used."""

    exit_code = 2


class CacheError(SoloRTError, FileNotFoundError):
    """There is no home folder to keep anything in; callers that can do without take it for a missing folder."""

    exit_code = 2


class SourceError(SoloRTError, OSError):
    """A source could not be opened or gave no frame at all."""

    exit_code = 3


class SinkError(SoloRTError, OSError):
    """An output failed after it had been opened, for example because the disk is full."""

    exit_code = 4


class EngineError(SoloRTError, RuntimeError):
    """An inference engine, or a decoder or encoder on a GPU, could not be created or failed on a frame."""


class ExportError(SoloRTError, RuntimeError):
    """An exported model does not compute what its checkpoint computes."""

    exit_code = 5
