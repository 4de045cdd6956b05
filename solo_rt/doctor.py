"""What this machine and this installation can do, found out by trying."""

from __future__ import annotations

import ctypes
import importlib
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import packages_distributions, version

import solo_rt
from solo_rt.cpu import processor, usable_cores
from solo_rt.errors import SoloRTError

REQUIRED = ("numpy", "av", "cv2", "onnxruntime", "pycocotools", "click", "rich")
# What the extras bring, by module.
OPTIONAL = (
    *("openvino", "torch", "onnx", "onnxscript", "pyarrow", "pygame", "redis"),
    *("starlette", "uvicorn", "websockets", "ray"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for. `solo-rt run` works if everything `required` is there."""

    subject: str
    found: bool
    detail: str
    required: bool = False


def examine() -> list[Finding]:
    """Return everything there is to know, most basic first. Nothing that is missing or broken raises."""
    return [
        Finding("solo-rt", True, solo_rt.__version__, required=True),
        Finding("python", sys.version_info >= (3, 10), f"{platform.python_version()} {sys.executable}", required=True),
        Finding("machine", True, f"{platform.platform()}, {processor()}, {usable_cores()} usable cores"),
        *(_probe(name, partial(_import, name), required=True) for name in REQUIRED),
        _probe("kernels", _kernels, required=True),
        _probe("onnxruntime providers", _providers, required=True),
        _probe("h264 decoder", lambda: _decoder("h264"), required=True),
        _probe("h264 encoder", lambda: _encoder("libx264"), required=True),
        _probe("h264 decoder, NVIDIA", _nvdec),
        _probe("h264 encoder, NVIDIA", _nvenc),
        _probe("CUDA driver", _cuda),
        _probe("CUDA kernels", _cuda_kernels),
        _probe("TensorRT plugins", _plugins),
        _probe("tensorrt", _tensorrt),
        *(_probe(name, partial(_installed, name)) for name in OPTIONAL),
        _probe("default model", _default_model, required=True),
        _probe("engine for it", _default_engine),
    ]


def _probe(subject: str, look: Callable[[], str], *, required: bool = False) -> Finding:
    try:
        return Finding(subject, True, look(), required)
    except Exception as error:  # whatever is broken, it is what we are here to report
        reason = getattr(error, "strerror", None) or str(error)
        return Finding(subject, False, " ".join(reason.split()) or type(error).__name__, required)


def _import(module: str) -> str:
    importlib.import_module(module)
    return _installed(module)


def _installed(module: str) -> str:
    """Return the version of what provides a module, and its name where that is another: cv2 has four providers."""
    providers = sorted(set(packages_distributions().get(module, ())))
    if not providers:
        raise SoloRTError("not installed")
    return ", ".join(version(name) if name == module else f"{name} {version(name)}" for name in providers)


def _kernels() -> str:
    from solo_rt import _native

    return f"for {', '.join(_native.instruction_sets())}, {_native.__file__}"


def _providers() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def _decoder(name: str) -> str:
    import av

    return str(av.Codec(name, "r").long_name)


def _encoder(name: str) -> str:
    """Return the encoder's name after opening it."""
    import av

    context = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 30)
    context.open()
    return str(context.codec.long_name)


def _nvdec() -> str:
    from solo_rt.gpu.nvcodec import try_nvdec

    try_nvdec()
    return "NVDEC, --decoder nvdec"


def _nvenc() -> str:
    from solo_rt.gpu.nvcodec import try_nvenc

    try_nvenc(256, 256, options={})
    return "NVENC, --encoder nvenc"


def _cuda() -> str:
    """Return the driver's CUDA version and the GPUs, asked from the driver itself (CUDA Driver API, cuda.h)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise SoloRTError("no NVIDIA driver") from None
    status = driver.cuInit(0)
    if status:
        raise SoloRTError(f"the NVIDIA driver is there but refuses to work (CUDA error {status})")
    number, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    driver.cuDeviceGetCount(ctypes.byref(count))
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(256)
        driver.cuDeviceGetName(name, len(name), index)
        names.append(name.value.decode())
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}, {', '.join(names) or 'no GPU'}"


def _cuda_kernels() -> str:
    from solo_rt.gpu.cuda import device_count, open_gpu
    from solo_rt.gpu.kernels import Kernels
    from solo_rt.gpu.native_library import build_note, find_kernels

    path = find_kernels()
    Kernels(path)
    if device_count():
        open_gpu()  # which says what does not fit
    return " ".join([str(path), build_note(path)]).strip()


def _plugins() -> str:
    from solo_rt.engine.tensorrt_library import find_plugins, plugins_revision

    path = find_plugins()
    plugins_revision(path)  # it can be loaded, and is of this version
    return str(path)


def _tensorrt() -> str:
    from solo_rt.engine.tensorrt_library import import_tensorrt

    return str(import_tensorrt().__version__)


def _default_model() -> str:
    from solo_rt.engine import find_model
    from solo_rt.engine.model_file import read_spec

    path = find_model()
    spec = read_spec(path)
    return f"{spec.name} {spec.input.width}x{spec.input.height}, {len(spec.classes)} classes, {path}"


def _default_engine() -> str:
    """Return what computes the default model on this CPU, and how long each candidate took where that was measured."""
    from solo_rt.device import Device
    from solo_rt.engine import cpu_candidates, find_model
    from solo_rt.engine.fastest import recall
    from solo_rt.engine.threads import CPU_LANES, default_threads

    path, device = find_model(), Device("auto")
    candidates = list(cpu_candidates(path, "auto", "auto", device))
    times = recall(path, candidates, device=device, threads=default_threads(), lanes=CPU_LANES)
    if not times:
        return f"{' or '.join(map(str, candidates))}, to be measured by the first run"
    return ", ".join(f"{name} {ms:.1f} ms" for name, ms in sorted(times.items(), key=lambda item: item[1]))
