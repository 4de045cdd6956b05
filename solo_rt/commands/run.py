"""`solo-rt run`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from solo_rt import defaults
from solo_rt.commands.options import (
    as_json,
    backend_option,
    command,
    device_option,
    model_option,
    precision_option,
    threads_option,
    trust_option,
)
from solo_rt.commands.parameters import CountOr, LocalPath, Names, Secret
from solo_rt.errors import UsageError

if TYPE_CHECKING:
    from solo_rt.engine import Precision
    from solo_rt.gpu.nvcodec import VideoDecoder, VideoEncoder
    from solo_rt.pipeline.options import Interval, Policy
    from solo_rt.render import Style
    from solo_rt.sink.encoding import Audio, VideoCodec


@command()
@click.option(
    "--source",
    required=True,
    multiple=True,
    metavar="URI",
    help="Video file, picture, folder, 'pattern/*.png', camera:0, rtsp://..., other streams, screen:, - or test://. "
    "Repeated, {source} in outputs is the name of each: door=rtsp://... is called door.",
)
@model_option
@click.option(
    "--output",
    multiple=True,
    metavar="URI",
    help="What to write, by extension or address: video, .jsonl, .csv, .parquet, coco:FILE, folder/, rtsp://..., …",
)
@click.option(
    "--output-dir",
    type=LocalPath(),
    help="Take sources for archives, as 'archive/**/*.mp4', and write {source}.jsonl, or what --output says, of each "
    "video into this folder; a second run goes on.",
)
@click.option(
    "--workers",
    type=int,
    help="Processes for archives and of --cluster; they share the cores.  [default: one for every two cores]",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Ray cluster whose machines work on an archive, or on cameras: auto, HOST:PORT or ray://HOST:PORT; "
    "its files are shared.",
)
@click.option(
    "--range-minutes",
    type=float,
    help="Cut long videos of an archive into ranges, which workers share.  [default: 10; none with --track]",
)
@click.option("--save-jsonl", metavar="FILE", help="Write one JSON record per frame.")
@click.option("--save-images", metavar="DIR", help="Write annotated pictures into a folder.")
@click.option("--save-labels", metavar="DIR", help="Write class ids as PNG files, one per frame; semantic models.")
@click.option("--contact-sheet", metavar="FILE", help="Write one picture of the whole run, .png or .jpg.")
@click.option("--show", is_flag=True, help="Show annotated video in a window; q or Esc ends the run.")
@click.option(
    "--serve",
    is_flag=False,
    flag_value=defaults.SERVE,
    metavar="[HOST:PORT]",
    help=f"Show it all on a page for browsers, at {defaults.SERVE} unless said otherwise.",
)
@click.option(
    "--serve-token",
    type=Secret(),
    metavar="TEXT",
    help="What a browser must know; others cannot read SOLO_RT_RUN_SERVE_TOKEN.  "
    "[default: a new one; none for this machine's own browsers]",
)
@click.option("--conf", type=float, help=f"Lowest score of an instance.  [default: {defaults.CONF}]")
@click.option("--max-det", type=int, help=f"Most instances per frame.  [default: {defaults.MAX_DET}]")
@click.option("--classes", metavar="A,B", help="Classes to keep.  [default: all]")
@click.option(
    "--zones", type=LocalPath(), help="Count what enters and leaves the zones of a file, or crosses its lines."
)
@click.option("--track", is_flag=True, help="Follow objects from frame to frame: each has an id and a trail.")
@click.option("--refine", is_flag=True, help="Draw the outlines of masks to the edges in the picture.")
@click.option(
    "--keyframe-interval",
    type=CountOr("auto"),
    metavar="K|auto",
    help="Compute every K-th frame, or as few as what moves allows, and move what was found with the picture.",
)
@click.option(
    "--draw",
    type=Names(defaults.PARTS),
    help=f"What outputs show: {', '.join(defaults.PARTS)}.  [default: all but boxes]",
)
@click.option(
    "--alpha", type=float, help=f"Opacity of what masks and classes are tinted in.  [default: {defaults.ALPHA}]"
)
@click.option("--max-frames", type=int, help="End after this many results.")
@click.option("--max-fps", type=float, help="Leave frames out so that at most this many per second remain.")
@click.option(
    "--policy",
    type=click.Choice(["auto", "every-frame", "freshest"]),
    default="auto",
    show_default=True,
    help="Compute every frame, or drop those that newer ones replace; auto does so for live sources.",
)
@click.option(
    "--max-staleness",
    type=float,
    metavar="SECONDS",
    help=f"Drop frames older than this when their turn comes.  [default: {defaults.MAX_STALENESS} with freshest]",
)
@click.option(
    "--retry-for",
    type=float,
    metavar="SECONDS",
    help="How long a live source may be out of reach.  [default: for ever, but "
    f"{defaults.FIRST_RETRY_SECONDS:g} before the first frame]",
)
@click.option(
    "--stall-after",
    type=float,
    metavar="SECONDS",
    default=defaults.STALL_SECONDS,
    show_default=True,
    help="Connect again to a live source that gives no picture for this long.",
)
@click.option("--sync", is_flag=True, help="One frame at a time, without threads: for debugging.")
@device_option
@backend_option
@precision_option
@trust_option
@threads_option
@click.option(
    "--lanes",
    type=int,
    help="Frames computed at once: more may give more fps.  "
    f"[default: {defaults.TENSORRT_LANES} for files on TensorRT, else 1]",
)
@click.option(
    "--decoder",
    type=click.Choice(["cpu", "nvdec"]),
    default="cpu",
    show_default=True,
    help="What decodes video: nvdec is the GPU of --device.",
)
@click.option(
    "--encoder",
    type=click.Choice(["x264", "nvenc"]),
    default="x264",
    show_default=True,
    help="What makes H.264: nvenc is the GPU of --device.",
)
@click.option(
    "--codec",
    type=click.Choice(["h264", "h265", "av1"]),
    default="h264",
    show_default=True,
    help="Codec of .mp4, .mov and .mkv outputs.",
)
@click.option(
    "--crf",
    type=int,
    help="Quality of such outputs, best first: 0 to 51, of av1 1 to 63.  "
    f"[default: {', '.join(f'{name} {crf}' for name, crf in defaults.CRF.items())}]",
)
@click.option("--preset", help="Of the encoder: ultrafast to veryslow, of av1 13 to 0, of nvenc p1 to p7.")
@click.option(
    "--audio",
    type=click.Choice(["copy", "none"]),
    default="copy",
    show_default=True,
    help="What becomes of the source's sound in video outputs.",
)
@click.option("--trace", type=LocalPath(), help="Write what every thread did when, for ui.perfetto.dev.")
@click.option("--segment", metavar="TIME", help="Begin a new video file every 60s, 10m or 1h: out-000000.mp4, ...")
@click.option("--overwrite", is_flag=True, help="Write pictures and segments where such files are already.")
@click.option("--quiet", is_flag=True, help="Show no progress and no summary.")
@as_json
def run(
    source: tuple[str, ...],
    model: str | None,
    output: tuple[str, ...],
    output_dir: Path | None,
    workers: int | None,
    cluster: str | None,
    range_minutes: float | None,
    save_jsonl: str | None,
    save_images: str | None,
    save_labels: str | None,
    contact_sheet: str | None,
    show: bool,
    serve: str | None,
    serve_token: str | None,
    conf: float | None,
    max_det: int | None,
    classes: str | None,
    zones: Path | None,
    track: bool,
    refine: bool,
    keyframe_interval: Interval | None,
    draw: tuple[str, ...] | None,
    alpha: float | None,
    max_frames: int | None,
    max_fps: float | None,
    policy: Policy,
    max_staleness: float | None,
    retry_for: float | None,
    stall_after: float,
    sync: bool,
    device: str,
    precision: Precision,
    trust: bool,
    backend: str,
    threads: int | None,
    lanes: int | None,
    decoder: VideoDecoder,
    encoder: VideoEncoder,
    codec: VideoCodec,
    crf: int | None,
    preset: str | None,
    audio: Audio,
    segment: str | None,
    overwrite: bool,
    trace: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Segment a source, or several side by side; without an output, only measure it.

    Ctrl-C finishes the outputs and ends; a second one ends at once.
    """
    from solo_rt.pipeline import Options, Pipeline
    from solo_rt.pipeline.paths import name_sources
    from solo_rt.sink import VideoOptions
    from solo_rt.sink.segments import parse_seconds
    from solo_rt.track.zone_file import read_zones

    options = Options(
        conf=conf,
        max_det=max_det,
        classes=tuple(filter(None, (name.strip() for name in (classes or "").split(",")))),
        max_frames=max_frames,
        max_fps=max_fps,
        policy=policy,
        max_staleness=max_staleness,
        max_failures=defaults.MAX_FAILURES,
        track=track,
        refine=refine,
        keyframe_interval=keyframe_interval,
        style=_style(draw, alpha),
        sync=sync,
        zones=() if zones is None else read_zones(zones),
    )
    video = VideoOptions(
        codec=codec,
        encoder=encoder,
        crf=crf,
        preset=preset,
        audio=audio,
        segment=None if segment is None else parse_seconds(segment),
    )
    pipeline = Pipeline(
        model=model,
        options=options,
        backend=backend,
        device=device,
        precision=precision,
        threads=threads,
        lanes=lanes,
        trusted=trust,
        decoder=decoder,
        retry_for=retry_for,
        stall_after=stall_after,
        video=video,
        overwrite=overwrite,
        trace=trace,
    )
    if output_dir is not None:
        from solo_rt.cluster import Archive
        from solo_rt.cluster.outputs import DEFAULT
        from solo_rt.commands.archive import refuse, run_archive

        others = {"--save-jsonl": save_jsonl, "--save-images": save_images, "--save-labels": save_labels}
        others |= {"--contact-sheet": contact_sheet, "--segment": segment, "--serve": serve}
        refuse({**others, "--serve-token": serve_token, "--show": show, "--trace": trace, "--overwrite": overwrite})
        archive = Archive(source, output_dir, pipeline, output or (DEFAULT,), workers, cluster, range_minutes)
        return run_archive(archive, quiet=quiet, as_json=as_json)
    if range_minutes is not None:
        raise UsageError("--range-minutes: it is for archives, whose results go into --output-dir")
    if workers is not None and cluster is None:
        raise UsageError("--workers: it is for archives, whose results go into --output-dir, and for --cluster")
    sources = name_sources(source)
    files = _files(output, save_jsonl, save_images, save_labels, contact_sheet)
    if cluster is not None:
        from solo_rt.commands.fleet import run_fleet
        from solo_rt.commands.page import open_page

        if show or trace is not None:
            raise UsageError(f"{'--show' if show else '--trace'}: it is not for --cluster; leave one of the two out")
        with open_page(serve, token=serve_token, decoder=decoder) as site:
            return run_fleet(
                sources, pipeline, files, cluster=cluster, owners=workers, site=site, quiet=quiet, as_json=as_json
            )
    from solo_rt.commands.local import run_local

    return run_local(
        sources, pipeline, files, show=show, serve=serve, serve_token=serve_token, quiet=quiet, as_json=as_json
    )


def _style(draw: tuple[str, ...] | None, alpha: float | None) -> Style:
    """Return how pictures are drawn. Raises: UsageError."""
    from solo_rt.render import DEFAULT_STYLE

    parts = {} if draw is None else {part: part in draw for part in defaults.PARTS}
    return replace(DEFAULT_STYLE, alpha=defaults.ALPHA if alpha is None else alpha, **parts)


def _files(
    output: tuple[str, ...],
    save_jsonl: str | None,
    save_images: str | None,
    save_labels: str | None,
    contact_sheet: str | None,
) -> list[str]:
    """Return the outputs by address: those of --output, and those with an option of their own. Raises: UsageError."""
    if save_jsonl is not None and not save_jsonl.lower().endswith(".jsonl"):
        raise UsageError(f"--save-jsonl {save_jsonl}: expected a file that ends in .jsonl")
    if contact_sheet is not None and not contact_sheet.lower().endswith((".png", ".jpg")):
        raise UsageError(f"--contact-sheet {contact_sheet}: expected a file that ends in .png or .jpg")
    for option, folder in (("--save-images", save_images), ("--save-labels", save_labels)):
        if folder == "":
            raise UsageError(f"{option}: expected a folder, got an empty name")
    folders = [save_images and save_images.rstrip("/") + "/", save_labels and f"labels:{save_labels}"]
    return [*output, *filter(None, [save_jsonl, *folders, contact_sheet])]
