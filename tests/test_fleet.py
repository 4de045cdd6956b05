"""A fleet of cameras whose owners come, go and fall silent, by a clock of the test's own."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from fake_owners import LIVE, FakeOwner, FakeOwners

from solo_rt.cluster import fleet as fleets
from solo_rt.cluster.camera import Camera
from solo_rt.cluster.fleet import Fleet
from solo_rt.errors import EngineError, UsageError


class Play:
    """Runs a fleet; `acts` are what happens at each look, half a second apart."""

    def __init__(self, monkeypatch, owners, acts, *, cameras=4):
        self.now, self.seen, self.reasons, self.statuses = 100.0, [], [], []
        self._acts, self._stop = list(acts), threading.Event()
        monkeypatch.setattr(fleets, "LOOK_SECONDS", 0.0)
        sources = {f"cam{i}": f"test://{i}?live=1" for i in range(cameras)}
        self._fleet = Fleet(sources, ["{source}.jsonl"], on_status=self._look, clock=lambda: self.now)
        self.report = self._fleet.run(owners, self._stop)

    def _look(self, status):
        self.statuses.append(status)
        self.seen.append({name: camera.owner for name, camera in status.cameras.items()})
        self.reasons.append([camera.figures.reason for camera in status.cameras.values()])
        self.now += 0.5
        if self._acts:
            self._acts.pop(0)()
        else:
            self._stop.set()


def nothing():
    """Let half a second pass."""


def test_cameras_are_shared_out_once_owners_are_ready_and_stay(monkeypatch) -> None:
    owners = FakeOwners(2)
    play = Play(monkeypatch, owners, [nothing] * 100)
    assert sorted(len(owner.cameras) for owner in owners.hired) == [2, 2]
    assert len({tuple(seen.items()) for seen in play.seen[2:]}) == 1
    assert (play.report.lost, play.report.moved) == (0, 0)
    assert all(owner.is_ended for owner in owners.hired)
    assert {one.figures.state for one in play.report.cameras.values()} == {"ended"}
    assert play.report.seconds == 0.5 * 102
    assert {owner.finished_within for owner in owners.hired} == {fleets.FINISH_SECONDS}


def test_all_owners_are_told_to_finish_before_one_is_waited_for(monkeypatch) -> None:
    owners = FakeOwners(3)
    told = []

    def ends(owner, seconds):
        told.append([other.is_finishing for other in owners.hired])
        return {}

    monkeypatch.setattr(FakeOwner, "ends", ends)
    Play(monkeypatch, owners, [nothing] * 3)
    assert told == [[True] * 3] * 3


def test_cameras_move_once_it_is_known_what_they_cost(monkeypatch) -> None:
    dear = {"cam0": replace(LIVE, seconds=0.03)}
    owners = FakeOwners(2, said=[[dear]])
    play = Play(monkeypatch, owners, [nothing] * 70)
    assert [len(owner.cameras) for owner in owners.hired] == [1, 3]
    assert owners.hired[0].cameras[0].name == "cam0"
    assert (play.report.moved, play.report.lost, play.report.longest_gap) == (1, 0, 0.0)


@pytest.mark.parametrize(("looks", "moved"), [(20, 0), (40, 2)])
def test_cameras_wait_a_moment_for_all_owners_before_they_are_shared_out(monkeypatch, looks, moved) -> None:
    owners = FakeOwners(2, looks=(1, looks))
    play = Play(monkeypatch, owners, [nothing] * 60)
    assert set(play.seen[18].values()) == {""}, "the second one may come yet"
    assert set(play.seen[35].values()) == ({"owner0", "owner1"} if moved == 0 else {"owner0"})
    assert sorted(len(owner.cameras) for owner in owners.hired) == [2, 2]
    assert play.report.moved == moved


def test_cameras_of_a_lost_owner_run_elsewhere_at_once_and_into_other_files(monkeypatch) -> None:
    owners = FakeOwners(2)

    orphans: list[str] = []

    def lose():
        owners.hired[0].is_lost = True
        orphans.extend(camera.name for camera in owners.hired[0].cameras)

    play = Play(monkeypatch, owners, [*[nothing] * 4, lose, *[nothing] * 4])
    turns = {camera.name: camera.turn for owner in owners.hired[1:] for camera in owner.cameras}
    assert len(orphans) == 2
    assert all(turns[name] >= 1 for name in orphans)
    assert (play.report.lost, play.report.moved) == (1, 4), "two to who is left, two from there to the new one"
    assert play.report.longest_gap == 1.0, "from its last word to the first results of the next one"
    assert len(owners.hired) == 3, "another one takes its place"


def test_a_status_counts_owners_and_those_that_were_lost_and_tells_the_newest_result(monkeypatch) -> None:
    owners = FakeOwners(2, looks=(1, 3))

    def lose():
        owners.hired[0].is_lost = True

    play = Play(monkeypatch, owners, [*[nothing] * 4, lose, *[nothing] * 4])
    counted = [(one.owners, one.lost) for one in play.statuses]
    assert counted == [*[(1, 0)] * 2, *[(2, 0)] * 3, (1, 1), *[(2, 1)] * 5]
    assert play.statuses[0].cameras["cam0"].newest() == "", "nobody owns it yet"
    newest = {name: camera.newest() for name, camera in play.statuses[5].cameras.items()}
    assert newest == {name: f"owner1's of {name}" for name in newest}


def test_an_owner_that_says_nothing_is_lost_after_five_seconds(monkeypatch) -> None:
    owners = FakeOwners(2)

    def silence():
        owners.hired[0].is_silent = True

    play = Play(monkeypatch, owners, [*[nothing] * 4, silence, *[nothing] * 9])
    assert play.report.lost == 0
    owners = FakeOwners(2)
    play = Play(monkeypatch, owners, [*[nothing] * 4, silence, *[nothing] * 15])
    assert play.report.lost == 1
    assert owners.hired[0].is_ended, "or it would go on"
    assert play.report.longest_gap > fleets.SILENT_SECONDS
    assert {"owner0 was lost"} <= {reason for seen in play.reasons for reason in seen}


def test_without_any_owner_left_cameras_wait_for_a_new_one(monkeypatch) -> None:
    owners = FakeOwners(1)

    def lose():
        owners.hired[0].is_lost = True

    Play(monkeypatch, owners, [*[nothing] * 3, lose, *[nothing] * 4])
    assert [camera.turn for camera in owners.hired[1].cameras] == [1] * 4


def test_owners_that_die_of_the_model_end_the_fleet(monkeypatch) -> None:
    with pytest.raises(EngineError, match="3 owners of cameras ended one after the other"):
        Play(monkeypatch, FakeOwners(1, opens=False), [nothing] * 50)


@pytest.mark.parametrize(("looks", "tries"), [(20, 3), (100, 4)])
def test_owners_that_die_where_another_one_is_at_work_are_tried_again_now_and_then(monkeypatch, looks, tries) -> None:
    owners = FakeOwners(2)

    def let_others_die():
        owners.hired[1].is_lost = True
        owners._opens = False

    play = Play(monkeypatch, owners, [*[nothing] * 4, let_others_die, *[nothing] * looks])
    assert len(owners.hired) == 2 + tries
    assert set(play.seen[-1].values()) == {"owner0"}
    assert play.report.lost == 1, "the others were never there"


def test_a_lost_owner_is_replaced_at_once_also_where_others_have_died(monkeypatch) -> None:
    owners = FakeOwners(2)

    def let_others_die():
        owners.hired[1].is_lost = True
        owners._opens = False

    def lose_the_last_one():
        owners.hired[0].is_lost = True
        owners._opens = True

    play = Play(monkeypatch, owners, [*[nothing] * 4, let_others_die, *[nothing] * 9, lose_the_last_one, nothing])
    assert len(owners.hired) == 2 + 3 + 2, "three died, and both places are free"
    assert play.report.lost == 2


def test_what_keeps_an_owner_from_beginning_ends_the_fleet_and_all_owners(monkeypatch) -> None:
    def refuse(self):
        raise UsageError("another version")

    owners = FakeOwners(2)
    monkeypatch.setattr(FakeOwner, "hear", refuse)
    with pytest.raises(UsageError, match="another version"):
        Play(monkeypatch, owners, [])
    assert all(owner.is_ended for owner in owners.hired)


def test_an_owner_that_cannot_begin_where_others_run_cameras_is_done_without(monkeypatch, caplog) -> None:
    owners = FakeOwners(2, looks=(1, 2))
    hear = FakeOwner.hear

    def refuse(self):
        if self.name == "owner0" or self.place:
            return hear(self)
        raise UsageError("owner of cameras on other: another version")

    monkeypatch.setattr(FakeOwner, "hear", refuse)
    play = Play(monkeypatch, owners, [nothing] * 100)
    assert set(play.seen[-1].values()) == {"owner0"}
    assert len(owners.hired) == 3, "another one after half a minute"
    assert all(owner.is_ended for owner in owners.hired)
    assert (
        caplog.messages
        == ["owner of cameras on other: another version; the others go on without it, and another one is tried in 30 s"]
        * 2
    )


def test_why_a_camera_has_failed_is_said_once(monkeypatch, caplog) -> None:
    gone, back = replace(LIVE, state="failed", reason="no such camera"), {}
    Play(monkeypatch, FakeOwners(1, said=[[{"cam1": gone}] * 3 + [back] + [{"cam1": gone}]]), [nothing] * 9)
    assert caplog.messages == ["cam1: no such camera; it is tried again every 5 s"] * 2


def test_streams_are_those_of_the_camera_whoever_owns_it() -> None:
    camera = Camera("door", "rtsp://x", turn=2)
    wanted = ["{source}.jsonl", "redis://host/{source}", "rtsp://media/{source}"]
    assert camera.outputs(wanted) == ["door+3.jsonl", "redis://host/door", "rtsp://media/door"]
