"""Several sources on one engine: what faulty ones cost the others, what batches give, what each takes of memory.

    python tests/bench/sources.py [isolation|batches|memory ...]

Isolation: eight cameras of our own on the loopback network for ten seconds, two of them with a fault, once for every
kind of fault; a frame that a healthy one sent and that gave no result counts as lost. The model is a tiny one.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from cameras import RATE, Camera, camera
from clips import H264, write_clip
from stopwatch import least_ms_each

from solo_rt.engine import open_engine
from solo_rt.pipeline import Hooks, Pipeline
from solo_rt.pipeline.report import Progress
from solo_rt.result import Result

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
SOURCES, SECONDS = 8, 10.0
START_SECONDS = 2.0
FRAME_RATE = 20  # of a camera
FRAMES = 12  # of a film
MB = 1e6


def stalls(cam: Camera) -> None:
    cam.sends_pictures = not cam.sends_pictures


def comes_and_goes(cam: Camera) -> None:
    cam.hang_up()


def goes_away(cam: Camera) -> None:
    cam.go_away()
    cam.come_back()


def changes_its_size(cam: Camera) -> None:
    cam.size = (128, 96) if cam.size == (64, 48) else (64, 48)
    cam.hang_up()


def sends_garbage(cam: Camera) -> None:
    cam.sends_garbage = not cam.sends_garbage


FAULTS: list[Callable[[Camera], None] | None] = [
    None, stalls, comes_and_goes, goes_away, changes_its_size, sends_garbage,
]  # fmt: skip


def isolation() -> None:
    """Print how many frames of healthy cameras got their result beside faulty ones."""
    print(f"{SOURCES} cameras of {FRAME_RATE} frames/s, two of them with a fault every second; frames of the other six")
    print(f"{'fault':24s}{'results':>10s}{'dropped':>10s}{'kept':>9s}{'p99 ms':>9s}")
    for fault in FAULTS:
        with ExitStack() as stack:
            cameras = [stack.enter_context(camera()) for _ in range(SOURCES)]
            for cam in cameras:
                cam.pace = RATE / FRAME_RATE
            stop = threading.Event()
            healthy = [str(i) for i in range(2, SOURCES)]
            latest: dict[str, Progress] = {}
            before: dict[str, Progress] = {}  # once all have begun: a new connection gives its first frames at once
            ages: list[float] = []

            def note(
                result: Result, ages: list[float] = ages, before: dict[str, Progress] = before, healthy=healthy
            ) -> None:
                if before and result.source in healthy:
                    ages.append(time.monotonic() - result.frame.captured_at)

            def trouble(fault=fault, cameras=cameras, stop=stop) -> None:
                while fault is not None and not stop.wait(1.0):
                    for cam in cameras[:2]:
                        fault(cam)

            threads = [
                threading.Thread(target=trouble),
                threading.Timer(START_SECONDS, before.update, [latest]),
                threading.Timer(START_SECONDS + SECONDS, stop.set),
            ]
            for thread in threads:
                thread.start()
            Pipeline(
                model=TINY,
                sources={str(i): cam.uri for i, cam in enumerate(cameras)},
                hooks=lambda name, note=note, latest=latest: Hooks(
                    on_frame=note, on_progress=lambda now: latest.update({name: now})
                ),
                threads=1,
            ).run(stop=stop)
            for thread in threads:
                thread.join()
            processed = sum(latest[name].processed - before[name].processed for name in healthy)
            dropped = sum(latest[name].dropped - before[name].dropped for name in healthy)
            p99 = sorted(ages)[int(0.99 * len(ages))]
            name = "none" if fault is None else fault.__name__.replace("_", " ")
            kept = processed / (processed + dropped)
            print(f"{name:24s}{processed:10d}{dropped:10d}{kept:9.2%}{1e3 * p99:9.1f}")


def batches() -> None:
    """Print what two pictures at once give three films on one engine, in rounds that take turns."""
    try:
        import torch

        from solo_rt.spec import Provenance
        from solo_rt.train.export.onnx_file import write_graph
        from solo_rt.train.export.solov2 import solov2_graph
        from solo_rt.train.models import build_model
    except ImportError as error:
        print(f"batches: {error}; pip install 'solo-rt[train]'")
        return
    torch.manual_seed(0)
    network = build_model("solov2-nano", 4).eval()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sources = {}
        for i in range(3):
            sources[str(i)] = f"{folder}/{i}.mp4"
            write_clip(Path(sources[str(i)]), count=FRAMES, codec="libx264", options=H264, size=(320, 192))
        runs = {}
        for backend in ("onnxruntime", "openvino"):
            for batch in (1, 2):
                path = Path(folder) / f"{batch}.onnx"
                graph = solov2_graph(network, "nano", tuple("abcd"), Provenance(), imgsz=network.imgsz, batch=batch)
                write_graph(graph, path)
                engine = stack.enter_context(closing(open_engine(path, backend=backend)))
                runs[backend, batch] = Pipeline(model=engine, sources=sources).run
        times = dict(zip(runs, least_ms_each(list(runs.values()), 5), strict=True))
        print("three films through solov2-nano at once, frames/s of all")
        for backend in ("onnxruntime", "openvino"):
            one, two = (3 * FRAMES / times[backend, batch] * 1e3 for batch in (1, 2))
            print(f"{backend:14s}{one:8.1f} one by one{two:8.1f} two at once{two / one:8.2f}x")


def memory() -> None:
    """Print what each further camera takes."""
    with ExitStack() as stack:
        cameras = [stack.enter_context(camera()) for _ in range(SOURCES)]
        process, sizes = psutil.Process(), {}
        with closing(open_engine(TINY, threads=1)) as engine:
            for count in (1, 1, 2, 4, 8):
                most = [0]
                stop = threading.Event()
                threading.Timer(4.0, stop.set).start()
                pipeline = Pipeline(model=engine, sources={str(i): cam.uri for i, cam in enumerate(cameras[:count])})
                gc.collect()

                def watch(most: list[int] = most) -> None:
                    most[0] = max(most[0], process.memory_info().rss)

                pipeline.run(stop=stop, on_wait=watch)
                sizes[count] = most[0]
        for few, many in ((1, 2), (2, 4), (4, 8)):
            print(f"{few} to {many} cameras of 64x48: {(sizes[many] - sizes[few]) / (many - few) / MB:.1f} MB each")


PARTS = {"isolation": isolation, "batches": batches, "memory": memory}

if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of cameras that come and go
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
