"""The `Engine` protocol, and `open_engine`, which finds the model, reads its spec and picks the backend."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from solo_rt.engine.contract import try_out
from solo_rt.engine.onnx_file import read_onnx
from solo_rt.errors import SpecError, UsageError
from solo_rt.spec import METADATA_KEY, ModelSpec
from solo_rt.types import Output

DEFAULT_MODEL = "solov2-nano"
BACKENDS = ("auto", "onnxruntime", "openvino")

Float32 = NDArray[np.float32]
log = logging.getLogger(__name__)


class Engine(Protocol):
    """Computes a model. One thread at a time calls `infer`."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def backend(self) -> str:
        """What computes, for people: "onnxruntime cpu, 2 threads"."""
        ...

    def infer(self, inputs: Mapping[str, Float32]) -> dict[str, Output]:
        """Return the outputs by name, arrays that belong to the caller; inputs are neither kept nor written to.

        Raises: EngineError.
        """
        ...

    def close(self) -> None:
        """Release the model; `infer` raises EngineError afterwards."""
        ...


def open_engine(
    model: str | Path | None = None, *, backend: str = "auto", device: str = "auto", threads: int | None = None
) -> Engine:
    """Return an engine for an ONNX file or the name of a model that ships with solo-rt; None is the default one.

    `backend` is one of `BACKENDS`; auto takes OpenVINO where it is installed and the CPU is Intel's, else ONNX Runtime,
    and logs its choice. `device` is auto, cpu, cuda or cuda:N. `threads` defaults to `default_threads()`.
    The engine has computed one empty picture, so the first frame is not slower than the others.
    Raises: UsageError, SpecError if the file and its spec do not fit together, EngineError.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    path = find_model(model)
    spec = read_spec(path)
    chosen = _preferred_backend(device) if backend == "auto" else backend
    threads = threads or default_threads()
    engine: Engine
    if chosen == "openvino":
        from solo_rt.engine.openvino import OpenVinoEngine

        engine = OpenVinoEngine(path, spec, device=device, threads=threads)
    else:
        from solo_rt.engine.onnxruntime import OnnxRuntimeEngine

        engine = OnnxRuntimeEngine(path, spec, device=device, threads=threads)
    try:
        try_out(engine, path)
    except BaseException:
        engine.close()
        raise
    log.info("model %s on %s", spec.name, engine.backend)
    return engine


def find_model(model: str | Path | None = None) -> Path:
    """Return the path of a model file, given as such or by the name of a shipped one. Raises: UsageError."""
    shipped = shipped_models()
    if model is None or (isinstance(model, str) and not {"/", "\\", "."} & set(model) and not Path(model).exists()):
        name = model or DEFAULT_MODEL
        if name not in shipped:
            known = ", ".join(sorted(shipped)) or "none"
            raise UsageError(
                f"no model named {name} ships with solo-rt (there are: {known}); give a path to an .onnx file"
            )
        return shipped[name]
    path = Path(model)
    if not path.is_file():
        raise UsageError(f"{path}: no such model file")
    if path.suffix != ".onnx":
        raise UsageError(
            f"{path}: expected an .onnx file written by solo-rt export, got {path.suffix or 'no extension'}"
        )
    return path


def shipped_models() -> dict[str, Path]:
    """Return the models of the package `solo_rt.engines`, path by name; empty in a checkout that is not installed."""
    if importlib.util.find_spec("solo_rt.engines") is None:
        return {}
    paths = (Path(str(entry)) for entry in files("solo_rt.engines").iterdir())
    return {path.stem: path for path in paths if path.suffix == ".onnx"}


def read_spec(path: Path) -> ModelSpec:
    """Return the spec inside an ONNX file. Raises: UsageError, SpecError."""
    text = read_onnx(path).metadata.get(METADATA_KEY)
    if text is None:
        raise SpecError(f"{path}: expected metadata {METADATA_KEY!r}, found none; make the file with solo-rt export")
    try:
        return ModelSpec.from_json(text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def default_threads() -> int:
    """Return how many threads inference gets: all cores this process may use, less one for the other stages from 3 on.

    On two cores inference is nearly always what the run waits for, and it waits less with both.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores - 1 if cores > 2 else cores


def _preferred_backend(device: str) -> str:
    if device in ("auto", "cpu") and importlib.util.find_spec("openvino") is not None and _has_intel_cpu():
        return "openvino"
    return "onnxruntime"


def _has_intel_cpu() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "GenuineIntel" in platform.processor()
