"""What a run over an archive tells: `ArchiveProgress` while it lasts, `ArchiveReport` afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArchiveProgress:
    """Counts so far."""

    done: int  # videos, by this run or before it, and those that failed
    videos: int
    frames: int  # by this run


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """What became of an archive; `videos == before + done + len(failed) + left`."""

    videos: int
    before: int  # videos that earlier runs have done
    done: int  # videos that this run has done
    failed: Mapping[str, str]  # why there are no results, by video
    damaged: Mapping[str, str]  # what results lack, by video, also of earlier runs
    left: int  # videos that an interrupted run did not come to
    frames: int  # of what this run has done
    instances: int | None  # likewise; None with a model that looks for none
    died: int  # workers that ended by themselves
    workers: int
    seconds: float

    @property
    def fps(self) -> float:
        """Frames per second of wall time."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def to_record(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {
            "videos": {
                "all": self.videos,
                "before": self.before,
                "done": self.done,
                "failed": len(self.failed),
                "left": self.left,
            },
            "failed": dict(self.failed),
            "damaged": dict(self.damaged),
            "frames": self.frames,
            "instances": self.instances,
            "died": self.died,
            "workers": self.workers,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
        }
