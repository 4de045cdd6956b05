"""Workers on other machines: what each must have, what it gets, and how one that is lost is found out."""

from __future__ import annotations

import logging
import pickle
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from clips import write_clip
from fake_ray import FakeRay, LostActor
from fakes import write_tiny_model

from solo_rt import Pipeline, __version__
from solo_rt.cluster import crew as crew_module
from solo_rt.cluster import process_archive, room
from solo_rt.cluster.actor import Actor, check
from solo_rt.cluster.actors import Actors, RayWorker
from solo_rt.cluster.archive import Archive
from solo_rt.cluster.crew import Crew
from solo_rt.cluster.ray_cluster import Machine
from solo_rt.cluster.room import Share, share_out
from solo_rt.cluster.worker import Outcome, Ready, Said, Start
from solo_rt.errors import EngineError, SoloRTError, UsageError
from solo_rt.files import file_sha256
from solo_rt.sink import VideoOptions


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_model(tmp_path / "tiny.onnx")


@pytest.fixture
def told(tiny, tmp_path):
    """Return what an actor is told, by name."""
    start = Start(Pipeline(model=tiny, backend="onnxruntime"), logging.INFO)
    return {
        "version": __version__,
        "model_sha256": file_sha256(tiny),
        "paths": [str(tmp_path)],
        "start": pickle.dumps(start),
    }


@pytest.fixture
def cluster(monkeypatch):
    """Return a function that puts a cluster of these machines in the place of a real one."""

    def join(*machines):
        ray = FakeRay(*machines)
        monkeypatch.setattr(room, "RayCluster", lambda address: ray)
        return ray

    return join


def employ(**changed):
    settings = {"workers": None, "threads": None, "device": "auto", "model_sha256": "", "paths": []}
    return Actors("auto", **{**settings, **changed})


def test_an_archive_on_a_cluster_is_that_of_this_machine(tiny, tmp_path, cluster, monkeypatch):
    ray = cluster(Machine(2.0, 0.0), Machine(1.0, 0.0))
    for number in (3, 5):
        (tmp_path / "archive").mkdir(exist_ok=True)
        write_clip(tmp_path / "archive" / f"{number}.mkv", count=number)
    monkeypatch.chdir(tmp_path)
    for folder, address in (("here", None), ("there", "auto")):
        pipeline = Pipeline(model=tiny, backend="onnxruntime")
        report = process_archive(Archive(["archive"], Path(folder), pipeline, workers=1, cluster=address))
        assert (report.done, report.frames, report.workers, report.failed) == (2, 8, 1, {})
    for name in ("3.mkv.jsonl", "5.mkv.jsonl"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert ray.is_left
    assert len(ray.killed) == 1
    settings = ray.asked[0]
    assert (settings["num_cpus"], settings["num_gpus"], settings["max_restarts"]) == (2, 0.0, 0)


def test_a_cluster_that_lends_too_little_is_left_before_anything_is_written(tiny, tmp_path, cluster):
    ray = cluster(Machine(2.0, 0.0))
    write_clip(tmp_path / "one.mkv", count=1)
    pipeline = Pipeline(model=tiny, threads=4)
    with pytest.raises(UsageError, match="expected a machine that lends 4 CPUs, got 1 with at most 2"):
        process_archive(Archive([str(tmp_path / "one.mkv")], tmp_path / "results", pipeline, cluster="auto"))
    assert ray.is_left
    assert not (tmp_path / "results").exists()


def test_the_encoder_of_a_card_is_that_of_the_machines_of_the_cluster(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("solo_rt.sink.encoding.require_gpu", lambda *_: 1 / 0)
    pipeline = Pipeline(model=tiny, device="cuda", video=VideoOptions(encoder="nvenc"))
    Archive([str(tmp_path)], tmp_path / "results", pipeline, ["{source}.mp4"], cluster="auto")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": "0.1"}, f"expected solo-rt 0.1, got {__version__}; install the same on all machines"),
        ({"model_sha256": "00"}, "expected the model of the run, got another"),
        ({"paths": ["/nowhere/results"]}, "/nowhere/results: it is not there; expected a file system that all"),
        ({"version": "0.1", "start": b"of another version"}, "expected solo-rt 0.1"),
    ],
)
def test_a_machine_without_what_it_needs_says_so(told, changed, message):
    with pytest.raises(UsageError, match=message):
        check(**{**told, **changed})
    said = Actor(folder="/nowhere", **{**told, **changed}).hear()
    assert isinstance(said, UsageError)
    assert str(said).startswith("worker on ")
    assert message in str(said)


def test_a_machine_without_the_model_says_so(told, tiny):
    tiny.unlink()
    with pytest.raises(UsageError, match=r"tiny\.onnx: no such model file"):
        check(**told)


def test_an_actor_says_that_it_is_ready_and_what_is_logged(told):
    actor = Actor(folder="/nowhere", **told)
    said = [actor.hear()]
    while not isinstance(said[-1], (Ready, SoloRTError)):
        said.append(actor.hear())
    assert said[-1].engine.startswith("onnxruntime cpu")
    assert any(isinstance(one, Said) and "model tiny on onnxruntime" in one.text for one in said)


@pytest.mark.parametrize(
    ("machines", "wanted", "share"),
    [
        ([(8, 0), (8, 0)], {}, Share(8, 2, 0.0)),
        ([(1, 0), (1, 0)], {}, Share(2, 1, 0.0)),
        ([(1, 0), (1, 0)], {"workers": 5}, Share(2, 1, 0.0)),
        ([(8, 0), (8, 0)], {"workers": 4}, Share(4, 4, 0.0)),
        ([(8, 0), (8, 0)], {"workers": 1}, Share(1, 8, 0.0)),
        ([(8, 0), (3, 0)], {"threads": 4}, Share(2, 4, 0.0)),
        ([(8.5, 0)], {"threads": 1, "workers": 3}, Share(3, 1, 0.0)),
        ([(8, 2), (8, 0)], {"device": "cuda"}, Share(2, 2, 1.0)),
        ([(8, 1)], {"device": "cuda", "workers": 3}, Share(3, 2, 1 / 3)),
        ([(8, 2)], {"device": "cuda", "workers": 3}, Share(3, 2, 0.5)),
        ([(16, 1), (2, 3)], {"device": "cuda"}, Share(2, 2, 1.0)),
        ([(16, 1), (2, 3)], {"device": "cuda", "workers": 6, "threads": 2}, Share(3, 2, 0.5)),
        ([(8, 2)], {"device": "auto"}, Share(4, 2, 0.0)),
    ],
)
def test_what_a_cluster_lends_is_shared_out(machines, wanted, share):
    machines = [Machine(float(cpus), float(gpus)) for cpus, gpus in machines]
    assert share_out(machines, **{"workers": None, "threads": None, "device": "cpu", **wanted}) == share


@pytest.mark.parametrize(
    ("machines", "wanted", "message"),
    [
        ([], {}, "expected a machine that lends 1 CPUs, got 0 with at most 0"),
        ([(4, 0)], {"threads": 5}, "lends 5 CPUs, got 1 with at most 4; say fewer --threads"),
        ([(4, 0)], {"device": "cuda"}, "device cuda: no machine of the cluster lends a GPU"),
        ([(4, 1)], {"device": "cuda:1"}, "device cuda:1: Ray chooses the GPU of each worker; say cuda"),
        ([(4, 0), (1, 1)], {"device": "cuda", "threads": 2}, "lends 2 CPUs and a GPU"),
    ],
)
def test_what_a_cluster_cannot_lend_is_refused(machines, wanted, message):
    machines = [Machine(float(cpus), float(gpus)) for cpus, gpus in machines]
    with pytest.raises(UsageError, match=message):
        share_out(machines, **{"workers": None, "threads": None, "device": "cpu", **wanted})


def test_machines_that_come_later_work_too_and_those_that_go_leave_no_room(cluster, monkeypatch):
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    ray = cluster(Machine(2.0, 0.0))
    free, bound = employ(threads=1), employ(threads=1, workers=3)
    seen = []
    for machines in ([2.0], [2.0, 4.0], [4.0], []):
        ray.machines_ = [Machine(cpus, 0.0) for cpus in machines]
        seen.append((free.size, bound.size))
    assert seen == [(2, 2), (6, 3), (4, 3), (1, 1)]
    ray.machines = lambda: 1 / 0  # it is gone
    assert (free.size, bound.size) == (1, 1)


@pytest.mark.parametrize(
    ("taken", "words"), [(2, []), (3, ["1 of its CPUs are free, and a worker takes 2; the run waits"])]
)
def test_a_cluster_that_others_have_taken_is_said_to_be_waited_for(cluster, caplog, taken, words):
    cluster(Machine(4.0, 0.0)).taken = taken
    employ()
    assert len(caplog.messages) == len(words)
    assert all(word in message for word, message in zip(words, caplog.messages, strict=True))


def test_an_actor_that_is_lost_has_ended():
    worker = RayWorker(FakeRay(), LostActor("The actor died unexpectedly\nat length"))
    with pytest.raises(EOFError):
        worker.receive()
    assert worker.end() == "its process or its machine"


@pytest.mark.parametrize("text", ["The actor failed to import on the worker", "No module named 'solo_rt'"])
def test_a_machine_without_solo_rt_is_named_for_what_it_lacks(text):
    with pytest.raises(UsageError, match=f"install {__version__} on all machines"):
        RayWorker(FakeRay(), LostActor(text)).receive()


def test_a_cluster_that_goes_away_ends_the_run(cluster):
    ray = cluster(Machine(1.0, 0.0))
    employer = employ()
    ray.is_gone = True
    with pytest.raises(EngineError, match="cluster auto: it is gone; start the run again"):
        employer.wait([], 0.1)


def test_a_worker_that_cannot_be_killed_any_more_has_ended(monkeypatch):
    ray = FakeRay()
    ray.kill = lambda actor: 1 / 0
    assert RayWorker(ray, LostActor("")).end()


class Scripted:
    """An employer whose workers say what they are given to say."""

    def __init__(self, *scripts, size=2):
        self.size, self.threads, self._scripts = size, 1, [list(script) for script in scripts]
        self.hired, self.starts = [], []

    def hire(self, start):
        self.starts.append(start.pipeline)
        script = self._scripts.pop(0)
        self.hired.append(
            SimpleNamespace(
                name=f"w{len(self.hired)}", job=None, engine="", end=lambda: "signal 9", receive=lambda: script.pop(0)
            )
        )
        return self.hired[-1]

    def wait(self, workers, seconds):
        return workers[-1:]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            Ready("onnxruntime cpu"),
            "w1 computes on onnxruntime cpu, others on openvino cpu bf16, so that results",
        ),
        (UsageError("expected solo-rt 2, got 1"), "expected solo-rt 2, got 1; the others go on, and another one is"),
    ],
)
def test_a_worker_that_cannot_begin_is_done_without_as_long_as_others_work(monkeypatch, caplog, said, words):
    employer = Scripted([Ready("openvino cpu bf16")], [said], [said])
    crew = Crew(Pipeline(), employer)
    for _ in range(2):
        crew.fill(5)
        list(crew.listen(0))
    assert words in caplog.text
    assert crew.idle() == employer.hired[:1]
    crew.fill(5)
    assert len(employer.hired) == 2, "nobody else is hired for a while"
    now = time.monotonic()
    monkeypatch.setattr("solo_rt.cluster.crew.time.monotonic", lambda: now + crew_module.HIRE_SECONDS)
    crew.fill(5)
    assert len(employer.hired) == 3


def test_a_worker_that_cannot_begin_ends_a_run_in_which_nobody_works():
    employer = Scripted([Ready("cpu"), Outcome(is_last=True)], [UsageError("no model")])
    crew = Crew(Pipeline(), employer)
    for _ in range(2):
        crew.fill(1)
        list(crew.listen(0))
    crew.fill(1)
    with pytest.raises(UsageError, match=r"^no model$"):
        list(crew.listen(0))


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("openvino cpu, 2 threads, int8, bf16", ("openvino", "int8")),
        ("openvino cpu, 1 thread, bf16", ("openvino", "bf16")),
        ("onnxruntime cuda:0", ("onnxruntime", "fp32")),
        ("tensorrt 10.16 fp16, H200", ("auto", "auto")),
    ],
)
def test_all_take_the_engine_of_the_first_whatever_their_machines_would_choose(engine, told):
    employer = Scripted([Ready(engine)], [Ready(engine.replace("2 threads", "4 threads"))])
    crew = Crew(Pipeline(), employer)
    for _ in range(2):
        crew.fill(5)
        list(crew.listen(0))
    assert [(start.backend, start.precision) for start in employer.starts] == [("auto", "auto"), told]
    assert len(crew.idle()) == 2


def test_the_engine_of_what_is_done_is_taken_or_the_run_ends_and_says_why():
    done = "openvino cpu, 2 threads, int8"
    employer = Scripted([Ready("openvino cpu, 1 thread, int8")])
    crew = Crew(Pipeline(), employer, engine=done)
    crew.fill(1)
    list(crew.listen(0))
    assert (employer.starts[0].backend, employer.starts[0].precision) == ("openvino", "int8")
    assert len(crew.idle()) == 1
    for said in (UsageError("no openvino"), Ready("openvino cpu, 1 thread, int8, bf16")):
        crew = Crew(Pipeline(), Scripted([said]), engine=done)
        crew.fill(1)
        with pytest.raises(SoloRTError, match="; what is done was computed on openvino cpu, int8, and the rest has to"):
            list(crew.listen(0))


def test_a_crew_grows_once_the_first_has_opened_the_model_and_no_larger_than_it_may():
    employer = Scripted([Ready("cpu")], [Ready("cpu")], [Outcome(is_last=True)])
    crew = Crew(Pipeline(), employer)
    crew.fill(5)
    assert (len(employer.hired), crew.idle()) == (1, [])
    list(crew.listen(0))
    assert crew.idle() == employer.hired
    crew.fill(1)
    assert len(employer.hired) == 1
    crew.fill(5)
    assert len(employer.hired) == 2
