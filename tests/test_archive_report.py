"""What became of an archive, in figures."""

from __future__ import annotations

import pytest

from solo_rt.cluster import ArchiveReport


@pytest.mark.parametrize(("seconds", "fps"), [(4.0, 25.0), (0.5, 200.0), (0.0, 0.0)])
def test_the_rate_is_that_of_wall_time(seconds, fps):
    counts = {"videos": 1, "before": 0, "done": 1, "left": 0, "frames": 100, "instances": None, "died": 0, "workers": 1}
    report = ArchiveReport(**counts, failed={}, damaged={}, seconds=seconds)
    assert report.fps == report.to_record()["fps"] == fps
