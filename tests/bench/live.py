"""Live sources: how old results are, what a long run leaves behind, how soon it stops and how soon it is back.

    python tests/bench/live.py [age|growth|stopping|recovery ...]

All cameras are our own, on the loopback network. Ages are those of the pictures, by the clock of the camera that made
them and by ours, from the decoder on, as their results reach the output; one frame period and the model's own time are
what cannot be avoided.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from cameras import RATE, Camera, camera
from fakes import FakeEngine, FakeSink

from solo_rt.engine import Engine, open_engine
from solo_rt.pipeline import Pipeline, run
from solo_rt.pipeline.report import Progress
from solo_rt.pipeline.stages import Options
from solo_rt.result import Result
from solo_rt.sink import open_sink
from solo_rt.source import open_source, stream

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
PERIOD = 1 / RATE
SLOWER = 10  # times than the camera is the model
AGE_SECONDS, FOREVER = 15.0, 3600.0
MB = 1e6


def age() -> None:
    """Print the ages of results with a model that is ten times too slow."""
    service = SLOWER * PERIOD
    print(f"model {1e3 * service:.0f} ms a frame, camera {1e3 * PERIOD:.0f} ms; ages of results in ms, p50 and p99")
    print(f"{'policy':32s}{'by our clock':>16s}{'by the camera':>16s}    read = processed + dropped")
    cases = {
        "freshest": Options(policy="freshest"),
        "every frame, at most 0.5 s old": Options(policy="every-frame", max_staleness=0.5),
    }
    for name, options in cases.items():
        ours: list[float] = []
        theirs: list[float] = []
        with camera() as cam, open_source(cam.uri) as source:

            def note(result: Result, cam: Camera = cam, ours: list[float] = ours, theirs: list[float] = theirs) -> None:
                now = time.monotonic()
                ours.append(now - result.frame.captured_at)
                theirs.append(now - cam.started - result.frame.time_s)

            stop = threading.Event()
            threading.Timer(AGE_SECONDS, stop.set).start()
            engine = FakeEngine(gate=lambda call: time.sleep(service))
            report = run(source, engine, [FakeSink(gate=note)], options=options, stop=stop)
        figures = [f"{p50:8.0f}{p99:8.0f}" for p50, p99 in (1e3 * np.percentile(x, [50, 99]) for x in (ours, theirs))]
        print(f"{name:32s}{''.join(figures)}    {report.read} = {report.processed} + {report.dropped}")


def growth(frames: int = 10_000, reconnections: int = 200) -> None:
    """Print what the process grows by over many frames, and over many connections."""
    with fast_camera(None) as uri:
        follow(f"{frames} frames", uri, lambda progress, _: progress.processed, until=frames)
    stream.FIRST_WAIT = 0.02
    with fast_camera(12) as uri:
        follow(f"{reconnections} reconnections", uri, lambda _, away: away, until=reconnections)


@contextmanager
def fast_camera(frames: int | None) -> Iterator[str]:
    """Yield the address of a camera that sends as fast as it can, and hangs up after so many frames.

    It has a process of its own, whose memory is not measured.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, frames), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


def serve(pipe: Connection, frames: int | None) -> None:
    """Be that camera until killed."""
    with camera() as cam:
        cam.frames, cam.pace = frames, 0.0
        pipe.send(cam.uri)
        time.sleep(FOREVER)


def follow(what: str, uri: str, count: Callable[[Progress, int], int], *, until: int) -> None:
    """Print how memory, threads and files move while events are counted, and what is left of them at the end."""
    me = psutil.Process()
    trail: list[tuple[int, float]] = []
    stop, outages = threading.Event(), 0
    before = me.num_threads(), me.num_fds()

    def note(progress: Progress) -> None:
        events = count(progress, outages)
        if events and (not trail or events >= trail[-1][0] + until // 50):
            trail.append((events, me.memory_info().rss / MB))
        if events >= until:
            stop.set()

    def on_state(change: stream.StateChange) -> None:
        nonlocal outages
        outages += change.state == "live"

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        source = stack.enter_context(open_source(uri))
        source.on_state = on_state
        engine = stack.enter_context(closing(open_engine(TINY)))
        sinks = [
            stack.enter_context(open_sink(f"{folder}/{name}", info=source.info)) for name in ("out.mkv", "out.jsonl")
        ]
        report = run(source, engine, sinks, options=Options(policy="every-frame"), on_progress=note, stop=stop)
    seconds = time.monotonic() - started
    time.sleep(0.5)  # for what has been left behind
    events, rss = np.array(trail[len(trail) // 2 :]).T  # the first half is for warming up
    slope = np.polyfit(events, rss, 1)[0]
    more = f"{me.num_threads() - before[0]} more threads, {me.num_fds() - before[1]} more files"
    print(
        f"{what}: {report.read} frames in {seconds:.0f} s, {trail[0][1]:.0f} to {rss[-1]:.0f} MB, in the second half "
        f"{1e3 * slope:+.2f} per 1000; {more}"
    )


def stopping(repeats: int = 3) -> None:
    """Print how long a run goes on after it was asked to stop, by what it is at."""
    with ExitStack() as stack:
        cam, mute = stack.enter_context(camera()), stack.enter_context(camera(sound=True))
        hole, silent, gone = (stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=n)) for n in (0, 9, 9))
        refusing = gone.getsockname()[1]
        gone.close()
        for _ in range(3):  # with these the queue is full: whoever comes next hears nothing
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(hole.getsockname())
        cases = {
            "connecting, and nobody answers": lambda stop: connect(hole.getsockname()[1], stop),
            "connecting, and being refused": lambda stop: connect(refusing, stop),
            "connected, and nothing is sent": lambda stop: connect(silent.getsockname()[1], stop),
            "pictures have stopped": lambda stop: work(mute, stop, FakeEngine()),
            "live": lambda stop: work(cam, stop, FakeEngine()),
            "live, writing video": lambda stop: work(cam, stop, open_engine(TINY), outputs=("out.mp4", "out.jsonl")),
            "the model takes 0.5 s a frame": lambda stop: work(
                cam, stop, FakeEngine(gate=lambda call: time.sleep(0.5))
            ),
            "the model hangs for 5 s": lambda stop: work(cam, stop, FakeEngine(gate=lambda call: time.sleep(5))),
        }
        print(f"seconds from being asked to stop to the end, worst of {repeats}")
        for name, case in cases.items():
            print(f"  {name:32s} {max(stop_in(case, mute) for _ in range(repeats)):.2f}")


def stop_in(case: Callable[[threading.Event], object], mute: Camera) -> float:
    """Return the seconds that a case goes on after it was asked to stop, once it is well under way."""
    stop, mute.sends_pictures = threading.Event(), True
    thread = threading.Thread(target=case, args=(stop,))
    thread.start()
    time.sleep(0.7)
    mute.sends_pictures = False
    time.sleep(0.8)
    asked = time.monotonic()
    stop.set()
    thread.join()
    return time.monotonic() - asked


def connect(port: int, stop: threading.Event) -> None:
    """Run on a server without pictures, until stopped."""
    with suppress(KeyboardInterrupt):
        Pipeline(f"tcp://127.0.0.1:{port}", TINY, retry_for=FOREVER).run(stop=stop)


def work(cam: Camera, stop: threading.Event, engine: Engine, *, outputs: tuple[str, ...] = ()) -> None:
    """Run on a camera until stopped, and finish the outputs."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        source = stack.enter_context(open_source(cam.uri, stall_after=0.5))
        sinks = [stack.enter_context(open_sink(f"{folder}/{name}", info=source.info)) for name in outputs]
        run(source, engine, sinks, stop=stop)


def recovery(each: int = 4) -> None:
    """Print how long after a camera is back its first new picture is there, by how long it was away."""
    outages = (1.0, 5.0, 20.0)
    with ThreadPoolExecutor(each * len(outages)) as pool:
        times = list(pool.map(return_of_a_camera, outages * each))
    for number, away in enumerate(outages):
        ordered = sorted(times[number :: len(outages)])
        print(f"away for {away:2.0f} s: back after {' '.join(f'{seconds:.2f}' for seconds in ordered)} s")


def return_of_a_camera(away: float) -> float:
    """Return the seconds from the return of a camera to its next picture."""
    back = float("inf")

    def come_back() -> None:
        nonlocal back
        cam.come_back()
        back = time.monotonic()

    with camera() as cam, open_source(cam.uri) as source:
        cam.pace = 2.0
        frames = iter(source)
        for _ in range(10):
            next(frames)
        cam.go_away()
        timer = threading.Timer(away, come_back)
        timer.start()
        first = next(frame for frame in frames if frame.captured_at > back)
        timer.join()
        return first.captured_at - back


BENCHES = {"age": age, "growth": growth, "stopping": stopping, "recovery": recovery}


def main() -> None:
    """Run those that are named, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=" ".join(BENCHES))
    logging.disable()
    for name in parser.parse_args().names or BENCHES:
        BENCHES[name]()


if __name__ == "__main__":
    main()
