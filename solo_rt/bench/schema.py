"""The published form of a record, schema.json, and whether a record has it.

What JSON Schema (2020-12) has and schema.json does not use is unknown here, and refused rather than passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from solo_rt.errors import UsageError

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)
}  # fmt: skip
_KNOWN = {"$schema", "$defs", "$ref", "title", "description", "type", "required", "additionalProperties", "properties"}
_KNOWN |= {"items", "minItems", "const"}
MOST = 1e15  # what no number of a record reaches; NaN, which is no JSON either, is not below it


@cache
def schema() -> Mapping[str, Any]:
    """Return the schema."""
    found: Mapping[str, Any] = json.loads((files("solo_rt.bench") / "schema.json").read_text(encoding="utf-8"))
    return found


def read_record(path: Path) -> dict[str, Any]:
    """Return the record in a file of `solo-rt bench --json`. Raises: UsageError."""
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: expected a file of solo-rt bench --json, got no JSON: {error}") from error
    mistake = next(mistakes(record), None)
    if mistake is not None:
        raise UsageError(f"{path}: expected a file of solo-rt bench --json, version 1: {mistake}")
    found: dict[str, Any] = record
    return found


def mistakes(value: object, rule: Mapping[str, Any] | None = None, where: str = "the record") -> Iterator[str]:
    """Yield what is wrong with a value by a rule of the schema, which is the whole one by default."""
    rule = schema() if rule is None else rule
    if "$ref" in rule:
        rule = schema()["$defs"][rule["$ref"].rpartition("/")[2]]
    assert set(rule) <= _KNOWN, f"{where}: unknown rule {sorted(set(rule) - _KNOWN)}"
    if "const" in rule and value != rule["const"]:
        yield f"{where} must be {rule['const']}, got {value!r:.40}"
    kind = rule.get("type")
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield f"{where} must be of type {kind}, got {value!r:.40}"
        return
    if isinstance(value, int | float) and not abs(value) < MOST:
        yield f"{where} must be a number below {MOST:g}, got {value!r:.40}"
    if isinstance(value, list) and len(value) < rule.get("minItems", 0):
        yield f"{where} must have {rule['minItems']} values at least, got {len(value)}"
    if isinstance(value, dict):
        for name in rule.get("required", ()):
            if name not in value:
                yield f"{where} lacks {name}"
        others = rule.get("additionalProperties", True)
        for name, item in value.items():
            own = rule.get("properties", {}).get(name, others)
            if own is False:
                yield f"{where} has an unknown {name!r:.40}"
            elif isinstance(own, Mapping):
                yield from mistakes(item, own, name)
    if isinstance(value, list) and "items" in rule:
        for item in value:
            yield from mistakes(item, rule["items"], where)
