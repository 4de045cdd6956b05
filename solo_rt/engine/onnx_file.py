"""Reads what an ONNX file says about itself, without the onnx package and without loading it into an engine.

An ONNX file is one protobuf message. Its wire format is a sequence of fields, each a key `number << 3 | type` and a
value; messages nest as length-delimited fields. Knowing two dozen field numbers is all that is needed here.
Source: protobuf.dev/programming-guides/encoding and onnx/onnx.proto (fields named beside the constants).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from solo_rt.engine.operators import DOMAIN as DOMAIN_OF_OURS
from solo_rt.errors import SpecError, UsageError

PRODUCER_NAME, PRODUCER_VERSION, GRAPH, OPSET_IMPORT, METADATA_PROPS, FUNCTIONS = 2, 3, 7, 8, 14, 25  # ModelProto
NODE, INITIALIZER, OUTPUT = 1, 5, 12  # GraphProto
NAME_OF_OUTPUT = 1  # ValueInfoProto
OP_TYPE, NODE_DOMAIN = 4, 7  # NodeProto
DIMS = 1  # TensorProto
DOMAIN, VERSION = 1, 2  # OperatorSetIdProto
KEY, VALUE = 1, 2  # StringStringEntryProto
EXTERNAL_DATA = 13  # TensorProto
LOCATION = "location"  # the key of an entry that names the file which holds a tensor
# What holds what, down to all tensors of a model: by message, the fields with another one that may hold tensors.
INSIDE = {
    "model": {GRAPH: "graph", FUNCTIONS: "function"},
    "graph": {NODE: "node", INITIALIZER: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The facts about an ONNX file that need no engine."""

    path: Path
    size: int  # bytes
    metadata: Mapping[str, str]
    producer: str
    opset: int  # of the default domain; 0 if the file names none
    operators: Mapping[str, int]  # number of nodes by type, most frequent first; nodes inside control flow not counted
    parameters: int  # elements of all stored tensors


def read_onnx(path: Path) -> OnnxFile:
    """Return what the file says.

    Raises: UsageError if it cannot be read or keeps weights elsewhere, SpecError if it is not an ONNX model.
    """
    return _read(path, partial(_read_model, path))


def read_metadata(path: Path) -> dict[str, str]:
    """Return what the maker of the file noted in it; its graph, which takes long to walk through, is passed over.

    Raises: as `read_onnx`.
    """
    return _read(path, _metadata)


def _read(path: Path, parse: Callable[[memoryview], T]) -> T:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the model cannot be read: {error.strerror or error}") from error
    try:
        # A start waits for a walk through all tensors: only a file with the key of such an entry needs it.
        elsewhere = next(_other_files(memoryview(content), "model"), None) if LOCATION.encode() in content else None
        found = parse(memoryview(content))
    except (ValueError, IndexError, RecursionError) as error:
        raise SpecError(f"{path}: expected an ONNX model, got something else or a damaged file ({error})") from error
    if elsewhere is not None:  # a runtime that gets bytes would look for it in the current folder
        raise UsageError(
            f"{path}: expected a model that holds its weights itself, got one that keeps them in {elsewhere}; "
            "put them into one file with onnx.save(onnx.load(...), ...)"
        )
    return found


def _other_files(view: memoryview, kind: str) -> Iterator[str]:
    """Yield the names of the files that tensors of a model, or of a part of it, are kept in."""
    for number, value in _fields(view):
        if kind == "tensor" and number == EXTERNAL_DATA:
            entry = dict(_fields(_message(value)))
            if _text(entry.get(KEY, b"")) == LOCATION:
                yield _text(entry.get(VALUE, b""))
        elif kind != "tensor" and number in INSIDE[kind]:
            yield from _other_files(_message(value), INSIDE[kind][number])


def _read_model(path: Path, view: memoryview) -> OnnxFile:
    producer, version, opset, parameters = "", "", 0, 0
    operators: Counter[str] = Counter()
    for number, value in _fields(view):
        if number == PRODUCER_NAME:
            producer = _text(value)
        elif number == PRODUCER_VERSION:
            version = _text(value)
        elif number == OPSET_IMPORT:
            entry = dict(_fields(_message(value)))
            if _text(entry.get(DOMAIN, b"")) in ("", "ai.onnx"):
                opset = _integer(entry.get(VERSION, 0))
        elif number == GRAPH:
            for part, content in _fields(_message(value)):
                if part == NODE:
                    operators.update(_text(v) for n, v in _fields(_message(content)) if n == OP_TYPE)
                elif part == INITIALIZER:
                    parameters += math.prod(_dims(_message(content)))
    return OnnxFile(
        path=path,
        size=len(view),
        metadata=_metadata(view),
        producer=f"{producer} {version}".strip(),
        opset=opset,
        operators=dict(operators.most_common()),
        parameters=parameters,
    )


def _metadata(view: memoryview) -> dict[str, str]:
    fields = list(_fields(view))
    if GRAPH not in dict(fields):
        raise ValueError("it has no graph")
    entries = [dict(_fields(_message(value))) for number, value in fields if number == METADATA_PROPS]
    return {_text(entry.get(KEY, b"")): _text(entry.get(VALUE, b"")) for entry in entries}


def heads_alone(content: bytes, outputs: Collection[str]) -> bytes:
    """Return an ONNX model that ends at `outputs`: without the decoding nodes behind them, and their bodies.

    Runtimes compute every node of a file whatever outputs are asked for, and not all of them know our operators.
    Raises: SpecError if the model is damaged.
    """
    parts: list[bytes | memoryview] = []
    try:
        for number, raw, value in _raw_fields(memoryview(content)):
            if number == GRAPH:
                graph = b"".join(_kept_of_graph(_message(value), outputs))
                parts += [_encoded(GRAPH << 3 | BYTES), _encoded(len(graph)), graph]
            elif number != FUNCTIONS:
                parts.append(raw)
    except (ValueError, IndexError) as error:
        raise SpecError(f"expected an ONNX model, got a damaged one ({error})") from error
    return b"".join(parts)


def _kept_of_graph(graph: memoryview, outputs: Collection[str]) -> Iterator[bytes | memoryview]:
    for number, raw, value in _raw_fields(graph):
        if number == NODE and _text(dict(_fields(_message(value))).get(NODE_DOMAIN, b"")) == DOMAIN_OF_OURS:
            continue
        if number == OUTPUT and _text(dict(_fields(_message(value))).get(NAME_OF_OUTPUT, b"")) not in outputs:
            continue
        yield raw


def _encoded(value: int) -> bytes:
    """Return the bytes of a varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _dims(tensor: memoryview) -> Iterator[int]:
    """Yield the sizes of a TensorProto, stored one by one or packed."""
    for number, value in _fields(tensor):
        if number == DIMS and isinstance(value, int):
            yield value
        elif number == DIMS:
            packed = _message(value)
            at = 0
            while at < len(packed):
                size, at = _varint(packed, at)
                yield size


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of a message; a value is an integer or the bytes of what is nested."""
    for number, _, value in _raw_fields(view):
        yield number, value


def _raw_fields(view: memoryview) -> Iterator[tuple[int, memoryview, int | memoryview]]:
    """Yield (field number, all bytes of the field, value) of a message."""
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(view, at)
            yield number, view[start:at], value
            continue
        if kind == BYTES:
            length, at = _varint(view, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind} at byte {at}")
        if at + length > len(view):
            raise ValueError("it ends too early")
        yield number, view[start : at + length], view[at : at + length]
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the integer stored at `at`, seven bits per byte from the lowest, and where the next field starts."""
    value = shift = 0
    while shift < 70:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number longer than ten bytes at byte {at}")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _integer(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("a message where a number belongs")
    return value


def _text(value: int | memoryview | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("a number where text belongs")
    return str(value, "utf-8")
