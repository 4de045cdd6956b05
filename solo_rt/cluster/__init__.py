"""Archives: many videos worked off by several processes of this machine, or of a Ray cluster; `work_off` does it all.

    archive -> videos -> manifest: which are left? -> units -> workers -> results -> manifest

A unit is a video or, of a long one, a range of time; results of ranges are merged when the last one is there.

A worker is a process that runs the very pipeline of `solo-rt run` on one video at a time. Those of this machine come
from `processes`, those of a cluster from `actors`; a `Crew` is the same with both. Frames never travel: a worker gets
paths, and gives back what it has written. Results are written under other names, and get their own when they are
whole, before the manifest says so; whatever is killed costs no more than what was under way.
"""

from __future__ import annotations

from solo_rt.cluster.archive import Archive
from solo_rt.cluster.report import ArchiveProgress, ArchiveReport
from solo_rt.cluster.run import work_off

__all__ = ["Archive", "ArchiveProgress", "ArchiveReport", "work_off"]
