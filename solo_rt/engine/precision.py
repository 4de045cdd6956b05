"""The precision a model is computed in, by what the CPU has in hardware and what the model's own record allows."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from solo_rt.cpu import cpu_field
from solo_rt.errors import EngineError, UsageError
from solo_rt.spec import ModelSpec

Precision = Literal["auto", "fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MOST_LOST = 0.001  # of AP, mIoU or agreement, a share of 1, that a lower precision may cost to be taken unasked
# As Linux calls what multiplies bfloat16, and what adds products of 8 bits in 32.
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")
_X86 = ("x86_64", "AMD64")


@cache
def has_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware; elsewhere it would be slower than float32."""
    return not set(_BF16_FLAGS).isdisjoint(cpu_field("flags").split())


@cache
def has_int8() -> bool:
    """Return whether INT8 costs on this CPU what a model's record says.

    An x86 without instructions for it adds products two by two in 16 bits: with OpenVINO on AVX2 solov2-nano loses 0.28
    points of AP instead of 0.04, fast-scnn 0.54 of mIoU instead of 0.01.
    """
    return platform.machine() not in _X86 or not set(_INT8_FLAGS).isdisjoint(cpu_field("flags").split())


def allowed(spec: ModelSpec, asked: Precision, *, path: Path) -> tuple[Literal["fp32", "bf16"], ...]:
    """Return the precisions to choose from for what is not INT8: the one that is asked for, or may be taken unasked.

    INT8 leaves that open. Raises: UsageError for an unknown one, EngineError for one that this CPU has not.
    """
    if asked not in PRECISIONS:
        raise UsageError(f"unknown precision {asked!r}; expected one of {', '.join(PRECISIONS)}")
    if asked == "bf16" and not has_bf16():
        raise EngineError(f"{path}: precision bf16: this CPU has no instructions for it; leave it out, or say fp32")
    if asked in ("fp32", "bf16"):
        return (asked,)
    lost = spec.costs.get("bf16")
    return ("bf16", "fp32") if has_bf16() and lost is not None and lost <= MOST_LOST else ("fp32",)
