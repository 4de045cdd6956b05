"""Cameras of this machine: `camera:0`, `/dev/video0`."""

from __future__ import annotations

import re
from pathlib import Path

from solo_rt.errors import SourceError, UsageError
from solo_rt.source.address import Address, parse_settings

SETTINGS = {"size": "video_size", "fps": "framerate", "format": "input_format"}
DEVICE = re.compile(r"/dev/video\d+")
_DEVICES = Path("/dev")


def is_camera(uri: str) -> bool:
    """Return whether the address is that of a camera."""
    return uri.startswith("camera:") or DEVICE.fullmatch(uri.partition("?")[0]) is not None


def camera_address(uri: str) -> Address:
    """Return the address of `camera:N` or `/dev/videoN`, which may set `?size=1280x720&fps=30&format=mjpeg`.

    What is not set the driver chooses. Raises: UsageError; SourceError where there is no such camera.
    """
    place, _, query = uri.partition("?")
    number = place.removeprefix("camera:")
    if place.startswith("camera:") and not number.isdecimal():
        raise UsageError(f"source {uri}: expected camera:0, camera:1 and so on, got camera:{number}")
    device = Path(place) if place.startswith("/") else _DEVICES / f"video{number}"
    if not device.exists():
        there = sorted(str(path) for path in _DEVICES.glob("video*"))
        raise SourceError(f"source {uri}: there is no {device}; this machine has {' '.join(there) or 'no camera'}")
    settings = parse_settings(uri, query, SETTINGS)
    return Address(uri, "camera", str(device), format="video4linux2,v4l2", options=settings)
