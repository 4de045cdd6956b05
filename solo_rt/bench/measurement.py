"""A measurement from beginning to end, and the record that is left of it: see schema.json."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from solo_rt import defaults
from solo_rt.bench.clip import Clip, find_sample, open_clip
from solo_rt.bench.energy import open_counters
from solo_rt.bench.laps import NORMAL, QUICK, Lap, Pace, half_interval, summarise, take_laps
from solo_rt.bench.layers import WHAT, Subject
from solo_rt.bench.load import LoadWatch
from solo_rt.bench.machine import describe_machine
from solo_rt.bench.meter import metered
from solo_rt.bench.nvml import Card, find_card
from solo_rt.bench.rivals import Task, find_rivals
from solo_rt.bench.rivals.contest import contest
from solo_rt.device import Device
from solo_rt.engine import Engine, Precision, find_model, open_engine
from solo_rt.engine.model_file import int8_of, read_model
from solo_rt.engine.precision import costs_here
from solo_rt.errors import SoloRTError
from solo_rt.files import file_sha256
from solo_rt.pipeline import Options
from solo_rt.pipeline.opening_thread import open_interruptibly
from solo_rt.progress import Show
from solo_rt.uri import expand_home

VERSION = 1  # of the record

Record = dict[str, Any]  # JSON values


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
    trusted: bool = False  # a TensorRT engine that was not built here as well

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

    def task(self, folder: str, frame_rate: float) -> Task:
        """Return what solo-rt and others are to do; outputs go into a folder."""
        return Task(
            clip=str(find_sample()) if self.source is None else expand_home(self.source),
            frame_rate=frame_rate,
            folder=folder,
            model=self.model,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            lanes=self.lanes,
            trusted=self.trusted,
        )

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
                trusted=self.trusted,
            ),
            stop,
        )


def measure(
    order: Order,
    *,
    stop: threading.Event,
    on_step: Show = lambda done, most, text: None,
    against: str | None = None,
) -> Record:
    """Return the record of the four layers, as JSON values, and of those of the list `against`; see `RIVALS`.

    What fails, and what `stop` cuts off, is missing in it, and `partial` says why.
    Raises: UsageError, SpecError, EngineError, SourceError before anything is measured; KeyboardInterrupt likewise.
    """

    def refuse(order: Order, error: SoloRTError) -> None:
        raise error

    names, absent = ([], {}) if against is None else find_rivals(against)
    record = measure_each([order], tuple(WHAT), stop=stop, on_step=on_step, on_refusal=refuse)[0]
    if against is None:
        return record
    found: Record = {"against": {}, "absent": {}, "unreliable": []}
    if not stop.is_set():
        with TemporaryDirectory() as folder:
            found = contest(names, order.task(folder, record["clip"]["frame_rate"]), order.pace, stop, on_step)
    cut = {"partial": record.get("partial", "interrupted")} if stop.is_set() else {}
    doubts = [*record["unreliable"], *found["unreliable"]]
    return {**record, **found, **cut, "absent": {**absent, **found["absent"]}, "unreliable": doubts}


def measure_each(
    orders: Sequence[Order],
    layers: Sequence[str],
    *,
    stop: threading.Event,
    on_step: Show,
    on_refusal: Callable[[Order, SoloRTError], None],
) -> list[Record]:
    """Return a record of `layers` for each order, of one source and one pace; the laps of all take turns.

    What cannot be opened is left out, and `on_refusal` is told why.
    Raises: as `measure`, but for what a model or an engine raises; what `on_refusal` raises.
    """
    pace, most = orders[0].pace, orders[0].pace.most * len(layers) * len(orders)
    on_step(0, most, "opening the clip; the sample is made once, which takes some seconds")
    clip = open_interruptibly(lambda: open_clip(orders[0].source), stop)
    card = _card(orders[0].device)
    watch = LoadWatch(card)
    with ExitStack() as stack:
        counters = stack.enter_context(open_counters(card))
        opened: list[_Opened] = []
        for order in orders:
            on_step(0, most, f"opening {order.model or defaults.MODEL}")
            folder = Path(stack.enter_context(TemporaryDirectory()))
            try:
                opened.append(_open(order, clip, folder, stop, stack))
            except SoloRTError as error:
                on_refusal(order, error)
        meters = list(counters.values())
        runners = {
            (number, name): metered(one.subject.runners()[name], meters, with_memory=len(orders) == 1)
            for number, one in enumerate(opened)
            for name in layers
        }
        done = count()
        laps, failed = take_laps(
            runners, pace, stop, lambda of, number: on_step(next(done), most, f"lap {number}, {of[1]}")
        )
        found = [
            _figures(
                one.subject,
                {name: laps[number, name] for name in layers},
                {name: failed[number, name] for name in layers if (number, name) in failed},
                lambda: on_step(most, most, "live, the highest rate"),
                pace,
            )
            for number, one in enumerate(opened)
        ]
        load, doubts = watch.finish()
        common = {
            "version": VERSION,
            "taken_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "unreliable": doubts,
            "clip": clip.to_record(),
            "thresholds": {"conf": defaults.CONF, "max_det": defaults.MAX_DET},
            "machine": {**describe_machine(card), "load": load},
            "energy": list(counters),
        }
        return [{**common, **one.facts, **figures} for one, figures in zip(opened, found, strict=True)]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An engine that is warm, and what is known of it."""

    subject: Subject
    facts: Record


def _open(order: Order, clip: Clip, folder: Path, stop: threading.Event, stack: ExitStack) -> _Opened:
    path = find_model(order.model)
    started = time.perf_counter()
    engine = stack.enter_context(closing(order.open_engine(stop)))
    opened = time.perf_counter() - started
    subject = Subject(engine, clip, order.options, folder, stop)
    first = subject.warm_up(order.pace.seconds)
    return _Opened(
        subject,
        {
            "model": _model(path, engine),
            "asked": order.to_record(),
            "engine": engine.backend,
            "opening": {"engine_s": round(opened, 4), "first_frame_s": round(first, 4)},
        },
    )


def _figures(
    subject: Subject,
    laps: Mapping[str, Sequence[Lap]],
    failed: Mapping[str, str],
    on_search: Callable[[], None],
    pace: Pace,
) -> Record:
    """Return the figures of one engine, once the highest rate of a live source is looked for as well."""
    layers = {name: {"what": WHAT[name], **summarise(taken)} for name, taken in laps.items() if taken}
    reasons = [f"{name}: {reason}" for name, reason in failed.items()]
    if not failed and not subject.stop.is_set() and "live" in layers:
        on_search()
        rates = [lap.fps for lap in laps["pipeline to nothing"]]
        highest = subject.highest_rates(sum(rates) / len(rates), pace)
        layers["live"] |= _highest(highest) if highest else {}
    reasons += ["interrupted"] if subject.stop.is_set() else []
    return {**({"partial": "; ".join(reasons)} if reasons else {}), "layers": layers}


def _highest(rates: Sequence[float]) -> Record:
    interval = {"highest_interval": round(half_interval(rates), 2)} if len(rates) > 1 else {}
    return {"highest_fps": round(fmean(rates), 2), "highest_laps": [round(rate, 2) for rate in rates], **interval}


def _model(path: Path, engine: Engine) -> Record:
    spec = engine.spec
    # What ships in INT8 beside a model may have been taken instead of it.
    int8 = int8_of(read_model(path)) if path.suffix == ".onnx" and spec.is_int8 else None
    path = path if int8 is None else int8.path
    return {
        "name": spec.name,
        "file": path.name,
        "sha256": file_sha256(path),
        "height": spec.input.height,
        "width": spec.input.width,
        "decoder": spec.decoder.kind,
        "metrics": dict(spec.provenance.metrics),
        "costs": costs_here(spec),
    }


def _card(device: str) -> Card | None:
    """Return the card that may be at work."""
    wanted = Device.parse(device)
    return None if wanted.kind == "cpu" else find_card(wanted.index or 0)
