"""What happens to a frame between source and sink, one function per stage; `workers` runs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_rt import defaults
from solo_rt.decode import decode, decode_semantic
from solo_rt.decode.refinement import refine
from solo_rt.decoders import SemanticDecoder, is_painted
from solo_rt.engine.base import Engine, FrameEngine
from solo_rt.errors import UsageError
from solo_rt.gpu.labels import GpuLabels
from solo_rt.pipeline.frame_rate import FrameRateLimit, Pace
from solo_rt.pipeline.options import Interval, Options
from solo_rt.pipeline.sanity import Sanity
from solo_rt.pipeline.sharing import SharedEngine
from solo_rt.pipeline.stage import Counts, Job, Stage, name_stage
from solo_rt.pipeline.timing import Histogram
from solo_rt.pipeline.trace import Trace
from solo_rt.preprocess import Letterbox, prepare
from solo_rt.render import Painting, draw_labels, instance_labels, legend_labels
from solo_rt.render.lettering import Label
from solo_rt.source import Source
from solo_rt.spec import ModelSpec
from solo_rt.track import LEAST_SCORE, Tracker
from solo_rt.track.counter import ZoneCounter
from solo_rt.track.zones import Zone, check_classes
from solo_rt.types import Found, Frame, Instances

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Task:
    """What is particular to a model of one kind: how its outputs are read, and how what it finds is called."""

    decode: Callable[[Mapping[str, Any], Letterbox], Found]
    labels: Callable[[Frame, Any], list[Label]]  # to be written onto a frame that an engine painted


def build_stages(
    engine: Engine, options: Options, *, with_picture: bool, gpu_labels: GpuLabels | None = None
) -> list[Stage]:
    """Return the stages after reading, in order; a `FrameEngine` prepares, infers and paints in one of them.

    With `gpu_labels` frames that are on a GPU stay there, painted and labelled.
    Raises: UsageError for options that do not fit the model.
    """
    spec = engine.spec
    wanted = check_options(spec, options)
    conf = defaults.CONF if options.conf is None else options.conf
    max_det = options.max_det or defaults.MAX_DET
    is_semantic = spec.decoder.task == "semantic"
    least = min(conf, LEAST_SCORE) if options.track else conf
    task = _semantic_task(spec, wanted) if is_semantic else _instance_task(spec, wanted, conf=least, max_det=max_det)
    sane, style = Sanity(spec.name), options.style

    def decode_job(job: Job) -> None:
        assert job.letterbox is not None
        sane.check(job.outputs)
        found = task.decode({name: values[0] for name, values in job.outputs.items()}, job.letterbox)
        job.found, job.outputs = sane.scored(found), {}

    def render_job(job: Job) -> None:
        if job.rendered is None:
            job.rendered = job.result(spec).draw(style)
            return
        if not style.labels:
            return
        labels = task.labels(job.rendered, job.found)
        if gpu_labels is not None and job.rendered.device is not None:
            gpu_labels.write(job.rendered, labels)
        else:
            draw_labels(job.rendered, labels)

    painting = None
    is_changed = options.refine or options.track  # what an engine finds, which is what it paints
    if with_picture and is_painted(spec.decoder) and style.fits_engines and not is_changed:
        painting = Painting(classes=wanted, conf=conf, max_det=max_det, style=style, on_gpu=gpu_labels is not None)
    stages = [*_network_stages(engine, painting), Stage("decode", decode_job, computes=True)]
    if options.keyframe_interval is not None:
        stages = _between_key_frames(stages, options.keyframe_interval)
    if options.track:
        stages.append(_track_stage(conf))
    if options.refine:
        stages.append(Stage("refine", _refine_job))
    if options.zones:
        stages.append(_zones_stage(spec, options.zones))
    return [*stages, Stage("render", render_job)] if with_picture else stages


def _between_key_frames(stages: list[Stage], interval: Interval) -> list[Stage]:
    """Return the stages that compute, with those around them that choose the key frames and move what is found."""
    from solo_rt.pipeline.keyframes import Keyframes

    keyframes = Keyframes(interval)

    def choose_job(job: Job) -> None:
        job.place = keyframes.choose(job.frame)

    def move_job(job: Job) -> None:
        assert job.place is not None
        assert isinstance(job.found, Instances | None)
        job.found = keyframes.follow(job.place, job.found)

    return [Stage("choose", choose_job), *stages, Stage("move", move_job)]


def _track_stage(conf: float) -> Stage:
    tracker = Tracker(conf=conf)

    def track_job(job: Job) -> None:
        assert isinstance(job.found, Instances)
        job.found, job.trails = tracker.follow(job.found, job.frame.time_s)

    return Stage("track", track_job)


def _refine_job(job: Job) -> None:
    assert isinstance(job.found, Instances)
    job.found = refine(job.found, job.frame)


def _network_stages(engine: Engine, painting: Painting | None) -> list[Stage]:
    """Return the stages from a frame to the outputs of the network."""
    to = engine.spec.input
    line = engine if isinstance(engine, SharedEngine) else None

    def prepare_job(job: Job) -> None:
        job.tensor, job.letterbox = prepare(job.frame, to)

    def infer_job(job: Job) -> None:
        assert job.tensor is not None
        job.outputs = engine.infer({to.name: job.tensor})
        job.tensor = None

    if not isinstance(engine, FrameEngine):
        infer = Stage("infer", infer_job, lanes=engine.lanes, cancel=engine.cancel, computes=True, line=line)
        return [Stage("prepare", prepare_job, computes=True, line=line), infer]
    infer_frame = engine.infer_frame

    def infer_frame_job(job: Job) -> None:
        job.letterbox = Letterbox.fit((job.frame.height, job.frame.width), (to.height, to.width))
        job.outputs, job.rendered = infer_frame(job.frame, painting)

    return [Stage("infer", infer_frame_job, lanes=engine.lanes, cancel=engine.cancel, computes=True, line=line)]


def _zones_stage(spec: ModelSpec, zones: tuple[Zone, ...]) -> Stage:
    """Return the stage that counts tracked objects."""
    counter = ZoneCounter(zones, spec.classes)

    def zones_job(job: Job) -> None:
        assert isinstance(job.found, Instances)
        job.zones, job.events = counter.update(job.found, job.frame.time_s)

    return Stage("zones", zones_job)


def _instance_task(spec: ModelSpec, wanted: tuple[int, ...] | None, *, conf: float, max_det: int) -> _Task:
    return _Task(
        decode=lambda outputs, box: decode(outputs, spec, box, conf=conf, max_det=max_det, classes=wanted),
        labels=lambda frame, found: instance_labels(frame, found, spec.classes),
    )


def _semantic_task(spec: ModelSpec, wanted: tuple[int, ...] | None) -> _Task:
    assert isinstance(spec.decoder, SemanticDecoder)
    palette, unpainted = spec.decoder.palette, spec.decoder.unpainted
    return _Task(
        decode=lambda outputs, box: decode_semantic(outputs, spec, box, classes=wanted),
        labels=lambda frame, found: legend_labels(frame, found, spec.classes, palette=palette, unpainted=unpainted),
    )


def check_options(spec: ModelSpec, options: Options) -> tuple[int, ...] | None:
    """Return the ids of the classes to keep, None for all. Raises: UsageError for options that do not fit the model."""
    known = spec.classes
    unknown = [name for name in options.classes if name not in known]
    if unknown:
        raise UsageError(f"unknown class {', '.join(unknown)}; the model knows {', '.join(known)}")
    if spec.decoder.task == "semantic" and options.zones:
        raise UsageError(f"zones are about objects, and {spec.name} finds none: it is a semantic model; leave them out")
    about_instances = (options.conf, options.max_det, options.track, options.refine, options.keyframe_interval)
    if spec.decoder.task == "semantic" and about_instances != (None, None, False, False, None):
        raise UsageError(
            f"conf, max_det, track, refine and keyframe_interval are about instances, and {spec.name} finds none: "
            "it is a semantic model; leave them out"
        )
    check_classes(options.zones, known)
    return tuple(known.index(name) for name in options.classes) or None


def read_jobs(
    source: Source,
    options: Options,
    counts: Counts,
    times: Histogram,
    stop: threading.Event,
    trace: Trace | None = None,
) -> Iterator[Job]:
    """Yield a job per admitted frame until the source ends, `max_frames` are on their way or `stop` is set.

    The consumer adds the frames it drops to `counts.dropped` and `counts.stale`, so that `max_frames` counts results.
    Raises: what the source raises, with the stage's name noted.
    """
    is_live, is_freshest = source.info.live, options.is_freshest(live=source.info.live)
    admits = FrameRateLimit(options.max_fps, live=is_freshest)
    pace = Pace(stop) if is_freshest and not is_live else None
    frames = iter(source)
    while not stop.is_set():
        lost = counts.skipped + counts.dropped + counts.stale
        if options.max_frames is not None and counts.read - lost >= options.max_frames:
            return
        started = time.perf_counter()
        try:
            frame = next(frames, None)
        except Exception as error:
            name_stage(error, "read")
            raise
        if frame is None:
            return
        if pace is not None:
            frame = pace.keep(frame)
        seconds = time.perf_counter() - started
        times.add(seconds)
        counts.read += 1
        if trace is not None:
            trace.span("read", frame.index, started, seconds)
        if admits(frame):
            before = counts.dropped
            yield Job(frame, {"read": seconds})
            if trace is not None and counts.dropped > before:
                trace.drop(counts.dropped - before)
        else:
            counts.skipped += 1
