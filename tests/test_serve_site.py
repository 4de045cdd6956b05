"""The page as a whole: what it tells of a run, and how it begins and ends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction

import pytest
from fakes import STREET_SPEC, FakeEngine, FakeSource, pipeline_threads, write_tiny_model
from sites import TOKEN, begin, connect, get, info, read_answer, request, seen, site, state

from solo_rt.errors import SourceError, UsageError
from solo_rt.events import Event, ZoneState
from solo_rt.pipeline import Pipeline
from solo_rt.pipeline.report import RunReport
from solo_rt.pipeline.running import run
from solo_rt.pipeline.timing import Stats
from solo_rt.serve import Site
from solo_rt.serve.metrics import write_metrics
from solo_rt.source import StateChange

pytestmark = pytest.mark.usefixtures("never_hang")

NO_STATS = Stats(0, *[0.0] * 6)
HOSTILE = '<img src=x onerror=alert(1)>"\\'


def one(served):
    (source,) = state(served)["sources"]
    return source


def test_a_source_is_connecting_until_its_run_begins_then_live_or_running():
    with site() as (served, _):
        served.hooks("cam0")
        assert one(served).items() >= {"state": "connecting", "results": 0}.items()
        begin(served, "cam0")
        assert one(served)["state"] == "live"
        begin(served, "cam0", live=False)
        assert one(served)["state"] == "running"


def test_a_source_that_runs_elsewhere_is_shown_by_what_is_told_of_it():
    with Site("127.0.0.1:0") as served:
        view = served.far_view("door")
        assert one(served).items() >= {"state": "connecting", "results": 0}.items()
        for owner, results in (("owner-1", 7), ("owner-2", 9)):
            view.tell("live", f"by {owner} on second", {"owner": owner, "results": results, "fps": 9.5})
        told = {"state": "live", "reason": "by owner-2 on second", "owner": "owner-2", "results": 9, "fps": 9.5}
        assert one(served).items() >= told.items()
        assert get(served, "/healthz").status == 200
        assert [event["state"] for event in events(served)[0][1]] == ["live"], "another owner is no other state"
        view.tell("failed", "by owner-2 on second, no camera", {"owner": "owner-2"})
        assert get(served, "/healthz").status == 503


def test_of_a_source_that_runs_elsewhere_there_is_the_newest_result_and_no_picture():
    with Site("127.0.0.1:0") as served:
        view = served.far_view("door")
        assert get(served, "/api/results/door").status == 503
        view.tell("live", "", {}, newest=lambda: '{"frame": 7}')
        assert json.loads(get(served, "/api/results/door").body) == {"frame": 7}
        for path in ("/sources/door.jpg", "/sources/door.mjpg"):
            answer = get(served, path)
            assert (answer.status, answer.error) == (404, "it runs on another machine, from which pictures do not come")


def test_pixels_that_are_no_squares_make_the_picture_wider():
    with Site("127.0.0.1:0") as served:
        hooks = served.hooks("cam0")
        hooks.on_start(replace(info(), pixel_aspect=Fraction(4, 3)), FakeEngine())
        assert one(served)["aspect"] == pytest.approx(64 * 4 / 3 / 48, abs=1e-3)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no sockets for both")
def test_all_addresses_are_those_of_ipv4_too():
    with Site("[::]:0", token=TOKEN) as served, connect(served) as client:
        client.sendall(request(served, "/healthz", host="127.0.0.1"))
        assert client.recv(12) == b"HTTP/1.1 200"


def test_the_state_of_a_source_is_told_with_its_reason_and_as_an_event():
    with site("cam0") as (served, (hooks,)):
        for change, status in (("stalled", 503), ("live", 200), ("connecting", 503), ("lost", 503)):
            hooks.on_source_state(StateChange(change, "the cable", 0.0))
            assert one(served).items() >= {"state": change, "reason": "the cable"}.items()
            assert get(served, "/healthz").status == status
        hooks.on_failure(SourceError("gone for good"))
        assert one(served).items() >= {"state": "failed", "reason": "gone for good"}.items()
        happened = events(served)[0][1]
        assert [event["state"] for event in happened] == ["live", "stalled", "live", "connecting", "lost", "failed"]
        assert [event["number"] for event in happened] == list(range(1, 7))


def events(served, count=1):
    """Return the first server-sent events: their names and what they say."""
    with connect(served) as client:
        client.sendall(request(served, "/api/events"))
        lines = iter(client.makefile("rb").readline, b"")
        found = []
        for line in lines:
            if line.startswith(b"event: "):
                found.append((line[7:].strip().decode(), json.loads(next(lines)[6:])))
            if len(found) == count:
                return found
    return found


def test_all_is_well_while_one_of_several_sources_gives_pictures():
    with site("cam0", "cam1") as (served, hooks):
        hooks[0].on_source_state(StateChange("lost", "gone", 0.0))
        assert get(served, "/healthz").status == 200
        hooks[1].on_source_state(StateChange("stalled", "", 0.0))
        answer = get(served, "/healthz")
        assert (answer.status, answer.error) == (503, "no source gives results")


def test_a_camera_that_is_given_up_stays_lost_and_a_film_that_has_ended_gives_nothing():
    report = RunReport(
        read=1, processed=1, dropped=0, skipped=0, failed=0, instances=0, seconds=1.0, stages={}, latency=NO_STATS,
        damage="1 outage", failures=(), behind={}, interrupted=False,
    )  # fmt: skip
    with site("door", "film") as (served, (door, film)):
        film.on_end(replace(report, damage=None))
        assert get(served, "/healthz").status == 200
        door.on_source_state(StateChange("lost", "no answer for 3 s", 0.0))
        door.on_end(report)
        shown = [(source["state"], source["reason"]) for source in state(served)["sources"]]
        assert shown == [("lost", "no answer for 3 s"), ("ended", "")]
        assert get(served, "/healthz").status == 503
    with site("film") as (served, (film,)):
        film.on_end(report)
        assert get(served, "/healthz").status == 200


def test_a_source_elsewhere_that_is_reached_again_is_not_well_before_it_is():
    with Site("127.0.0.1:0") as served:
        view = served.far_view("door")
        for told, status in (("connecting", 200), ("live", 200), ("connecting", 503), ("live", 200), ("ended", 200)):
            view.tell(told, "", {})
            assert get(served, "/healthz").status == status


def test_a_run_is_told_as_it_goes_and_counts_are_its_own():
    with Site("127.0.0.1:0") as served:
        report = run(FakeSource(30, live=False), FakeEngine(), [], hooks=served.hooks("film"))
        source = one(served)
    assert source["results"] == report.processed == 30
    assert source["frames"]["processed"] == 30
    assert source["state"] == "ended"
    assert list(source["stages"]) == ["read", "prepare", "infer", "decode", "latency"]
    assert all(0 <= p50 <= p95 for p50, p95 in source["stages"].values())


def test_what_was_found_is_counted_by_class_and_zone():
    zone = ZoneState("yard", seen().instances.boxes.reshape(-1, 2), inside={0: 2}, entered={0: 3, 1: 1}, left={0: 1})
    line = ZoneState("door", seen().instances.boxes.reshape(-1, 2), is_line=True, entered={1: 4})
    with site("cam0") as (served, (hooks,)):
        event = Event("dwell", "yard", 7, 1, seconds=3.25)
        hooks.on_frame(
            replace(seen(1, (0, 0, 9, 9), (9, 9, 20, 20), (20, 20, 30, 30)), zones=(zone, line), events=(event,))
        )
        source = one(served)
        assert source["counts"] == {"cat": 2, "big dog": 1}
        assert source["zones"][0] == {
            "name": "yard",
            "is_line": False,
            "inside": {"cat": 2},
            "entered": {"cat": 3, "big dog": 1},
            "left": {"cat": 1},
        }
        metrics = get(served, "/metrics").body.decode()
        assert 'solo_rt_zone_entered_total{source="cam0",zone="door"} 4' in metrics
        assert 'solo_rt_objects{source="cam0",class="big dog"} 1' in metrics
        assert 'zone_objects{source="cam0",zone="door"}' not in metrics
        told = events(served)[0][1][-1]
        expected = {"source": "cam0", "event": "dwell", "class": "big dog", "track_id": 7, "seconds": 3.25}
        assert told.items() >= expected.items()


def test_the_newest_result_is_there_as_a_record():
    result = seen(5, (1, 2, 9, 12))
    with site("cam0") as (served, (hooks,)):
        hooks.on_frame(result)
        assert json.loads(get(served, "/api/results/cam0").body) == json.loads(json.dumps(result.to_record()))


def test_shares_of_classes_take_the_place_of_counts_with_a_semantic_model():
    with Site("127.0.0.1:0") as served:
        run(FakeSource(3), FakeEngine(spec=STREET_SPEC), [], hooks=served.hooks("street"))
        assert 0.99 < sum(one(served)["shares"].values()) <= 1.01
        assert state(served)["model"]["task"] == "semantic"


def test_names_are_data_whatever_they_are():
    with site(HOSTILE) as (served, _):
        assert one(served)["name"] == HOSTILE
        path = "/sources/%3Cimg%20src=x%20onerror=alert(1)%3E%22%5C.jpg"
        assert get(served, path).headers["content-type"] == "image/jpeg"
        metrics = get(served, "/metrics").body.decode()
        assert r'solo_rt_source_up{source="<img src=x onerror=alert(1)>\"\\"} 1' in metrics.splitlines()


def test_metrics_are_families_each_with_its_type_once():
    with site("a", "b") as (served, _):
        lines = get(served, "/metrics").body.decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    for line in lines:
        assert line.startswith("# ") or line.partition("{")[0].partition(" ")[0] in types
    record = {"name": "a\nb", "state": "live", "fps": 1.5, "latency": (1, 2), "stages": {}}
    assert r'solo_rt_fps{source="a\nb"} 1.5' in write_metrics([record], viewers=0, pictures=0).splitlines()


def test_events_are_bounded_for_those_who_are_late():
    with site("cam0") as (served, (hooks,)):
        for _ in range(1000):
            hooks.on_source_state(StateChange("live", "", 0.0))
        happened = events(served)[0][1]
        assert len(happened) == 200
        assert happened[-1]["number"] == 1001


def test_listeners_hear_that_the_run_has_ended_and_the_server_goes():
    with site("cam0") as (served, (hooks,)), connect(served) as client:
        client.sendall(request(served, "/api/events"))
        client.recv(12)
        hooks.on_frame(seen(1))
        started = time.monotonic()
        served.close()
        assert time.monotonic() - started < 1.5
        rest = client.makefile("rb").read().decode()
        assert json.loads(rest.split("data: ")[-1].split("\n")[0])["is_over"]
        with pytest.raises(ConnectionRefusedError):
            connect(served)
        hooks.on_frame(seen(2))  # a run that goes on does not mind
        served.close()
    assert pipeline_threads() == []


def test_viewers_who_do_not_listen_keep_nobody_from_ending():
    with site("cam0") as (served, _):
        clients = [connect(served) for _ in range(3)]
        for client in clients[1:]:
            client.sendall(request(served, "/sources/cam0.mjpg"))
        time.sleep(0.1)
        started = time.monotonic()
        served.close()
        assert time.monotonic() - started < 1.5
        for client in clients:
            client.close()


def test_sources_side_by_side_are_seen_each_as_it_is():
    with Site("127.0.0.1:0") as served:
        sources = {"good": FakeSource(5), "bad": FakeSource(9, error=SourceError("cable"), fail_at=2)}
        Pipeline(model=FakeEngine(), sources=sources, hooks=served.hooks).run()
        states = {source["name"]: (source["state"], source["reason"]) for source in state(served)["sources"]}
    assert states == {"good": ("ended", ""), "bad": ("failed", "cable")}


@pytest.mark.parametrize(
    "address",
    ["", "x", ":8088", "8088", "1", "host:", "host:x", "host:99999", "a b:1", "[::1:1", "host:80:80", "ü:1", "/x:1",
     "user@host:1", "http://127.0.0.1:8088"],
)  # fmt: skip
def test_what_is_no_address_is_said_in_one_line(address):
    with pytest.raises(UsageError, match="expected HOST:PORT"):
        Site(address)


def test_a_port_in_use_and_a_host_elsewhere_are_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError, match="Address already in use"):
        Site(f"127.0.0.1:{other.getsockname()[1]}")
    with pytest.raises(UsageError, match=r"cannot listen on 203\.0\.113\.1:80"):
        Site("203.0.113.1:80")
    with pytest.raises(UsageError, match="token of at least 16"):
        Site("127.0.0.1:0", token="short")


@pytest.fixture
def command(tmp_path, solo):
    """Return a function that returns the exit code of a run and what it has said."""
    model = write_tiny_model(tmp_path / "tiny.onnx")

    def run(*arguments):
        code, _, err = solo("run", "--model", model, "--threads", 1, *arguments)
        return code, err

    return run


def test_the_command_says_where_its_page_is(command):
    sources = ["--source", "test://?size=160x96&frames=5"]
    code, said = command(*sources, "--serve", "127.0.0.1:0")
    assert code == 0
    assert said.splitlines()[0].startswith("page: http://127.0.0.1:")
    assert "token" not in said
    code, said = command(*sources, *sources, "--serve", "0.0.0.0:0", "--quiet")
    assert code == 0
    assert len(said.partition("/?token=")[2].split()[0]) >= 24
    code, said = command(*sources, "--serve", "0.0.0.0:0", "--serve-token", TOKEN)
    assert code == 0
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--serve", "nowhere"], "expected HOST:PORT like 127.0.0.1:8088, got 'nowhere'"),
        (["--serve", "127.0.0.1:0", "--serve-token", "x"], "token of at least 16"),
        (["--serve-token", TOKEN], "--serve-token: expected --serve as well"),
        (["--serve", "127.0.0.1:0", "--decoder", "nvdec"], "--serve: expected --decoder cpu, got nvdec"),
    ],
)
def test_a_page_that_cannot_be_is_said_before_anything_is_written(tmp_path, command, arguments, said):
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    code, err = command("--source", "test://?size=160x96&frames=5", "--output", output, *arguments)
    assert code == 2
    (line,) = err.splitlines()
    assert said in line
    assert output.read_text() == "precious"


def test_the_token_is_in_no_print_of_the_options(monkeypatch, solo):
    monkeypatch.setenv("SOLO_RT_RUN_SERVE_TOKEN", TOKEN)
    _, out, _ = solo("run", "--source", "x", "--serve", "--print-config")
    assert TOKEN not in out
    assert 'serve-token = "***"  # environment variable SOLO_RT_RUN_SERVE_TOKEN' in out
    assert 'serve = "127.0.0.1:8088"  # flag' in out


def test_without_the_extra_one_line_says_what_to_install():
    program = "import sys; sys.modules['uvicorn'] = None; import solo_rt.serve"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1].endswith(
        "UsageError: a page needs starlette, uvicorn and websockets; pip install 'solo-rt[serve]'"
    )


def test_a_stop_ends_page_and_run_in_time(tmp_path):
    stop = threading.Event()
    with Site("127.0.0.1:0") as served:
        source = FakeSource(10**6, live=True, gate=lambda index: time.sleep(0.01))
        thread = threading.Thread(
            target=run, args=(source, FakeEngine(), []), kwargs={"hooks": served.hooks("a"), "stop": stop}
        )
        thread.start()
        with connect(served) as client:
            client.sendall(request(served, "/sources/a.mjpg"))
            while get(served, "/sources/a.jpg").status != 200:
                pass
            started = time.monotonic()
            stop.set()
            thread.join()
            served.close()
            assert time.monotonic() - started < 3
            assert read_answer(client) is not None
