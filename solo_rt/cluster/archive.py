"""An archive, what to make of it, and where the results go."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from solo_rt import __version__, defaults
from solo_rt.cluster.crew import check_workers
from solo_rt.cluster.manifest import FILE
from solo_rt.cluster.outputs import DEFAULT, check_outputs, check_paths
from solo_rt.cluster.ray_cluster import check_address
from solo_rt.cluster.videos import Video, find_videos
from solo_rt.cpu import usable_cores
from solo_rt.engine import find_model
from solo_rt.errors import UsageError
from solo_rt.files import file_sha256
from solo_rt.gpu.nvcodec import gpu_of
from solo_rt.pipeline import Pipeline
from solo_rt.pipeline.paths import PLACE
from solo_rt.sink import check_video, records
from solo_rt.sink.address import check_needs, split
from solo_rt.source.ranges import WHOLE, Range, cut
from solo_rt.track.zones import check_sources

RANGE_MINUTES = 10.0
LEAST_MINUTES = 0.01


@dataclass(frozen=True)
class Archive:
    """Videos, and what is written of each into a folder."""

    sources: Sequence[str]  # folders, patterns, files
    folder: Path  # of the results
    pipeline: Pipeline  # what is done with each video: without a source and sinks, the model by name
    outputs: Sequence[str] = (DEFAULT,)  # by name; see `check_outputs`
    workers: int | None = None  # None is one for every two cores
    cluster: str | None = None  # address of a Ray cluster to work on, instead of on this machine
    range_minutes: float | None = None  # of ranges that long videos are cut into; None is 10, or with tracks whole ones

    def __post_init__(self) -> None:
        check_outputs(self.outputs)
        options = self.pipeline.options
        check_needs(self.outputs, has_zones=bool(options.zones), has_tracks=options.track)
        if self.cluster is not None:
            check_address(self.cluster)
        gpu = gpu_of(self.pipeline.device) if self.cluster is None else None  # those of its machines
        check_video(self.pipeline.video, self.outputs, gpu=gpu)
        check_workers(self.workers)
        if self.range_minutes is not None and not LEAST_MINUTES <= self.range_minutes < math.inf:
            raise UsageError(f"range minutes must be at least {LEAST_MINUTES:g} and finite, got {self.range_minutes:g}")
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder}: expected a folder for the results, got a file")
        if PLACE in str(self.folder):
            raise UsageError(f"{self.folder}: expected one folder for all results; {PLACE} belongs into --output")

    @property
    def size(self) -> int:
        """How many workers there are, at most."""
        return self.workers or max(1, usable_cores() // 2)

    @property
    def threads(self) -> int:
        """How many threads the engine of each worker has: together, unless said otherwise, all cores there are."""
        return self.pipeline.threads or max(1, usable_cores() // self.size)

    @property
    def whole_because(self) -> str:
        """What keeps videos from being cut into ranges; empty where long ones are."""
        one, options = self.pipeline, self.pipeline.options
        others = [output for output in self.outputs if split(output)[0] or not output.endswith(records.SUFFIXES)]
        reasons = {
            f"{', '.join(others)} cannot be put together": others,
            "zones count from the beginning": options.zones,
            "max_frames counts from the beginning": options.max_frames is not None,
            "max_fps goes by the frame before": options.max_fps is not None,
            "keyframe_interval goes by the frame before": options.keyframe_interval is not None,
            "freshest drops frames": options.is_freshest(live=False),
            "nvdec reads whole videos": one.decoder != "cpu",
            "tracks are best in whole videos": options.track and self.range_minutes is None,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def cut(self, video: Video) -> list[Range]:
        """Return the ranges in which a video is processed."""
        return [WHOLE] if self.whole_because else cut(str(video.path), 60 * (self.range_minutes or RANGE_MINUTES))

    def videos(self) -> list[Video]:
        """Return the videos. Raises: as `find_videos`; UsageError where results would overwrite each other."""
        videos = find_videos(self.sources, output_dir=self.folder)
        check_sources(self.pipeline.options.zones, [video.name for video in videos])
        check_paths(self.outputs, videos, taken=FILE)
        return videos

    def settings(self) -> Mapping[str, object]:
        """Return all that the results depend on but the videos, by names for people. Raises: UsageError."""
        one = self.pipeline
        assert one.model is None or isinstance(one.model, (str, Path))
        of_all = replace(one.options, zones=tuple(replace(zone, origin="") for zone in one.options.zones))
        options = {name.replace("_", "-"): value for name, value in asdict(of_all).items() if name != "sync"}
        style = options.pop("style")
        drawn = [part for part in defaults.PARTS if style[part]]
        settings = {
            "solo-rt": __version__,
            "model": file_sha256(find_model(one.model)),
            "output": list(self.outputs),
            **options,
            **{"draw": drawn, "alpha": style["alpha"], "outline": style["outline"]},
            **{name: value for name, value in asdict(one.video).items() if name != "segment"},
            "backend": one.backend,
            "device": one.device,
            "precision": one.precision,
            "decoder": one.decoder,
            **({"range-minutes": self.range_minutes} if one.options.track and not self.whole_because else {}),
        }
        plain: Mapping[str, object] = json.loads(json.dumps(settings, default=str))
        return plain
