"""The process that sends video to a media server: a program of its own, run by `push.py`.

FFmpeg's calls that connect hold Python's lock and cannot be given up, which would stop every thread of a run. Here they
stop nobody else, and the alarm ends them. It reads from stdin one line of JSON, then pictures: 8 bytes of time stamp, 1
that asks for a key frame, then Y, U and V with the row lengths of FFmpeg. Once connected it writes a line `ready`, and
when it fails one line that says why, without the address.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from fractions import Fraction
from typing import BinaryIO

import av
from av.video.frame import PictureType

HEADER = struct.Struct("<q?")


def push(commands: BinaryIO) -> None:
    """Send what comes until it ends. Raises: av.FFmpegError."""
    setup = json.loads(commands.readline())
    seconds = setup["seconds"]
    signal.alarm(seconds)
    with av.open(setup["url"], "w", format=setup["format"], container_options=setup["muxer"]) as container:
        stream = container.add_stream("libx264", rate=Fraction(setup["rate"]), options=setup["options"])
        stream.width, stream.height, stream.pix_fmt = setup["width"], setup["height"], "yuv420p"
        codec = stream.codec_context
        codec.time_base, codec.sample_aspect_ratio = Fraction(setup["time_base"]), Fraction(setup["pixel_aspect"])
        codec.colorspace, codec.color_range = setup["colorspace"], setup["color_range"]
        codec.gop_size = 1 << 20  # key frames are asked for
        container.start_encoding()
        signal.alarm(0)
        print("ready", flush=True)
        while len(head := commands.read(HEADER.size)) == HEADER.size:
            picture = av.VideoFrame(setup["width"], setup["height"], "yuv420p")
            picture.pts, is_key = HEADER.unpack(head)
            picture.time_base = codec.time_base
            picture.pict_type = PictureType.I if is_key else PictureType.NONE
            for plane in picture.planes:
                plane.update(commands.read(plane.buffer_size))
            signal.alarm(seconds)
            container.mux(stream.encode(picture))
            signal.alarm(0)
        signal.alarm(seconds)
        container.mux(stream.encode(None))


def main() -> None:
    try:
        push(sys.stdin.buffer)
    except (OSError, ValueError) as error:  # FFmpeg's are both; their text holds the address
        print(" ".join(str(getattr(error, "strerror", None) or type(error).__name__).split()), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
