"""Annotated video sent to a media server as it is made, by RTSP or RTMP."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av

from solo_rt.colour import FULL, LIMITED, TAG_OF_MATRIX
from solo_rt.errors import SinkError, UsageError
from solo_rt.result import Result
from solo_rt.sink.base import Gap, Sink, picture_of
from solo_rt.sink.canvas import Canvas
from solo_rt.sink.clock import OutputClock
from solo_rt.sink.encoding import PUSHED, VideoOptions, require_fit
from solo_rt.sink.pusher import HEADER
from solo_rt.source.base import SourceInfo
from solo_rt.types import DEFAULT_FRAME_RATE
from solo_rt.uri import redact, scheme

ANSWER_SECONDS = 5  # for a server to take a connection or a picture
END_SECONDS = 2.0  # for it to take the end
KEY_SECONDS = Fraction(2)  # of video between key frames, at which viewers can begin
TIME_BASE = {"rtsp": Fraction(1, 90_000), "flv": Fraction(1, 1000)}
# Without the current folder, in which a file could have the name of one of Python's modules.
_START = "import sys, runpy; sys.path = [p for p in sys.path if p]; runpy.run_path(sys.argv[1], run_name='__main__')"


class PushSink(Sink):
    """`rtsp://` or `rtmp://` to a server that takes streams, as MediaMTX does. `write`, `resume`, `close`: see `Sink`.

    H.264 without B-frames, a key frame every 2 s, and no sound. Connecting and encoding are done by a process of its
    own (see pusher.py). A server that does not answer within 5 s has failed, and every `resume` connects anew.
    """

    needs_picture = True
    can_resume = True

    def __init__(self, uri: str, *, info: SourceInfo, video: VideoOptions) -> None:
        """Connect to nothing yet. Raises: UsageError for what cannot be pushed."""
        self.uri = uri
        if video.codec != "h264" or video.encoder != "x264":
            chosen = "nvenc" if video.encoder != "x264" else video.codec
            raise UsageError(f"output {redact(uri)}: expected H.264 by x264 with {scheme(uri)}://, got {chosen}")
        self._rate = info.frame_rate or DEFAULT_FRAME_RATE
        require_fit(redact(uri), info, video, suffix=".mp4", rate=self._rate)
        self._format, self._info, self._video = PUSHED[scheme(uri)], info, video
        self._clock = OutputClock(TIME_BASE[self._format], frame_rate=self._rate)
        self._canvas: Canvas | None = None
        self._sender: _Sender | None = None
        self._base: int | None = None  # the tick at which the connection began
        self._next_key = 0

    def write(self, result: Result) -> None:
        picture = picture_of(result)
        tick = self._clock.tick(result.frame.pts, result.frame.time_base)
        self._canvas = self._canvas or Canvas.fitting(picture)
        sender = self._sender = self._sender or self._connect(self._canvas)
        if self._base is None:
            self._base = self._next_key = tick
        is_key = tick >= self._next_key
        if is_key:
            self._next_key = tick + round(KEY_SECONDS / self._clock.time_base)
        try:
            sender.send(self._canvas.paint(picture), tick - self._base, is_key=is_key)
        except OSError:
            raise self._failure(sender) from None

    def resume(self, gap: Gap) -> None:
        """Connect anew. Raises: SinkError."""
        self._end(0.0)
        if self._canvas is not None:
            self._sender = self._connect(self._canvas)

    def close(self) -> None:
        self._end(END_SECONDS)

    def _connect(self, canvas: Canvas) -> _Sender:
        """Return a process that is connected to the server. Raises: SinkError."""
        setup = {
            "url": self.uri,
            "format": self._format,
            "muxer": {"rtsp_transport": "tcp"} if self._format == "rtsp" else {"flvflags": "no_duration_filesize"},
            "options": {**self._video.private(0), "forced-idr": "1"},
            "seconds": ANSWER_SECONDS,
            "width": canvas.width,
            "height": canvas.height,
            "rate": str(self._rate),
            "time_base": str(self._clock.time_base),
            "pixel_aspect": str(self._info.pixel_aspect),
            "colorspace": int(TAG_OF_MATRIX[canvas.matrix]),
            "color_range": int(FULL if canvas.full_range else LIMITED),
        }
        sender = self._sender = _Sender()
        if not sender.is_ready(setup):
            raise self._failure(sender)
        return sender

    def _failure(self, sender: _Sender) -> SinkError:
        reason = sender.reason() or "the process that sends it ended"
        self._end(0.0)
        return SinkError(f"output {redact(self.uri)}: {reason}")

    def _end(self, seconds: float) -> None:
        sender, self._sender, self._base = self._sender, None, None
        if sender is not None:
            sender.end(seconds)


class _Sender:
    """The process of pusher.py, and what it says."""

    def __init__(self) -> None:
        # In a session of its own, so that Ctrl-C in a terminal leaves it to us.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(Path(__file__).with_name("pusher.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pictures, self._words = self._process.stdin, self._process.stdout
        self._said = b""

    def is_ready(self, setup: Mapping[str, object]) -> bool:
        """Let it connect, and return whether it has; its own alarm bounds the wait."""
        with suppress(OSError):  # it has ended, and says why
            self._pictures.write(json.dumps(setup).encode() + b"\n")
            self._pictures.flush()
        self._said = self._words.readline()
        return self._said == b"ready\n"

    def send(self, image: av.VideoFrame, pts: int, *, is_key: bool) -> None:
        """Give it a picture. Raises: OSError once it has ended."""
        self._pictures.write(HEADER.pack(pts, is_key))
        for plane in image.planes:
            self._pictures.write(memoryview(plane))
        self._pictures.flush()

    def reason(self) -> str:
        """Return why it has ended, which it does by itself."""
        said = self._words.readline() if self._said in (b"", b"ready\n") else self._said
        if not said and self._process.wait() == -signal.SIGALRM:
            return f"the server did not answer within {ANSWER_SECONDS} s"
        return said.decode(errors="replace").strip()

    def end(self, seconds: float) -> None:
        """Let it send what it has, for a while, and end it."""
        with suppress(OSError):  # it may have ended
            self._pictures.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
        self._words.close()
