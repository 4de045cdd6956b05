"""Inference engines: anything that computes the raw outputs of a model; `open_engine` picks the backend of a file."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from solo_rt.cpu import sleeping_threads
from solo_rt.device import Device
from solo_rt.engine.base import Engine, FrameEngine
from solo_rt.engine.contract import try_out
from solo_rt.engine.fastest import Candidate, open_fastest
from solo_rt.engine.model_file import OnnxModel, find_model, int8_of, read_model, shipped_models
from solo_rt.engine.precision import PRECISIONS, Precision, allowed_precisions, costs_nothing, lower_precisions
from solo_rt.engine.threads import CPU_LANES, default_threads, without_threads
from solo_rt.errors import UsageError

__all__ = [
    "BACKENDS", "PRECISIONS", "Engine", "FrameEngine", "Precision", "candidate_of", "choose_backend", "cpu_candidates",
    "find_model", "open_candidate", "open_engine", "shipped_models", "without_threads",
]  # fmt: skip

MOST_THREADS = 1024  # more than any machine has cores; engines try to start as many as they are told
CPU_BACKENDS = ("onnxruntime", "openvino")  # of ONNX files
BACKENDS = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")

log = logging.getLogger(__name__)


def open_engine(
    model: str | Path | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    lanes: int | None = 1,
    precision: Precision = "auto",
    trusted: bool = False,
) -> Engine:
    """Return an engine for a model file or the name of a model that ships with solo-rt; None is the default one.

    The file is an ONNX file, a TensorRT engine of `solo-rt build-engine`, or a checkpoint, which PyTorch computes.
    `backend` is one of `BACKENDS`; auto goes by the file, and for ONNX takes what is the fastest for it on this CPU of
    ONNX Runtime and OpenVINO, as measured when it is opened for the first time; tensorrt takes the engine that was
    built of an ONNX file. `precision` auto is bf16 where the CPU has it and the model's record says that it costs next
    to nothing, else fp32; only OpenVINO computes in bf16. int8 is a file of its own, of `solo-rt quantize`: auto takes
    one that ships beside the model where that is faster, and costs as little on this CPU. fp32 is refused for a file
    that is itself in another precision.
    `device` is auto, cpu, cuda or cuda:N. `threads`, of the CPU, default to `default_threads()`, with a checkpoint to
    PyTorch's choice; the `lanes` share them, None is what suits files: 2 with tensorrt, else 1. `trusted`: open a
    TensorRT engine that was not built here.
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
    kind = choose_backend(path, backend, wanted)
    given, threads = threads, threads or max(default_threads(), lanes or 1)
    if kind not in CPU_BACKENDS:
        if precision not in ("auto", "fp32"):
            raise UsageError(
                f"precision {precision}: expected auto or fp32 with the {kind} backend, whose files have their own"
            )
        is_fp32 = precision == "fp32"
        engine = _open_own(path, kind, device=wanted, threads=given, lanes=lanes, is_fp32=is_fp32, trusted=trusted)
    else:
        files = cpu_candidates(path, backend, precision, wanted)
        if precision == "fp32" and any(model.spec.is_int8 for model in files.values()):
            raise UsageError(f"{path}: precision fp32: the file is INT8; leave it out, or give the one it was made of")

        def open_it(candidate: Candidate) -> Engine:
            return open_candidate(files[candidate], candidate, device=wanted, threads=threads, lanes=lanes)

        engine = open_fastest(path, list(files), open_it, device=wanted, threads=threads, lanes=lanes or CPU_LANES)
    log.info("model %s on %s", engine.spec.name, engine.backend)
    return engine


def candidate_of(engine: str) -> Candidate | None:
    """Return what to ask `open_engine` for to get the engine again whose `Engine.backend` this is.

    None for what a file says by itself: whoever opens it gets the same.
    """
    backend = engine.partition(" ")[0]
    if backend not in CPU_BACKENDS:
        return None
    return Candidate(backend, next(iter(lower_precisions(engine)), "fp32"))


def cpu_candidates(path: Path, backend: str, precision: Precision, device: Device) -> dict[Candidate, OnnxModel]:
    """Return the engines and precisions that an ONNX file may be computed with, each with the file that it opens.

    Raises: as `read_model` and `allowed_precisions`; UsageError for a precision that the backend does not have.
    """
    model = read_model(path)
    precisions = allowed_precisions(model.spec, precision, path=path)
    int8 = int8_of(model) if precision in ("auto", "int8") else None
    if precision == "int8" and int8 is None:
        raise UsageError(f"{path}: precision int8: that is another file; make it with solo-rt quantize, and give that")
    only_int8 = int8 is not None and (precision == "int8" or int8 == model)
    has_openvino = importlib.util.find_spec("openvino") is not None and device.kind != "cuda"
    found: dict[Candidate, OnnxModel] = {}
    if backend == "openvino" or (backend == "auto" and has_openvino):
        if not only_int8:
            # Of two precisions the lower one is taken: it is there because the CPU has instructions for it.
            found[Candidate("openvino", precisions[0])] = model
        if int8 is not None and (only_int8 or costs_nothing(int8.spec, "int8")):
            found[Candidate("openvino", "int8")] = int8
    if backend in ("auto", "onnxruntime") and "fp32" in precisions:
        if int8 is not None and only_int8:
            found[Candidate("onnxruntime", "int8")] = int8
        else:
            found[Candidate("onnxruntime", "fp32")] = model
    if not found:
        raise UsageError(f"{path}: precision {precision}: only OpenVINO has it; pip install openvino, or say fp32")
    return found


def open_candidate(
    model: OnnxModel, candidate: Candidate, *, device: Device, threads: int, lanes: int | None
) -> Engine:
    """Return an engine of those that `cpu_candidates` names, which has computed an empty picture."""
    path, spec = model
    engine: Engine
    if candidate.backend == "openvino":
        from solo_rt.engine.openvino import OpenVinoEngine

        # What a file in INT8 leaves in floating point is in bfloat16 where its record allows that.
        is_int8 = candidate.precision == "int8"
        of_floats = allowed_precisions(spec, "auto", path=path)[0] if is_int8 else candidate.precision
        engine = OpenVinoEngine(path, spec, device=device, threads=threads, lanes=lanes, is_bf16=of_floats == "bf16")
    else:
        from solo_rt.engine.onnxruntime import OnnxRuntimeEngine

        engine = OnnxRuntimeEngine(path, spec, device=device, threads=threads, lanes=lanes)
    return _tried(engine, path)


def _open_own(
    path: Path,
    backend: str,
    *,
    device: Device,
    threads: int | None,
    lanes: int | None,
    is_fp32: bool,
    trusted: bool,
) -> Engine:
    """Return the engine of a checkpoint, or of TensorRT, that has computed an empty picture.

    With `is_fp32` that is only one in float32.
    """
    engine: Engine
    if backend == "torch":
        if lanes not in (None, 1):
            raise UsageError(f"expected 1 lane with the torch backend, got {lanes}; export the checkpoint for more")
        with sleeping_threads():
            from solo_rt.train.engine.fast import open_torch

        engine = open_torch(path, device=device, threads=threads, is_fp32=is_fp32)
    else:
        from solo_rt.engine.tensorrt import open_tensorrt

        engine = open_tensorrt(path, device=device, lanes=lanes, is_fp32=is_fp32, trusted=trusted)
    return _tried(engine, path)


def _tried(engine: Engine, path: Path) -> Engine:
    """Return an engine that has computed an empty picture; it is closed if it could not."""
    try:
        try_out(engine, path)
    except BaseException:
        engine.close()
        raise
    return engine


def choose_backend(path: Path, backend: str, device: Device) -> str:
    """Return the backend of a file, as `open_engine` chooses it.

    Raises: UsageError where the one asked for cannot read the file or is not installed.
    """
    own = {".engine": "tensorrt", ".pt": "torch"}.get(path.suffix)
    if own is None and backend == "auto":
        return "onnxruntime"
    if own is None and backend == "torch":
        raise UsageError(f"{path}: expected a checkpoint (.pt) with the torch backend, got {path.suffix}")
    if own is not None and backend not in ("auto", own):
        raise UsageError(f"{path}: expected an .onnx file with the {backend} backend; {path.suffix} is for {own}")
    chosen = own or backend
    if chosen == "torch" and importlib.util.find_spec("torch") is None:
        raise UsageError(f"{path}: a checkpoint needs torch; install it with pip install 'solo-rt[train]'")
    return chosen
