"""Inference engines: anything that computes the raw outputs of a model; `open_engine` picks the backend of a file."""

from __future__ import annotations

import importlib.util
import logging
import platform
from pathlib import Path

from solo_rt.device import Device
from solo_rt.engine.base import Engine, FrameEngine
from solo_rt.engine.contract import try_out
from solo_rt.engine.model_file import find_model, read_spec, shipped_models
from solo_rt.engine.threads import default_threads
from solo_rt.errors import UsageError

__all__ = ["BACKENDS", "Engine", "FrameEngine", "choose_backend", "find_model", "open_engine", "shipped_models"]

MOST_THREADS = 1024  # more than any machine has cores; engines try to start as many as they are told
BACKENDS = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")

log = logging.getLogger(__name__)


def open_engine(
    model: str | Path | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    lanes: int | None = 1,
    trusted: bool = False,
) -> Engine:
    """Return an engine for a model file or the name of a model that ships with solo-rt; None is the default one.

    The file is an ONNX file, a TensorRT engine of `solo-rt build-engine`, or a checkpoint, which PyTorch computes.
    `backend` is one of `BACKENDS`; auto goes by the file, and for ONNX takes OpenVINO where it is installed and the CPU
    is Intel's, else ONNX Runtime, and logs its choice; tensorrt takes the engine that was built of an ONNX file.
    `device` is auto, cpu, cuda or cuda:N. `threads` defaults to `default_threads()`; the `lanes` share them, None is
    what suits files: 2 with tensorrt, else 1. `trusted`: open a TensorRT engine that was not built here.
    The engine has computed one empty picture, so the first frame is not slower than the others.
    Raises: UsageError, SpecError if the file and its spec do not fit together, EngineError.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}; expected one of {', '.join(BACKENDS)}")
    for name, count in (("threads", threads), ("lanes", lanes)):
        if count is not None and not 1 <= count <= MOST_THREADS:
            raise UsageError(f"{name} must be at least 1, and at most {MOST_THREADS}, got {count}")
    if lanes is not None and threads is not None and threads < lanes:
        raise UsageError(f"expected at least one thread per lane, got {threads} for {lanes} lanes")
    wanted = Device.parse(device)
    path = find_model(model)
    chosen = choose_backend(path, backend, wanted)
    threads = threads or max(default_threads(), lanes or 1)
    engine: Engine
    if chosen == "torch":
        if lanes not in (None, 1):
            raise UsageError(f"expected 1 lane with the torch backend, got {lanes}; export the checkpoint for more")
        from solo_rt.train.engine.fast import open_torch

        engine = open_torch(path, device=wanted)
    elif chosen == "tensorrt":
        from solo_rt.engine.tensorrt import open_tensorrt

        engine = open_tensorrt(path, device=wanted, lanes=lanes, trusted=trusted)
    elif chosen == "openvino":
        from solo_rt.engine.openvino import OpenVinoEngine

        engine = OpenVinoEngine(path, read_spec(path), device=wanted, threads=threads, lanes=lanes)
    else:
        from solo_rt.engine.onnxruntime import OnnxRuntimeEngine

        engine = OnnxRuntimeEngine(path, read_spec(path), device=wanted, threads=threads, lanes=lanes)
    try:
        try_out(engine, path)
    except BaseException:
        engine.close()
        raise
    log.info("model %s on %s", engine.spec.name, engine.backend)
    return engine


def choose_backend(path: Path, backend: str, device: Device) -> str:
    """Return the backend of a file, as `open_engine` chooses it.

    Raises: UsageError where the one asked for cannot read the file or is not installed.
    """
    own = {".engine": "tensorrt", ".pt": "torch"}.get(path.suffix)
    if own is None and backend == "auto":
        return _preferred_backend(device)
    if own is None and backend == "torch":
        raise UsageError(f"{path}: expected a checkpoint (.pt) with the torch backend, got {path.suffix}")
    if own is not None and backend not in ("auto", own):
        raise UsageError(f"{path}: expected an .onnx file with the {backend} backend; {path.suffix} is for {own}")
    chosen = own or backend
    if chosen == "torch" and importlib.util.find_spec("torch") is None:
        raise UsageError(f"{path}: a checkpoint needs torch; install it with pip install 'solo-rt[train]'")
    return chosen


def _preferred_backend(device: Device) -> str:
    if device.kind != "cuda" and importlib.util.find_spec("openvino") is not None and _has_intel_cpu():
        return "openvino"
    return "onnxruntime"


def _has_intel_cpu() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "GenuineIntel" in platform.processor()
