"""NVDEC and NVENC, the video engines of a GPU, by way of FFmpeg: opened, tried out, and their failures put into words.

They decode and encode beside the cores that networks run on, where a user asked for them; what they cannot do is an
error that says so, and no other decoder or encoder takes their place.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.codec.hwaccel import HWAccel, HWDeviceType

from solo_rt.device import Device
from solo_rt.errors import EngineError
from solo_rt.gpu.cuda import device_count

VideoDecoder = Literal["cpu", "nvdec"]
VideoEncoder = Literal["x264", "nvenc"]
DECODERS: tuple[VideoDecoder, ...] = ("cpu", "nvdec")
ENCODERS: tuple[VideoEncoder, ...] = ("x264", "nvenc")
CAN_STAY_ON_GPU = hasattr(av.VideoFrame, "sw_format")  # from PyAV 18.1 on
_ON_CPU = {"nvdec": "--decoder cpu", "nvenc": "--encoder x264"}


def gpu_of(device: str) -> int:
    """Return the number of the GPU that `device` names, 0 where it names none. Raises: UsageError."""
    return Device.parse(device).index or 0


def require_gpu(codec: Literal["nvdec", "nvenc"], gpu: int) -> None:
    """Raise EngineError unless GPU number `gpu` is there; FFmpeg's own error would not say that it is missing."""
    count = device_count()
    if not count:
        raise EngineError(
            f"{codec}: expected an NVIDIA GPU and its driver, found none (solo-rt doctor says more); "
            f"install the driver, or use {_ON_CPU[codec]}"
        )
    if gpu >= count:
        raise EngineError(f"{codec}: expected a CUDA device below {count}, got {gpu}")


def nvdec(gpu: int, *, on_gpu: bool = False) -> HWAccel:
    """Return the setting with which FFmpeg decodes on GPU number `gpu`.

    Pictures arrive in host memory, and FFmpeg has a CUDA context of its own, which nothing else in the process can
    disturb. With `on_gpu` they stay on the GPU, in the context that is current where the decoder is opened.
    """
    options: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"} if on_gpu else {}
    return HWAccel("cuda", device=gpu, allow_software_fallback=False, options=options, is_hw_owned=on_gpu)


def knows_nvdec(codec: av.Codec) -> bool:
    """Return whether a decoder of FFmpeg can use NVDEC. Whether the GPU knows the stream shows when it is decoded."""
    return any(config.device_type == HWDeviceType.cuda for config in codec.hardware_configs)


def try_nvenc(width: int, height: int, *, rate: Fraction = Fraction(30), options: Mapping[str, str]) -> None:
    """Open NVENC for pictures of this even size, and close it again.

    Raises: EngineError with FFmpeg's reason: no driver, one too old, no such engine on this GPU, a size out of its
    bounds, all sessions taken.
    """
    context = av.CodecContext.create("h264_nvenc", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base, context.options = rate, 1 / rate, dict(options)
    try:
        with collected_errors() as complaints:
            context.open()
    except av.FFmpegError as error:
        raise EngineError(f"NVENC cannot encode {width}x{height} as H.264 ({reason(complaints, error)})") from error


def try_nvdec(gpu: int = 0) -> None:
    """Decode one picture with NVDEC. Raises: EngineError with FFmpeg's reason."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 256, 256, "yuv420p", Fraction(1, 30)
    packets = encoder.encode(av.VideoFrame.from_ndarray(np.zeros((384, 256), np.uint8), "yuv420p")) + encoder.encode()
    try:
        with collected_errors() as complaints:
            decoder = av.CodecContext.create("h264", "r", hwaccel=nvdec(gpu))
            pictures = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    except av.FFmpegError as error:
        raise EngineError(f"NVDEC does not decode H.264 ({reason(complaints, error)})") from error
    if len(pictures) != 1 or decoder.pix_fmt != "cuda":
        raise EngineError(f"NVDEC decoded {len(pictures)} pictures of 1")


def reason(complaints: Sequence[str], error: av.FFmpegError | None = None) -> str:
    """Return FFmpeg's complaints as one phrase, and what to do where that is known."""
    text = "; ".join(complaints[:3]) or (error.strerror if error is not None else "no reason given")
    if "libnvcuvid" in text or "libnvidia-encode" in text:
        text += "; in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        if platform.machine() == "aarch64":
            text += "; a Jetson has neither up to JetPack 6"
    return text


@contextmanager
def collected_errors() -> Iterator[list[str]]:
    """Give a list that holds, when the block has ended, what FFmpeg complained about on this thread, each line once.

    Its error codes say next to nothing. Other threads go on logging; PyAV's level is put back afterwards.
    """
    threshold, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    lines: list[str] = []
    if threshold is None:
        av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # else a second failure of the same kind says nothing
    try:
        with av.logging.Capture() as logs:
            yield lines
    finally:
        errors = (" ".join(text.split()).rstrip(".") for level, _, text in logs if level <= av.logging.ERROR)
        lines += dict.fromkeys(filter(None, errors))
        av.logging.set_skip_repeated(skips)
        av.logging.set_level(threshold)
