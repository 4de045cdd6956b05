"""What zones tell, as tables: a row per event, and a row per minute, zone and class."""

from __future__ import annotations

import csv
import errno
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import info, yuv_frame
from found import CLASSES, result

from solo_rt.errors import SinkError, UsageError
from solo_rt.events import Event, ZoneState
from solo_rt.pipeline import Pipeline
from solo_rt.result import Result
from solo_rt.sink import Gap, open_sink
from solo_rt.sink.address import check_needs

POINTS = np.zeros((3, 2), np.float32)


def room(inside=(), entered=(), left=()) -> ZoneState:
    return ZoneState("room", POINTS, False, dict(inside), dict(entered), dict(left))


def gate(forward=(), backward=()) -> ZoneState:
    return ZoneState("gate, main", POINTS[:2], True, {}, dict(forward), dict(backward))


def at(seconds: float, *zones: ZoneState, events: Sequence[Event] = (), captured_at: float = 0.0) -> Result:
    """Return a result of a frame at that time."""
    frame = replace(yuv_frame(int(seconds * 30)), time_base=Fraction(1, 1000), pts=round(seconds * 1000))
    frame = replace(frame, captured_at=captured_at)
    return replace(result(0, frame=frame), zones=zones, events=tuple(events))


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def write(uri: str, *results: Result, live: bool = False) -> None:
    with open_sink(uri, info=info(live=live), classes=CLASSES) as sink:
        assert not sink.needs_picture
        for one in results:
            sink.write(one)


def test_every_event_is_a_row(tmp_path: Path) -> None:
    events = [Event("enter", "room", 3, 1), Event("leave", "room", 3, 1, seconds=2.5)]
    crossings = [Event("cross", "gate, main", 4, 0, forward=forward) for forward in (True, False)]
    write(f"events:{tmp_path}/a.csv", at(1), at(1.5, events=events), at(2), at(3, events=crossings))
    assert table(tmp_path / "a.csv") == [
        ["frame", "time_s", "event", "zone", "track_id", "class", "direction", "seconds"],
        ["45", "1.5", "enter", "room", "3", "big dog", "", ""],
        ["45", "1.5", "leave", "room", "3", "big dog", "", "2.5"],
        ["90", "3.0", "cross", "gate, main", "4", "cat", "forward", ""],
        ["90", "3.0", "cross", "gate, main", "4", "cat", "backward", ""],
    ]


def test_nothing_happened_is_a_table_with_its_heading(tmp_path: Path) -> None:
    write(f"events:{tmp_path}/a.csv", at(1), at(2))
    write(f"counts:{tmp_path}/b.csv", at(1, room()), at(2, room(), gate()))
    assert [len(table(tmp_path / name)) for name in ("a.csv", "b.csv")] == [1, 1]


def test_events_of_live_sources_have_the_time_on_the_wall(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("solo_rt.sink.wall_clock.time.time", lambda: 5000.0)
    monkeypatch.setattr("solo_rt.sink.wall_clock.time.monotonic", lambda: 1000.0)
    write(f"events:{tmp_path}/a.csv", at(1, events=[Event("enter", "room", 3, 1)], captured_at=1000.25), live=True)
    assert [row[:4] for row in table(tmp_path / "a.csv")] == [
        ["frame", "time_s", "wall_time", "event"],
        ["30", "1.0", "5000.25", "enter"],
    ]


def test_counts_are_those_of_each_minute(tmp_path: Path) -> None:
    write(
        f"counts:{tmp_path}/a.csv",
        at(0, room({0: 1}, {0: 1}), gate()),
        at(59.9, room({0: 2}, {0: 3}, {0: 1}), gate({1: 2})),
        at(60, room({0: 2}, {0: 3}, {0: 1}), gate({1: 2})),
        at(119, room({0: 1, 1: 1}, {1: 1, 0: 3}, {0: 2}), gate({1: 2}, {1: 1})),
        at(185, room({0: 1}, {0: 3, 1: 1}, {0: 2, 1: 1}), gate({1: 2}, {1: 1})),
        at(240, room({}, {0: 3, 1: 1}, {0: 3, 1: 1}), gate({1: 2}, {1: 1})),
        at(300, room({}, {0: 3, 1: 1}, {0: 3, 1: 1}), gate({1: 2}, {1: 1})),
    )
    assert table(tmp_path / "a.csv") == [
        ["minute", "zone", "class", "entered", "left", "inside"],
        ["0", "room", "cat", "3", "1", "2"],
        ["0", "gate, main", "big dog", "2", "0", ""],
        ["60", "room", "cat", "0", "1", "1"],
        ["60", "room", "big dog", "1", "0", "1"],
        ["60", "gate, main", "big dog", "0", "1", ""],
        ["180", "room", "cat", "0", "0", "1"],
        ["180", "room", "big dog", "0", "1", "0"],
        ["240", "room", "cat", "0", "1", "0"],
    ]


def test_minutes_of_live_sources_are_those_of_the_clock_in_utc(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("solo_rt.sink.wall_clock.time.time", lambda: 1_700_000_000.0)  # 22:13:20 UTC
    monkeypatch.setattr("solo_rt.sink.wall_clock.time.monotonic", lambda: 0.0)
    zones = [room({0: n}, {0: n}) for n in (1, 2, 3)]
    results = [at(0, zone, captured_at=captured) for zone, captured in zip(zones, (0.0, 39.0, 40.0), strict=True)]
    write(f"counts:{tmp_path}/a.csv", *results, live=True)
    assert table(tmp_path / "a.csv")[1:] == [
        ["2023-11-14T22:13Z", "room", "cat", "2", "0", "2"],
        ["2023-11-14T22:14Z", "room", "cat", "1", "0", "3"],
    ]


def test_a_killed_run_has_all_minutes_but_the_last(tmp_path: Path) -> None:
    sink = open_sink(f"counts:{tmp_path}/a.csv", info=info(), classes=CLASSES)
    for seconds, entered in ((0, 1), (60, 2), (120, 3)):
        sink.write(at(seconds, room({0: entered}, {0: entered})))
    assert [row[0] for row in table(tmp_path / "a.csv")[1:]] == ["0", "60"]
    sink.close()
    sink.close()
    assert [row[0] for row in table(tmp_path / "a.csv")[1:]] == ["0", "60", "120"]


def test_counts_of_a_gap_are_in_the_next_rows(tmp_path: Path, monkeypatch) -> None:
    """A full disk costs minutes, not counts: their sum is what was counted."""
    with open_sink(f"counts:{tmp_path}/a.csv", info=info(), classes=CLASSES) as sink:
        sink.write(at(0, room({0: 1}, {0: 1})))
        with monkeypatch.context() as full:
            full.setattr("solo_rt.sink.output_file.os.write", _no_space)
            with pytest.raises(SinkError, match="writing failed after 1 frames"):
                sink.write(at(60, room({0: 2}, {0: 2})))
        sink.resume(Gap(2, 1))
        sink.write(at(120, room({0: 5}, {0: 5})))
    assert [row[3] for row in table(tmp_path / "a.csv")[1:]] == ["1", "4"]


def test_events_go_on_behind_a_gap(tmp_path: Path, monkeypatch) -> None:
    happened = [Event("enter", "room", 3, 1)]
    with open_sink(f"events:{tmp_path}/a.csv", info=info(), classes=CLASSES) as sink:
        sink.write(at(0, events=happened))
        with monkeypatch.context() as full:
            full.setattr("solo_rt.sink.output_file.os.write", _no_space)
            with pytest.raises(SinkError, match="writing failed after 1 frames"):
                sink.write(at(1, events=happened))
        sink.resume(Gap(1, 1))
        sink.write(at(2, events=happened))
    assert [row[0] for row in table(tmp_path / "a.csv")] == ["frame", "0", "60"]


def test_tables_of_zones_need_zones_and_objects(tmp_path: Path) -> None:
    for uri in ("events:a.csv", "counts:a.csv"):
        with pytest.raises(UsageError, match=f"output {uri}: it holds what zones tell, and there are none"):
            check_needs(["a.csv", uri], has_zones=False, has_tracks=False)
        check_needs(["a.csv", uri], has_zones=True, has_tracks=True)
        with pytest.raises(UsageError, match="expected a model that finds objects"):
            open_sink(f"{uri[:6]}:{tmp_path}/a.csv", info=info(), palette=[(1, 2, 3)])
    check_needs(["a.csv", "coco:a.json"], has_zones=False, has_tracks=False)


@pytest.mark.parametrize("uri", ["mots:a.txt", "ytvis:a.json"])
def test_results_by_track_need_tracks(uri: str) -> None:
    with pytest.raises(
        UsageError, match=f"output {uri}: it holds objects that are followed, and none are; add --track"
    ):
        Pipeline("no.mp4", sinks=[uri]).run()
    check_needs([uri], has_zones=False, has_tracks=True)


def _no_space(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")
