"""The precision a model is computed in, by what the CPU has in hardware and what the model's own record allows."""

from __future__ import annotations

import math
import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from solo_rt.cpu import ISA, cpu_field
from solo_rt.errors import EngineError, UsageError
from solo_rt.spec import ModelSpec

Precision = Literal["auto", "fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LOWER: tuple[Precision, ...] = ("int8", "bf16")
MOST_LOST = 0.001  # of AP, mIoU or agreement, a share of 1, that a lower precision may cost to be taken unasked
# As Linux calls what multiplies bfloat16, and what adds products of 8 bits in 32.
_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")
# What oneDNN, by which OpenVINO and PyTorch compute, may be held to that lacks these, by the names of `ISA`.
_WITHOUT_INT8 = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
_WITHOUT_BF16 = (*_WITHOUT_INT8, "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE_VNNI")
_X86 = ("x86_64", "AMD64")
INT8_OTHERWISE = "int8_avx2"  # in a model's record: what INT8 costs where `has_int8` is false


@cache
def has_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware; elsewhere it would be slower than float32."""
    return not set(_BF16_FLAGS).isdisjoint(cpu_field("flags").split()) and _held_to() not in _WITHOUT_BF16


@cache
def has_int8() -> bool:
    """Return whether this CPU adds products of 8 bits in 32; an x86 without VNNI adds them two by two in 16."""
    if platform.machine() not in _X86:
        return True
    return not set(_INT8_FLAGS).isdisjoint(cpu_field("flags").split()) and _held_to() not in _WITHOUT_INT8


def _held_to() -> str:
    """Return the newest instructions that oneDNN may use, by its name; empty where nobody says."""
    return os.environ.get(ISA, "").upper()


def lower_precisions(engine: str) -> list[Precision]:
    """Return the precisions below 32 bits that an engine names, as `Engine.backend`, the lowest first."""
    words = re.split("[ ,]+", engine)
    return [precision for precision in LOWER if precision in words]


def costs_here(spec: ModelSpec) -> dict[str, float]:
    """Return what lower precisions cost on this CPU, by their names, as far as the model's record knows it."""
    known = {"bf16": spec.costs.get("bf16"), "int8": spec.costs.get("int8" if has_int8() else INT8_OTHERWISE)}
    return {precision: cost for precision, cost in known.items() if cost is not None}


def costs_nothing(spec: ModelSpec, precision: Precision) -> bool:
    """Return whether a lower precision may be taken unasked on this CPU."""
    return costs_here(spec).get(precision, math.inf) <= MOST_LOST


def allowed_precisions(spec: ModelSpec, asked: Precision, *, path: Path) -> tuple[Literal["fp32", "bf16"], ...]:
    """Return the precisions to choose from for what is not INT8: the one that is asked for, or may be taken unasked.

    INT8 leaves that open. Raises: UsageError for an unknown one, EngineError for one that this CPU has not.
    """
    if asked not in PRECISIONS:
        raise UsageError(f"unknown precision {asked!r}; expected one of {', '.join(PRECISIONS)}")
    if asked == "bf16" and not has_bf16():
        raise EngineError(f"{path}: precision bf16: this CPU has no instructions for it; leave it out, or say fp32")
    if asked in ("fp32", "bf16"):
        return (asked,)
    return ("bf16", "fp32") if has_bf16() and costs_nothing(spec, "bf16") else ("fp32",)
