"""The live page: what it costs a run, by who watches, and what a viewer keeps in memory.

    python tests/bench/serve.py [pictures|viewers ...]

Runs take turns, each compared with one without a page beside it, so that a busy machine slows all alike. Viewers have a
process of their own, and take pictures without showing them: what a browser needs for that is not the page's.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path

import av
import cv2
import psutil
from stopwatch import least_ms_each
from websockets.sync.client import connect

import solo_rt
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.serve import Site, streams, watcher
from solo_rt.serve.look import Look
from solo_rt.serve.picture import encode, make_picture, scaled_frame
from solo_rt.train.data.world_files import write_videos
from solo_rt.types import Frame

MB = 1e6
STALLED = 20
WIDTH = 640


def pictures(repeats: int = 30) -> None:
    """Print what a picture costs, by its width: scaled before it is drawn on, or after, as JPEG and as H.264."""
    result = next(solo_rt.stream("test://?size=1920x1080&frames=30&seed=3"))
    results = list(solo_rt.stream("test://?size=1920x1080&frames=30&seed=3"))
    print(f"1080p, {len(result.instances)} objects; ms of one core a picture, and kB")
    print(f"{'width':>8s}{'scaled first':>14s}{'scaled last':>14s}{'of it JPEG':>12s}{'kB':>7s}{'H.264':>9s}{'kB':>7s}")
    for width in (320, 640, 1280, 1920):
        look = Look(width=width)
        drawn = scaled_frame(result.draw(), width)
        calls: list[Callable[[], object]] = [
            lambda look=look: make_picture(result, look),
            lambda width=width: encode(scaled_frame(result.draw(), width)),
            lambda drawn=drawn: encode(drawn),
        ]
        first, last, jpeg = least_ms_each(calls, repeats)
        small = [scaled_frame(r.draw(), width) for r in results]
        milliseconds, size = h264(small)
        kilobytes = len(encode(drawn)) / 1e3
        print(f"{width:8d}{first:14.1f}{last:14.1f}{jpeg:12.1f}{kilobytes:7.0f}{milliseconds:9.1f}{size:7.0f}")


def h264(frames: list[Frame]) -> tuple[float, float]:
    """Return milliseconds and kB a frame of x264 as a live stream has it: ultrafast, zerolatency, one thread."""
    container = av.open(io.BytesIO(), "w", format="h264")
    options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "26", "g": "60"}
    stream = container.add_stream("libx264", rate=30, options=options)
    stream.width, stream.height = frames[0].width // 2 * 2, frames[0].height // 2 * 2
    stream.thread_count = 1
    size, seconds = 0, 0.0
    for index, frame in enumerate(frames):
        image = av.VideoFrame.from_ndarray(frame.rgb()[: stream.height, : stream.width], format="rgb24")
        image = image.reformat(format="yuv420p")
        image.pts, image.time_base = index, Fraction(1, 30)
        started = time.process_time()
        size += sum(packet.size for packet in stream.encode(image))
        seconds += time.process_time() - started
    return 1e3 * seconds / len(frames), size / len(frames) / 1e3


def viewers(frames: int = 200, repeats: int = 10) -> None:
    """Print the frames per second of runs with a page, as parts of those without, and the memory of a viewer."""
    watcher.WRITE_SECONDS = streams.WRITE_SECONDS = 1e6  # nobody is given up, which is worse
    cases: dict[str, tuple[int, int] | None] = {
        "no page": None,
        "a page, nobody watches": (0, 0),
        "one viewer": (1, 0),
        f"{STALLED} viewers that stand still": (0, STALLED),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    work: dict[str, list[float]] = {name: [] for name in cases}
    memory: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder, crowd() as say:
        write_videos(Path(folder), seed=7, size=(720, 1280), frames=frames)
        source = f"{folder}/cam0.avi"
        Pipeline(source).run()
        for _ in range(repeats):
            for name, watchers in cases.items():
                fps, cpu, rss = watched(source, watchers, say)
                rates[name].append(fps)
                work[name].append(cpu)
                memory[name].append(rss)
    print(f"720p film; of {STALLED} viewers that stand still half are pages, half Motion JPEG; parts are of no page")
    print(f"{'':32s}{'fps':>8s}{'part':>8s}{'from':>8s}{'to':>8s}{'cpu ms':>8s}{'part':>8s}")
    for name in cases:
        fps, cpu = (
            [mine / theirs for mine, theirs in zip(figures[name], figures["no page"], strict=True)]
            for figures in (rates, work)
        )
        figures = [max(rates[name]), statistics.median(fps), min(fps), max(fps)]
        print(f"{name:32s}{figures[0]:8.1f}" + "".join(f"{figure:8.3f}" for figure in figures[1:]), end="")
        print(f"{statistics.median(work[name]):8.1f}{statistics.median(cpu):8.3f}")
    more = statistics.median(memory[f"{STALLED} viewers that stand still"]) - statistics.median(
        memory["a page, nobody watches"]
    )
    print(f"memory of a viewer that stands still: {1e3 * more / STALLED:.0f} kB")


def watched(source: str, watchers: tuple[int, int] | None, say: Callable[[object], None]) -> tuple[float, float, float]:
    """Return the frames per second of a run, the milliseconds of CPU a frame, and the memory in MB at the end."""
    me = psutil.Process()
    with ExitStack() as stack:
        hooks = Hooks()
        if watchers is not None:
            site = stack.enter_context(Site("127.0.0.1:0"))
            hooks = site.hooks("film")
            say((site.address.port, *watchers))
            stack.callback(say, None)
        begun: list[float] = []
        clock = Hooks(on_start=lambda info, engine: begun.append(time.process_time()))
        report = Pipeline(source, hooks=clock.also(hooks)).run()
        cpu = (time.process_time() - begun[0]) / report.processed
        return report.fps, 1e3 * cpu, me.memory_info().rss / MB


@contextmanager
def crowd() -> Iterator[Callable[[object], None]]:
    """Yield what sends viewers to a place, (port, active, stalled), and with None home; they have a process."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=be_a_crowd, args=(there,), daemon=True)
    process.start()

    def say(what: object) -> None:
        here.send(what)
        here.recv()

    try:
        yield say
    finally:
        process.kill()
        process.join()


def be_a_crowd(pipe: Connection) -> None:
    """Watch as told, until killed."""
    while True:
        port, active, stalled = pipe.recv()
        with ExitStack() as stack:
            url = f"ws://127.0.0.1:{port}/api/pictures"
            sockets = [stack.enter_context(connect(url)) for _ in range(active)]
            still = [stack.enter_context(connect(url, sock=narrow(port))) for _ in range(stalled // 2)]
            for each in (*sockets, *still):
                each.send(json.dumps({"watch": "film", "width": WIDTH}))
            for _ in range(stalled - stalled // 2):
                client = stack.enter_context(narrow(port))
                client.sendall(f"GET /sources/film.mjpg?width={WIDTH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            pipe.send(None)
            while not pipe.poll(0 if sockets else 0.1):
                for each in sockets:
                    try:
                        each.recv(timeout=0.1)
                    except TimeoutError:
                        continue
                    each.send(json.dumps({"seen": "film"}))
            pipe.recv()
        pipe.send(None)


def narrow(port: int) -> socket.socket:
    """Return a connection that takes next to nothing while nobody reads from it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    return client


BENCHES = {"pictures": pictures, "viewers": viewers}


def main() -> None:
    """Run those that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=" ".join(BENCHES))
    cv2.setNumThreads(1)
    for name in parser.parse_args().names or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main()
