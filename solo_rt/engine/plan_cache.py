"""Where built plans are kept, which of them fits a model on this machine, and which were built here at all.

A plan holds code that a GPU executes; loading a foreign one is a matter of trust. The SHA-256 of every plan built by
this user is noted in `built.txt` in the cache folder, and a plan that is not noted there is opened only when asked to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from glob import escape
from pathlib import Path

from solo_rt.engine.plan import SUFFIX, Plan, check_plan, read_plan
from solo_rt.errors import EngineError
from solo_rt.files import CACHE, cache_folder, file_sha256

NOTES = "built.txt"
PREFERENCE = ("fp16", "int8", "fp32")

log = logging.getLogger(__name__)


def find_plan(model: Path, machine: Mapping[str, str], *, is_fp32: bool = False) -> Plan:
    """Return the cached plan of an ONNX file for this machine, FP16 before INT8 before FP32, with `is_fp32` that first.

    Of one precision, it is the one that was built last: with other options, or other pictures for the ranges of INT8.
    `machine` is as in `check_plan`. Plans that do not fit are passed over; the log says why.
    Raises: EngineError where none fits; CacheError.
    """
    model_sha256 = file_sha256(model)
    found: list[Plan] = []
    for path in sorted(cache_folder().glob(f"{escape(model.stem)}.*{SUFFIX}")):
        try:
            plan = read_plan(path)
            check_plan(plan, {**machine, "model_sha256": model_sha256})
        except EngineError as error:
            log.info("passed over: %s", error)
        else:
            found.append(plan)
    if not found:
        raise EngineError(f"no engine of {model} fits this machine; make one with solo-rt build-engine --model {model}")
    order = ("fp32", *PREFERENCE) if is_fp32 else PREFERENCE
    return min(found, key=lambda plan: (order.index(plan.key.precision), -plan.path.stat().st_mtime_ns))


def note_built(plan: Plan) -> None:
    """Remember that a plan was built by this user. Raises: EngineError, CacheError."""
    _note(f"{plan.sha256}\n")


def check_notes() -> None:
    """Raise EngineError or CacheError, before the work, where a plan that is built could not be noted."""
    _note("")


def _note(line: str) -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / NOTES).open("a") as file:
            file.write(line)
    except OSError as error:
        raise EngineError(f"{folder}: cannot be written: {error.strerror}; set {CACHE} to another folder") from error


def check_trust(plan: Plan) -> None:
    """Raise EngineError unless a plan was built by this user."""
    try:
        noted = (cache_folder() / NOTES).read_text().split()
    except OSError:  # CacheError is one as well
        noted = []
    if plan.sha256 not in noted:
        raise EngineError(
            f"{plan.path}: it was not built on this machine, and an engine is code; if you know where it comes from, "
            f"use --trust"
        )
