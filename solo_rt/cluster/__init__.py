"""More than one process: archives of videos, on this machine or a Ray cluster, and fleets of cameras on a cluster.

Of an archive `process_archive` does it all:

    archive -> videos -> manifest: which are left? -> units -> workers -> results -> manifest

A unit is a video or, of a long one, a range of time; results of ranges are merged when the last one is there. A worker
is a process that runs the very pipeline of `solo-rt run` on one video at a time. Those of this machine come from
`processes`, those of a cluster from `actors`; a `Crew` is the same with both. Frames never travel: a worker gets paths,
and gives back what it has written. Results are written under other names, and get their own when they are whole,
before the manifest says so; whatever is killed costs no more than what was under way.

In a fleet (`fleet`) every camera has an owner (`camera_owner`), a process that runs it, and another one if it is lost.
"""

from __future__ import annotations

from solo_rt.cluster.archive import Archive
from solo_rt.cluster.report import ArchiveProgress, ArchiveReport
from solo_rt.cluster.run import process_archive

__all__ = ["Archive", "ArchiveProgress", "ArchiveReport", "process_archive"]
