"""Built engines on disk: a plain TensorRT plan, and beside it a JSON file that says what it is and where it fits.

The plan is exactly what TensorRT gave, so that trtexec and others load it. `model.<key>.engine` and
`model.<key>.engine.json` share a key made of everything a plan depends on; another card, another TensorRT, another
model or another way of ours to hand it over gives another key, so that a stale plan is never taken by mistake.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from solo_rt.errors import EngineError
from solo_rt.files import replace_file
from solo_rt.spec import ModelSpec

FORMAT = 3
SUFFIX = ".engine"

PlanPrecision = Literal["fp32", "fp16", "int8"]

OURS = {"plugins": "plugin library", "passes_sha256": "solo-rt"}  # what is told by name alone

PASSES = tuple(
    Path(__file__).parent.parent / name
    for name in (
        "builder/compiler.py",
        "builder/labels.py",
        "builder/network.py",
        "builder/precision.py",
        "builder/quantise.py",
        "engine/operators.py",
    )
)


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything a plan depends on."""

    model_sha256: str  # of the ONNX file
    plugins: str  # revision of our plugin library
    passes_sha256: str  # of what makes TensorRT's network of the file; see PASSES
    calibration_sha256: str  # of the INT8 ranges; empty for other precisions
    precision: PlanPrecision
    tensorrt: str  # full version
    cuda: str  # major version of its runtime
    gpu: str  # name and compute capability, "NVIDIA H200 9.0"; empty for plans made without one
    platform: str  # "linux-x86_64"
    workspace: int  # bytes; 0 is TensorRT's default
    level: int  # optimisation level; -1 is TensorRT's default

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), int if field.type == "int" else str
            if type(value) is not kind:
                raise EngineError(f"engine: expected {field.name} of type {kind.__name__}, got {value!r}")
        known = get_args(PlanPrecision)
        if self.precision not in known:
            raise EngineError(f"engine: expected precision {', '.join(known)}, got {self.precision!r}")

    @property
    def text(self) -> str:
        """The key as it appears in file names: 12 hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan and its description."""

    path: Path
    key: PlanKey
    spec: ModelSpec
    sha256: str  # of the plan itself
    size: int  # bytes
    agreement: Mapping[str, float]  # what the accuracy gate measured; empty if it was left out


def plan_path(folder: Path, model: Path, key: PlanKey) -> Path:
    """Return where the plan of a model belongs."""
    return folder / f"{model.stem}.{key.precision}.{key.text}{SUFFIX}"


def sidecar(path: Path) -> Path:
    """Return the path of the description of a plan."""
    return path.with_name(path.name + ".json")


def make_plan(path: Path, content: bytes, key: PlanKey, spec: ModelSpec) -> Plan:
    """Return the description of a plan that will be at `path`."""
    return Plan(path, key, spec, hashlib.sha256(content).hexdigest(), len(content), {})


def write_plan(plan: Plan, content: bytes) -> None:
    """Write a plan and its description so that a reader never finds half of one: first the plan, then the JSON.

    Raises: EngineError.
    """
    path = plan.path
    record = {
        "solo_rt_plan": FORMAT,
        "key": asdict(plan.key),
        "sha256": plan.sha256,
        "size": plan.size,
        "agreement": plan.agreement,
        "spec": json.loads(plan.spec.to_json()),
    }
    try:
        sidecar(path).unlink(missing_ok=True)
        replace_file(path, content, durable=True)
        replace_file(sidecar(path), json.dumps(record, indent=1).encode(), durable=True)
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror}; choose another --output") from error


def read_plan(path: Path) -> Plan:
    """Return the description of a plan. Raises: EngineError where there is none or it belongs to another file."""
    if not path.is_file():
        raise EngineError(f"{path}: no such engine; make one with solo-rt build-engine")
    try:
        record: dict[str, Any] = json.loads(sidecar(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EngineError(
            f"{path}: expected {sidecar(path).name} beside it; build it with solo-rt build-engine"
        ) from error
    except (OSError, ValueError) as error:
        raise EngineError(f"{sidecar(path)}: cannot be read ({error}); build the engine again") from error
    found = record.get("solo_rt_plan") if isinstance(record, dict) else None
    if found != FORMAT:
        raise EngineError(
            f"{sidecar(path)}: expected format {FORMAT}, got {found or 'none'}: the engine was built with another "
            f"solo-rt; build the engine again"
        )
    try:
        spec = ModelSpec.from_json(json.dumps(record["spec"]))
        key = PlanKey(**record["key"])
        agreement = {name: float(value) for name, value in record["agreement"].items()}
        plan = Plan(path, key, spec, record["sha256"], record["size"], agreement)
    except KeyError as error:
        raise EngineError(f"{sidecar(path)}: expected {error}, there is none; build the engine again") from error
    except (AttributeError, TypeError, ValueError, EngineError) as error:
        raise EngineError(f"{sidecar(path)}: {error}; build the engine again") from error
    if path.stat().st_size != plan.size:
        raise EngineError(
            f"{path}: expected {plan.size} bytes, got {path.stat().st_size}: it is cut off; build it again"
        )
    return plan


def read_content(plan: Plan) -> bytes:
    """Return what TensorRT gave. Raises: EngineError where it is not what the description says."""
    content = plan.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != plan.sha256:
        raise EngineError(f"{plan.path}: its content is not what its description says; build it again")
    return content


def check_plan(plan: Plan, machine: Mapping[str, str]) -> None:
    """Raise EngineError unless a plan was made for this machine, and solo-rt: `machine` has fields of `PlanKey`."""
    for name, found in machine.items():
        made_for = getattr(plan.key, name)
        if made_for != found and name in OURS:
            raise EngineError(f"{plan.path}: it was built with another {OURS[name]}; build the engine again")
        if made_for != found:
            raise EngineError(
                f"{plan.path}: it was built for {name} {made_for or 'none'}, this machine has {found or 'none'}; build "
                f"it here with solo-rt build-engine"
            )


def passes_sha256() -> str:
    """Return the SHA-256 of the code that makes the network of a file, in hexadecimal.

    The network itself cannot be hashed where a plan is looked up: the ranges of INT8 need pictures, and half precision
    seconds. A changed comment asks for a new plan, too, which costs a build; a stale plan would cost a wrong result.
    """
    digest = hashlib.sha256()
    for path in PASSES:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def machine_platform() -> str:
    """Return the operating system and processor architecture, "linux-x86_64"."""
    return f"{platform.system().lower()}-{platform.machine()}"
