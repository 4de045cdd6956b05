"""Owners of cameras that are actors, as their fleet sees them, with Ray on this thread."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_ray import FakeActor, FakeRay, LostActor

from solo_rt import Pipeline, __version__
from solo_rt.cluster import owners, room
from solo_rt.cluster.camera import Camera, Figures
from solo_rt.cluster.owners import NEWEST_SECONDS, RayOwner, RayOwners
from solo_rt.cluster.ray_cluster import Machine
from solo_rt.cluster.worker import Start
from solo_rt.errors import EngineError, UsageError

LIVE = {"door": Figures("live")}


class Whole:
    """What runs in the process of an actor."""

    def __init__(self, *told, said="here"):
        self.told, self.said, self.owned = told, said, None

    def begin(self):
        return self.said

    def own(self, cameras, outputs):
        self.owned = cameras, outputs

    def report(self):
        return LIVE

    def newest(self, camera):
        return f"of {camera}"

    def finish(self):
        return LIVE


@pytest.fixture
def ray(monkeypatch):
    """Return a cluster in the place of a real one, whose actors say what is put into it."""
    one = FakeRay(Machine(4.0, 0.0), Machine(2.0, 0.0))
    monkeypatch.setattr(room, "RayCluster", lambda address: one)
    monkeypatch.setattr(owners, "CameraOwner", Whole)
    return one


def hire(**changed):
    settings = {"owners": None, "device": "auto", "model_sha256": "abc", "paths": [Path("shared")]}
    return RayOwners("auto", Start(Pipeline(threads=2), 0), **{**settings, **changed})


def test_an_owner_says_where_it_is_once_the_model_is_open_and_then_how_its_cameras_are(ray) -> None:
    owner = hire().hire()
    ray.is_silent = True
    assert (owner.hear(), owner.place) == (None, "")
    ray.is_silent = False
    assert (owner.hear(), owner.place) == (None, "here")
    assert [owner.hear(), owner.hear()] == [LIVE, LIVE]
    assert not any(ray.waited), "the fleet has others to look after"


def test_there_are_as_many_owners_as_the_cluster_has_room_for_each_with_its_cpus(ray) -> None:
    hiring = hire()
    assert hiring.size == 3
    assert hiring.hire().name != hiring.hire().name
    (settings,) = ray.asked
    assert (settings["num_cpus"], settings["num_gpus"], settings["max_restarts"]) == (2, 0.0, 0)
    hiring.close()
    assert ray.is_left


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_owners_that_cannot_be_is_refused(ray, number) -> None:
    with pytest.raises(UsageError, match=f"workers must be at least 1, and at most 1024, got {number}"):
        hire(owners=number)


def test_a_cluster_without_room_is_left(ray) -> None:
    with pytest.raises(UsageError, match="lends a GPU"):
        hire(device="cuda")
    assert ray.is_left


def test_an_owner_gets_cameras_and_gives_the_newest_result_of_one(ray) -> None:
    whole = Whole()
    ray.remote = lambda **_: lambda kind: SimpleNamespace(remote=lambda *told: FakeActor(whole))
    owner = hire().hire()
    owner.own((Camera("door", "camera:0"),), ("{source}.jsonl",))
    assert whole.owned == ([Camera("door", "camera:0")], ["{source}.jsonl"])
    assert owner.newest("door") == "of door"
    owner.finish()
    assert owner.ends(1.5) == LIVE
    assert ray.given_to_get == [NEWEST_SECONDS, 1.5]


def test_what_keeps_an_owner_from_the_model_is_raised(ray, monkeypatch) -> None:
    monkeypatch.setattr(Whole, "begin", lambda self: UsageError("another version"))
    with pytest.raises(UsageError, match="another version"):
        hire().hire().hear()


def test_an_owner_without_its_engine_is_lost_and_says_why(ray, monkeypatch, caplog) -> None:
    monkeypatch.setattr(Whole, "report", lambda self: EngineError("the card is lost"))
    owner = hire().hire()
    owner.hear()
    with pytest.raises(EOFError):
        owner.hear()
    assert caplog.messages == [f"{owner.name} on here: the card is lost"]


def test_an_owner_that_is_lost_says_so_and_nothing_else() -> None:
    ray = FakeRay()
    owner = RayOwner(ray, LostActor("The actor died unexpectedly"))
    with pytest.raises(EOFError):
        owner.hear()
    assert (owner.newest("door"), owner.ends(1.0)) == ("", {})
    ray.kill = lambda actor: 1 / 0
    owner.end()


def test_a_machine_without_solo_rt_is_named_for_what_it_lacks() -> None:
    with pytest.raises(UsageError, match=f"install {__version__} on all machines"):
        RayOwner(FakeRay(), LostActor("No module named 'solo_rt'")).hear()


def test_a_cluster_that_goes_away_ends_the_fleet(ray) -> None:
    owner = hire().hire()
    ray.is_gone = True
    with pytest.raises(EngineError, match="the cluster is gone; start the fleet again"):
        owner.hear()
