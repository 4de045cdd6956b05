"""What a model is, in one value that travels inside its ONNX file.

A `ModelSpec` is everything the run time must know beside the weights: how a picture becomes the input tensor, what
the output tensors mean, how they are decoded, what the classes are called and where the weights came from. It is
stored as JSON under the metadata key `solo_rt.spec`, so `solo-rt run --model x.onnx` needs no configuration.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from solo_rt.decoders import DECODERS, Decoder, SemanticDecoder
from solo_rt.errors import SpecError

METADATA_KEY = "solo_rt.spec"
SCHEMA_VERSION = 1
MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0..255
STD = (58.395, 57.12, 57.375)
DIVISOR = 32  # of the height and width of a network's input, unless the network says otherwise

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes `float32 [B, 3, height, width]`, RGB.

    The picture is resized with its aspect ratio kept so that it fits, put into the top-left corner, normalised as
    `(value - mean) / std` with values in 0..255, and padded right and bottom with 0 *after* normalisation.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    batch: int = 1
    name: str = "image"
    divisor: int = DIVISOR  # of height and width

    def __post_init__(self) -> None:
        size = (self.height, self.width)
        if min(*size, self.batch, self.divisor) < 1 or any(side % self.divisor for side in size):
            raise SpecError(
                f"model input must be positive and divisible by {self.divisor}, "
                f"got {self.height}x{self.width}, batch {self.batch}"
            )
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or not all(map(math.isfinite, numbers)):
            raise SpecError(f"model input needs three means and three positive stds, got {self.mean} and {self.std}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the weights came from; free text except for the metrics."""

    recipe: str = ""
    command: str = ""
    data: str = ""
    seed: int = 0
    training_hours: float = 0.0
    hardware: str = ""
    licence: str = ""
    commit: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The self-description of a model file."""

    name: str
    input: InputSpec
    decoder: Decoder
    classes: tuple[str, ...]
    provenance: Provenance = Provenance()
    costs: Mapping[str, float] = field(default_factory=dict)  # AP, mIoU or agreement lost, of 1, see precision.py

    def __post_init__(self) -> None:
        if not self.name or not self.classes:
            raise SpecError("model spec needs a name and at least one class")
        if not self.name.isprintable():  # it is shown on terminals, which such characters steer
            raise SpecError(f"model spec: expected a name without control characters, got {self.name!r:.80}")
        if len(set(self.classes)) != len(self.classes):
            raise SpecError(f"model {self.name}: class names must be distinct, got {list(self.classes)}")
        numbers = {**self.provenance.metrics, **self.costs}
        if not all(map(math.isfinite, numbers.values())):  # JSON has no others: the file could not be read again
            raise SpecError(f"model {self.name}: expected finite metrics and costs, got {numbers}")
        if isinstance(self.decoder, SemanticDecoder) and len(self.decoder.palette) != len(self.classes):
            raise SpecError(
                f"model {self.name}: expected one colour per class, "
                f"got {len(self.decoder.palette)} for {len(self.classes)} classes"
            )

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Expected output tensors by name; -1 stands for a size that only the file knows."""
        size = self.input
        return self.decoder.output_shapes(size.batch, size.height, size.width, classes=len(self.classes))

    @property
    def is_int8(self) -> bool:
        """Whether this is the spec of a file that is quantised: `costs` then says what that cost."""
        return "int8" in self.costs

    def to_json(self) -> str:
        """Return the spec as one line of JSON with its schema version."""
        text = json.dumps({"schema": SCHEMA_VERSION, **asdict(self)}, ensure_ascii=False)
        # Bytes of a name or a path that are no UTF-8 are halves of pairs in Python, which no file takes but as escapes.
        return text.encode("utf-8", "backslashreplace").decode()

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Return the spec written by `to_json`. Raises: SpecError on unknown schema, unknown or missing fields."""
        try:
            record = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"model spec is not JSON ({error}); export the model again with solo-rt export") from error
        if not isinstance(record, dict):
            raise SpecError(f"model spec must be a JSON object, got {type(record).__name__}")
        version = record.pop("schema", None)
        if version != SCHEMA_VERSION:
            raise SpecError(
                f"model spec has schema {version}, this solo-rt reads {SCHEMA_VERSION}; update solo-rt or export again"
            )
        decoder = record.get("decoder")
        kind = decoder.get("kind") if isinstance(decoder, dict) else decoder
        if not isinstance(kind, str) or kind not in DECODERS:
            raise SpecError(f"model spec has decoder {kind!r:.80}, this solo-rt knows: {', '.join(DECODERS)}")
        return _build(
            cls,
            record,
            input=_build(InputSpec, record.get("input")),
            decoder=_build(DECODERS[kind], decoder),
            provenance=_build(Provenance, record.get("provenance") or {}),
        )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _build(cls: type[T], record: Any, **parts: object) -> T:
    """Return `cls` from a JSON object, lists turned into tuples, every key and type accounted for."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    if not isinstance(record, dict):
        raise SpecError(f"model spec: expected an object for {cls.__name__}, got {type(record).__name__}")
    kinds = get_type_hints(cls)
    unknown = sorted(set(record) - set(kinds))
    if unknown:
        raise SpecError(f"model spec: {cls.__name__} has unknown fields {unknown}; update solo-rt or export again")
    values = {key: frozen(value) for key, value in record.items()} | parts
    for key, value in values.items():
        if not _fits(value, kinds[key]):
            raise SpecError(
                f"model spec: {cls.__name__}.{key} must be {cls.__annotations__[key]}, got {value!r:.80}; export again"
            )
    try:
        return cls(**values)
    except (TypeError, OverflowError) as error:  # the latter of an integer that is no float
        raise SpecError(f"model spec: {cls.__name__}: {error}; export the model again with solo-rt export") from error


def _fits(value: object, kind: Any) -> bool:
    """Return whether a JSON value is of an annotated type; an integer is a float, a bool is no number."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is ClassVar:
        return False
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)
