"""A measurement from beginning to end, and the record that is left of it: see schema.json."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from solo_rt import defaults
from solo_rt.bench.clip import open_clip
from solo_rt.bench.energy import open_counters
from solo_rt.bench.laps import NORMAL, QUICK, Lap, Pace, summarise, take_laps
from solo_rt.bench.layers import WHAT, Subject
from solo_rt.bench.load import LoadWatch
from solo_rt.bench.machine import describe_machine
from solo_rt.bench.meter import metered
from solo_rt.bench.nvml import Card, find_card
from solo_rt.device import Device
from solo_rt.engine import Engine, Precision, find_model, open_engine
from solo_rt.files import file_sha256
from solo_rt.pipeline import Options
from solo_rt.pipeline.workers import open_interruptibly

VERSION = 1  # of the record

OnStep = Callable[[int, int, str], None]  # is told how many laps are done, of at most how many, and what is next


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure, and how long."""

    model: str | None = None
    source: str | None = None  # None is the sample clip
    backend: str = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    lanes: int | None = None
    quick: bool = False

    @property
    def pace(self) -> Pace:
        """The laps."""
        return QUICK if self.quick else NORMAL

    @property
    def options(self) -> Options:
        """What the pipeline is to do with frames."""
        return Options()

    def to_record(self) -> dict[str, object]:
        """Return what was asked for as JSON values."""
        asked = {
            "backend": self.backend,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "lanes": self.lanes,
            "quick": self.quick,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def open_engine(self, stop: threading.Event) -> Engine:
        """Return the engine. Raises: as `solo_rt.engine.open_engine`; KeyboardInterrupt once `stop` is set."""
        return open_interruptibly(
            lambda: open_engine(
                self.model,
                backend=self.backend,
                device=self.device,
                precision=self.precision,
                threads=self.threads,
                lanes=self.lanes,
            ),
            stop,
        )


def measure(
    order: Order, *, stop: threading.Event, on_step: OnStep = lambda done, most, text: None
) -> dict[str, object]:
    """Return the record of the four layers, as JSON values.

    What fails, and what `stop` cuts off, is missing in it, and `partial` says why.
    Raises: UsageError, SpecError, EngineError, SourceError before anything is measured; KeyboardInterrupt likewise.
    """
    path = find_model(order.model)
    most = order.pace.most * len(WHAT)
    on_step(0, most, "opening the clip; the sample is made once, which takes some seconds")
    clip = open_interruptibly(lambda: open_clip(order.source), stop)
    card = _card(order.device)
    watch = LoadWatch(card)
    on_step(0, most, "loading the model")
    started = time.perf_counter()
    engine = order.open_engine(stop)
    opened = time.perf_counter() - started
    with closing(engine), TemporaryDirectory() as folder, open_counters(card) as counters:
        subject = Subject(engine, clip, order.options, Path(folder), stop)
        on_step(0, most, "warming up")
        first = subject.warm_up(order.pace.seconds)
        meters = list(counters.values())
        runners = {name: metered(runner, meters) for name, runner in subject.runners().items()}
        done = count()
        laps, failed = take_laps(
            runners, order.pace, stop, lambda name, number: on_step(next(done), most, f"{name}, lap {number}")
        )
        layers = _layers(laps)
        if laps["live"] and laps["pipeline to nothing"] and not failed:
            fps = sum(lap.fps for lap in laps["pipeline to nothing"]) / len(laps["pipeline to nothing"])
            on_step(most, most, "live, the highest rate")
            highest = subject.highest_rate(fps, order.pace.seconds)
            layers["live"] |= {} if highest is None else {"highest_fps": round(highest, 2)}
        load, doubts = watch.finish()
        return {
            "version": VERSION,
            "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **_partial(stop, failed),
            "unreliable": doubts,
            "model": _model(path, engine),
            "clip": clip.to_record(),
            "asked": order.to_record(),
            "engine": engine.backend,
            "thresholds": {"conf": defaults.CONF, "max_det": defaults.MAX_DET},
            "machine": {**describe_machine(card), "load": load},
            "energy": list(counters),
            "opening": {"engine_s": round(opened, 4), "first_frame_s": round(first, 4)},
            "layers": layers,
        }


def _layers(laps: Mapping[str, Sequence[Lap]]) -> dict[str, dict[str, object]]:
    return {name: {"what": WHAT[name], **summarise(taken)} for name, taken in laps.items() if taken}


def _partial(stop: threading.Event, failed: Mapping[str, str]) -> dict[str, object]:
    reasons = [f"{name}: {reason}" for name, reason in failed.items()]
    reasons += ["interrupted"] if stop.is_set() else []
    return {"partial": "; ".join(reasons)} if reasons else {}


def _model(path: Path, engine: Engine) -> dict[str, object]:
    spec = engine.spec
    return {
        "name": spec.name,
        "file": path.name,
        "sha256": file_sha256(path),
        "height": spec.input.height,
        "width": spec.input.width,
        "decoder": spec.decoder.kind,
        "metrics": dict(spec.provenance.metrics),
        "costs": dict(spec.costs),
    }


def _card(device: str) -> Card | None:
    """Return the card that may be at work."""
    wanted = Device.parse(device)
    return None if wanted.kind == "cpu" else find_card(wanted.index or 0)
