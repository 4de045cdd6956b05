"""Denormals: float32 values below 1.2e-38, with which many CPUs are a hundred times slower than with others.

Weight decay shrinks what a network does not need towards zero, and products of such weights are denormal: in training,
where CGNet slowed to less than a half within minutes, and in the model that comes of it, which took nine times as long
on ONNX Runtime. Zero serves as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from solo_rt import _native


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let this thread, and those that are started by it inside, take denormals for zero; it is as before afterwards."""
    before = _native.set_flushes(_native.ALL_FLUSHES)
    try:
        yield
    finally:
        _native.set_flushes(before)
