"""Where the results of a video go: addresses in which `{source}` is its path inside the archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from solo_rt.cluster.videos import Video
from solo_rt.errors import UsageError
from solo_rt.pipeline.paths import PLACE
from solo_rt.sink import pictures, records
from solo_rt.sink.address import FILES, split
from solo_rt.sink.encoding import CONTAINERS
from solo_rt.source.ranges import WHOLE, Range
from solo_rt.uri import redact, scheme

DEFAULT = f"{PLACE}.jsonl"
RANGES = ".ranges"  # folder of what is there of videos that are not done, inside that of the results
SUFFIXES = (*records.SUFFIXES, ".csv", ".parquet", *CONTAINERS, *pictures.FORMATS)


@dataclass(frozen=True, slots=True)
class Written:
    """A file of results."""

    path: str  # inside the folder of the results
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an output of a video is written, and where it goes once it is whole."""

    part: str  # address for a sink
    path: str  # inside the folder of the results

    @property
    def part_path(self) -> Path:
        """The file that the sink writes."""
        return Path(split(self.part)[1])


def check_outputs(outputs: Sequence[str]) -> None:
    """Raise UsageError for what is not one file per video inside the folder."""
    for output in outputs:
        kind, place = split(output)
        path = PurePosixPath(place)
        is_inside = not (scheme(place) or path.is_absolute() or ".." in path.parts or place.startswith("~"))
        is_file = kind in FILES or (not kind and path.suffix.lower() in SUFFIXES)
        if not (is_inside and is_file and PLACE in place and "*" not in place):
            raise UsageError(
                f"output {redact(output)}: with --output-dir expected one file per video inside that folder, "
                f"as in {PLACE}.jsonl, {PLACE}.parquet or {PLACE}.mp4"
            )


def result_path(output: str, video: Video, part: Range = WHOLE) -> str:
    """Return where an output of a video goes, or that of a range of it, inside the folder of the results."""
    path = PurePosixPath(split(output)[1].replace(PLACE, video.name))
    return str(path if part == WHOLE else PurePosixPath(RANGES, path, f"{part.start or 0}{path.suffix}"))


def places_of(
    outputs: Sequence[str], video: Video, part: Range = WHOLE, *, parts: Path, worker: str
) -> tuple[Place, ...]:
    """Return the places of the outputs of a video, or of a range, while a worker writes them in the folder `parts`."""
    places = []
    for number, output in enumerate(outputs):
        kind, path = split(output)[0], result_path(output, video, part)
        file = parts / f"{worker}-{number}{PurePosixPath(path).suffix}"
        places.append(Place(f"{kind}:{file}" if kind else str(file), path))
    return tuple(places)


def check_paths(outputs: Sequence[str], videos: Iterable[Video], *, taken: str) -> None:
    """Raise UsageError where two results, or one and the file called `taken`, would be the same file."""
    seen = {taken: "the list of what is done"}
    for video in videos:
        for output in outputs:
            path = result_path(output, video)
            if path in seen:
                raise UsageError(f"output {path} is that of {seen[path]} and of {video.name}; choose other outputs")
            seen[path] = video.name
