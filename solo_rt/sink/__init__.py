"""Where results go: annotated video, pictures, and data in many formats, behind `open_sink`."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from solo_rt.decoders import Rgb
from solo_rt.errors import SoloRTError, UsageError
from solo_rt.sink import pictures, records
from solo_rt.sink.address import ZONED, pattern, split
from solo_rt.sink.base import Gap, Sink
from solo_rt.sink.broker import BrokerSink
from solo_rt.sink.broker_address import BROKERS
from solo_rt.sink.coco import CocoSink
from solo_rt.sink.contact_sheet import ContactSheet
from solo_rt.sink.counts import CountSink
from solo_rt.sink.crops import CropSink
from solo_rt.sink.encoding import CONTAINERS, PUSHED, VideoOptions, check_video, wants_sound
from solo_rt.sink.events import EventSink
from solo_rt.sink.labels import LabelSink
from solo_rt.sink.mots import MotsSink
from solo_rt.sink.null import NullSink
from solo_rt.sink.parquet import ParquetSink
from solo_rt.sink.pictures import PictureSink
from solo_rt.sink.push import PushSink
from solo_rt.sink.records import RecordSink
from solo_rt.sink.segments import existing
from solo_rt.sink.video import VideoSink
from solo_rt.sink.window import URI as WINDOW
from solo_rt.sink.window import WindowSink
from solo_rt.sink.ytvis import YtvisSink
from solo_rt.sink.zone_counts import ZoneCountSink
from solo_rt.source.base import SourceInfo
from solo_rt.source.pictures import is_pattern, is_picture, picture_paths
from solo_rt.uri import redact, scheme

__all__ = ["Gap", "Sink", "VideoOptions", "check_video", "open_sink", "refuse_overwrite", "wants_sound"]


def open_sink(
    uri: str,
    *,
    info: SourceInfo,
    model: str = "",
    classes: Sequence[str] = (),
    palette: Sequence[Rgb] = (),
    video: VideoOptions = VideoOptions(),  # noqa: B008  frozen
    gpu: int = 0,
    overwrite: bool = False,
    on_quit: Callable[[], None] = lambda: None,
) -> Sink:
    """Return the opened sink that `uri` names. A file that exists is replaced, unless it is the source itself.

    That happens with the first result: opening touches nothing that is there. Only one process can have a file open.

    - `out.mp4`, `.mov`, `.mkv` (H.264, or the codec that `video` names) or `.avi` (Motion JPEG): annotated video;
    - `out.jsonl` or `.ndjson`: JSON lines;
    - `folder/` or `folder/*.jpg`, `folder/*.png`: one annotated picture per frame;
    - `out.csv`: a row per frame with the number, or the share, of each class;
    - `out.parquet`: a row per object, or per class of a frame;
    - `coco:out.json`, `mots:out.txt`, `ytvis:out.json`: results as COCO, MOTS and YouTube-VIS have them;
    - `events:out.csv`, `counts:out.csv`: with zones, a row per event, and a row per minute, zone and class;
    - `crops:folder`: one PNG per object, cut out;
    - `labels:folder`: one PNG of class ids per frame, of a semantic model;
    - `sheet.png`, `sheet.jpg`: one picture of the whole run (see ContactSheet);
    - `rtsp://host/name` or `rtmp://host/app/name`: annotated video, sent to a media server;
    - `redis://host/stream` or `rediss://`: JSON lines, sent to a broker;
    - `window:`: annotated video in a window;
    - `null://`: nothing.

    `info` is the source's; `model` and `classes` go into the header of JSON lines, `palette`, the colours of a semantic
    model's classes, into label PNGs. `video` says how video is encoded; its nvenc is GPU number `gpu`.
    `overwrite`: also in a folder that holds such pictures, or files of a video in segments, already.
    `on_quit` is called when a window is closed.
    Raises: UsageError for an address of another kind or a place where nothing can be written, EngineError for nvenc
    without a GPU that can encode the source's pictures.
    """
    if uri == "null://":
        return NullSink(uri)
    if uri == WINDOW:
        return WindowSink(uri, title=f"solo-rt: {info.uri}", on_quit=on_quit)
    if scheme(uri) in PUSHED:
        return PushSink(uri, info=info, video=video)
    if scheme(uri) in BROKERS:
        return BrokerSink(uri, info=info, model=model, classes=classes)
    if scheme(uri) == "srt":
        raise UsageError(f"output {redact(uri)}: PyAV's FFmpeg has no SRT; push rtsp:// or rtmp:// to a media server")
    if scheme(uri) or not uri:
        raise UsageError(f"output {redact(uri)}: {_KNOWN}")
    kind, place = split(uri)
    if scheme(place):
        raise UsageError(f"output {kind}:{redact(place)}: expected a path behind {kind}:")
    path = Path(pattern(uri))
    suffix = path.suffix.lower()
    try:
        refuse_overwrite(info.uri, uri)
        if kind or suffix in (".csv", ".parquet"):
            return _open_data(uri, kind or suffix, info=info, classes=classes, palette=palette, overwrite=overwrite)
        if suffix in CONTAINERS:
            for path in existing(uri) if video.segment is not None else ():
                refuse_overwrite(info.uri, str(path))
            return VideoSink(uri, info=info, video=video, gpu=gpu, overwrite=overwrite)
        if suffix in records.SUFFIXES:
            return RecordSink(uri, info=info, model=model, classes=classes)
        if uri.endswith("/") or path.is_dir() or (path.stem == "*" and suffix in pictures.FORMATS):
            return PictureSink(uri, overwrite=overwrite)
        if suffix in pictures.FORMATS:
            return ContactSheet(uri)
    except SoloRTError:
        raise
    except FileNotFoundError as error:
        where = f"of {path.readlink()}, where it links to," if path.is_symlink() else f"{path.parent}"
        raise UsageError(f"output {uri}: the folder {where} does not exist; create it first") from error
    except OSError as error:
        reason = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror
        raise UsageError(f"output {uri}: {reason}; choose another place") from error
    raise UsageError(f"output {uri}: {_KNOWN}")


def _open_data(
    uri: str, kind: str, *, info: SourceInfo, classes: Sequence[str], palette: Sequence[Rgb], overwrite: bool
) -> Sink:
    """Return the opened sink of a data format. Raises: OSError, UsageError."""
    if kind == "labels":
        return LabelSink(uri, palette, overwrite=overwrite)
    if kind == ".csv":
        return CountSink(uri, classes)
    if kind == ".parquet":
        return ParquetSink(uri, is_semantic=bool(palette))
    if palette:
        raise UsageError(f"output {uri}: expected a model that finds objects, got a semantic one; use .jsonl or .csv")
    if kind == "crops":
        return CropSink(uri, overwrite=overwrite)
    if kind == "coco":
        return CocoSink(uri)
    if kind in ZONED:
        return (EventSink if kind == "events" else ZoneCountSink)(uri, info=info, classes=classes)
    return MotsSink(uri) if kind == "mots" else YtvisSink(uri)


_KNOWN = (
    f"expected a video ({' '.join(CONTAINERS)}), JSON lines ({' '.join(records.SUFFIXES)}), pictures (folder/ or "
    f"folder/*.png), class ids (labels:folder), cut-out objects (crops:folder), a contact sheet (sheet.png), .csv, "
    f".parquet, coco:out.json, mots:out.txt, ytvis:out.json, events:out.csv, counts:out.csv, a media server "
    f"(rtsp:// rtmp://), a broker (redis:// rediss://), window: or null://"
)


def refuse_overwrite(source_uri: str, sink_uri: str) -> None:
    """Raise UsageError where writing the sink could destroy what the source reads, whatever the two are called."""
    if scheme(source_uri) or scheme(sink_uri):
        return
    written = pattern(sink_uri)
    source, sink = Path(source_uri), Path(written)
    holds_pictures = source.is_dir() or is_picture(source) or is_pattern(source_uri)
    if sink.is_file():
        read = picture_paths(source_uri) if holds_pictures else [source] if source.is_file() else []
        if any(path.samefile(sink) for path in read):
            raise UsageError(f"output {sink_uri} would overwrite the source; choose another file")
        return
    folder = pictures.split(written)[0]
    if folder.is_dir() and holds_pictures and any(p.parent.samefile(folder) for p in picture_paths(source_uri)):
        raise UsageError(f"output {sink_uri} would overwrite pictures of the source; choose another folder")
