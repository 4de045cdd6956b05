"""The `Engine` protocol, and `open_engine`, which finds the model, reads its spec and picks the backend."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from solo_rt.decoders import Decoder, DetectionsDecoder, SemanticDecoder
from solo_rt.engine.contract import try_out
from solo_rt.engine.onnx_file import read_onnx
from solo_rt.engine.threads import default_threads
from solo_rt.errors import SpecError, UsageError
from solo_rt.render import DEFAULT_STYLE, Style
from solo_rt.spec import METADATA_KEY, ModelSpec
from solo_rt.types import Frame, Output

DEFAULT_MODEL = "solov2-nano"
BACKENDS = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")

Float32 = NDArray[np.float32]
log = logging.getLogger(__name__)


class Engine(Protocol):
    """Computes a model. Up to `lanes` threads may call `infer` at once; what it returns does not depend on that."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def lanes(self) -> int: ...

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """What an engine paints onto a frame, and how: pixels or instances of `classes`, the best ones if they are many.

    `on_gpu` leaves the painted picture there, if the frame is there and of an even size, which encoders want.
    """

    classes: tuple[int, ...] | None = None  # ids; None is all
    conf: float = 0.0  # least score of an instance
    max_det: int | None = None  # most instances; None is all
    style: Style = DEFAULT_STYLE  # its labels are left to others: see `render.instance_labels`, `render.legend_labels`
    on_gpu: bool = False

    def keeps(self, frame: Frame) -> bool:
        """Return whether this frame stays on the GPU when it is painted."""
        return self.on_gpu and frame.device is not None and frame.height % 2 == frame.width % 2 == 0


def is_painted(decoder: Decoder) -> bool:
    """Return whether a `FrameEngine` paints what this decoder is for: only what it need not decode further."""
    return isinstance(decoder, DetectionsDecoder) or (
        isinstance(decoder, SemanticDecoder) and decoder.output == "labels"
    )


@runtime_checkable
class FrameEngine(Engine, Protocol):
    """An engine on a GPU that takes frames as they are: what comes before the network and after it runs there, too."""

    def infer_frame(self, frame: Frame, painting: Painting | None = None) -> tuple[dict[str, Output], Frame | None]:
        """Return the outputs by name as `infer` of the prepared frame, and with `painting` the frame painted.

        That is to the byte what `render` or `render_semantic` without labels makes of the frame, on planes that belong
        to the caller. The frame itself is neither kept nor written to. Painting needs a decoder that `is_painted`.
        Raises: EngineError.
        """
        ...


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
    if threads is not None and threads < 1:
        raise UsageError(f"threads must be at least 1, got {threads}")
    if lanes is not None and lanes < 1:
        raise UsageError(f"lanes must be at least 1, got {lanes}")
    if lanes is not None and threads is not None and threads < lanes:
        raise UsageError(f"expected at least one thread per lane, got {threads} for {lanes} lanes")
    path = find_model(model)
    chosen = choose_backend(path, backend, device)
    threads = threads or max(default_threads(), lanes or 1)
    engine: Engine
    if chosen == "torch":
        if lanes not in (None, 1):
            raise UsageError(f"expected 1 lane with the torch backend, got {lanes}; export the checkpoint for more")
        from solo_rt.train.torch_engine import open_torch

        engine = open_torch(path, device=device)
    elif chosen == "tensorrt":
        from solo_rt.engine.tensorrt import open_tensorrt

        engine = open_tensorrt(path, device=device, lanes=lanes, trusted=trusted)
    elif chosen == "openvino":
        from solo_rt.engine.openvino import OpenVinoEngine

        engine = OpenVinoEngine(path, read_spec(path), device=device, threads=threads, lanes=lanes)
    else:
        from solo_rt.engine.onnxruntime import OnnxRuntimeEngine

        engine = OnnxRuntimeEngine(path, read_spec(path), device=device, threads=threads, lanes=lanes)
    try:
        try_out(engine, path)
    except BaseException:
        engine.close()
        raise
    log.info("model %s on %s", engine.spec.name, engine.backend)
    return engine


def choose_backend(path: Path, backend: str, device: str) -> str:
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
    if path.suffix not in (".onnx", ".engine", ".pt"):
        raise UsageError(
            f"{path}: expected an .onnx file written by solo-rt export, an .engine or a .pt, got "
            f"{path.suffix or 'no extension'}"
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


def _preferred_backend(device: str) -> str:
    if device in ("auto", "cpu") and importlib.util.find_spec("openvino") is not None and _has_intel_cpu():
        return "openvino"
    return "onnxruntime"


def _has_intel_cpu() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "GenuineIntel" in platform.processor()
