"""Pictures for viewers: what is on them, who has them made, and what those who do not take them cost."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest
from children import wait_until
from fakes import STREET_SPEC, colour_frame
from found import CLASSES, found
from sites import (
    begin,
    connect,
    get,
    grey_frame,
    info,
    pixels,
    read_answer,
    request,
    seen,
    site,
    state,
    websocket_address,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_websocket

from solo_rt.errors import UsageError
from solo_rt.events import ZoneState
from solo_rt.render import Style, render
from solo_rt.result import Result
from solo_rt.serve import connection, streams, watcher
from solo_rt.serve.look import Look
from solo_rt.serve.metrics import write_metrics
from solo_rt.serve.picture import encode, make_picture, scaled_frame
from solo_rt.types import DevicePicture, Frame, SemanticMap

pytestmark = pytest.mark.usefixtures("never_hang")


def picture(result, look=Look()):  # noqa: B008
    return pixels(make_picture(result, look)).astype(int)


def difference(a, b):
    return float(np.abs(a - b).mean())


PLAIN = Look.parse("masks=0&labels=0&boxes=0&tracks=0&zones=0")


def test_a_picture_is_the_frame_with_what_was_found_on_it():
    result = seen(0, (10, 10, 40, 40))
    plain, drawn = picture(result, PLAIN), picture(result)
    assert difference(plain, result.frame.rgb()) < 2
    assert difference(plain[10:40, 10:40], drawn[10:40, 10:40]) > 20
    assert difference(plain[:8, 50:], drawn[:8, 50:]) < 2


@pytest.mark.parametrize("switch", ["masks", "boxes", "labels", "tracks", "zones"])
def test_every_switch_shows_and_hides_its_part(switch):
    tracked = replace(
        seen(0, (60, 60, 200, 180), height=240, width=320),
        trails=(np.array([(20, 20), (280, 200)], np.float32),),
        zones=(ZoneState("yard", np.array([(5, 5), (300, 8), (300, 220)], np.float32)),),
    )
    everything_off = "&".join(f"{name}=0" for name in ("masks", "boxes", "labels", "tracks", "zones"))
    with_it = Look.parse(everything_off.replace(f"{switch}=0", f"{switch}=1"))
    assert difference(picture(tracked, PLAIN), picture(tracked, with_it)) > 0.1


def test_objects_are_left_out_by_score_and_by_class():
    both = seen(0, (5, 5, 25, 25), (35, 20, 60, 40))  # a cat of 0.9 and a big dog of 0.5
    cat, dog = (slice(8, 22), slice(8, 22)), (slice(23, 37), slice(38, 57))
    plain = picture(both, PLAIN)
    for query, cat_is_there, dog_is_there in (
        ("", True, True), ("conf=0.7", True, False), ("classes=1", False, True), ("classes=cat", True, False),
        ("classes=0-1", True, True), ("classes=", False, False), ("conf=1", False, False), ("classes=7", False, False),
    ):  # fmt: skip
        drawn = picture(both, replace(Look.parse(query, CLASSES), style=Style(labels=False)))
        assert (difference(plain[cat], drawn[cat]) > 10) == cat_is_there, query
        assert (difference(plain[dog], drawn[dog]) > 10) == dog_is_there, query


def test_a_small_picture_looks_like_the_large_one_made_small():
    """Scaling comes first: it is cheaper, and what is drawn is as sharp as the picture."""
    rng = np.random.default_rng(1)
    boxes = [(int(x), int(y), int(x) + 80, int(y) + 60) for x, y in rng.integers(0, (240, 180), (6, 2))]
    for frame in (colour_frame(3, height=240, width=320), grey_frame(height=240, width=320)):
        result = Result(frame, found(*boxes, size=(240, 320)), CLASSES)
        look = Look(Style(labels=False, outline=0), width=160)
        small = picture(result, look)
        large = render(frame, result.instances, CLASSES, style=look.style)
        assert small.shape == (120, 160, 3)
        assert difference(small, pixels(encode(scaled_frame(large, 160)))) < 2


def test_zones_and_trails_are_where_they_are_in_the_large_picture():
    frame = grey_frame(height=240, width=320)
    zone = ZoneState("room", np.array([[200, 40], [300, 40], [300, 200], [200, 200]], np.float32))
    trail = np.array([[20, 220], [100, 220]], np.float32)
    result = Result(frame, found((10, 10, 60, 60), size=(240, 320)), CLASSES, trails=(trail,), zones=(zone,))
    small = picture(result, Look(Style(labels=False, masks=False), width=160)).astype(int)
    is_drawn = np.abs(small - 86).max(-1) > 40
    rows, columns = np.nonzero(is_drawn[:, 95:])
    assert (rows.min(), rows.max(), 95 + columns.min(), 95 + columns.max()) == pytest.approx((8, 100, 99, 150), abs=14)
    rows, columns = np.nonzero(is_drawn[:, :70])
    assert (rows.mean(), columns.min(), columns.max()) == pytest.approx((110, 10, 50), abs=3)


@pytest.mark.parametrize(
    ("size", "width", "shape"),
    [((48, 64), 320, (48, 64)), ((1, 1), 2, (1, 1)), ((7, 401), 320, (6, 320)), ((901, 401), 320, (718, 320)),
     ((2, 4000), 320, (2, 320))],
)  # fmt: skip
def test_pictures_of_any_size_are_scaled_down_only(size, width, shape):
    height, wide = size
    frame = Frame(
        (np.zeros(size, np.uint8), *[np.zeros(((height + 1) // 2, (wide + 1) // 2), np.uint8)] * 2), "yuv420p"
    )
    assert pixels(make_picture(Result(frame, found(size=size), CLASSES), Look(width=width))).shape[:2] == shape


def test_classes_of_pixels_are_shown_by_class_and_size():
    labels = np.repeat(np.array([[0, 2]], np.uint8), 24, 0).repeat(20, 1)
    frame = colour_frame(0, height=48, width=80)
    decoder = STREET_SPEC.decoder
    result = Result(
        frame,
        SemanticMap((48, 80), labels),
        STREET_SPEC.classes,
        palette=decoder.palette,
        unpainted=decoder.unpainted,
    )
    plain = frame.rgb().astype(int)
    cases = [("", True, True), ("&classes=car", False, True), ("&masks=0", False, False)]
    for query, left, right in ((f"labels=0{query}", left, right) for query, left, right in cases):
        drawn = picture(result, Look.parse(query, STREET_SPEC.classes))
        assert (difference(plain[:, :32], drawn[:, :32]) > 12) == left, query
        assert (difference(plain[:, 48:], drawn[:, 48:]) > 12) == right, query


def test_widths_are_few_so_that_viewers_share_pictures():
    assert {Look.parse(f"width={width}").width for width in range(1, 1921)} == {320, 480, 640, 960, 1280, 1920}


def test_a_frame_on_a_gpu_ends_the_run_with_one_line():
    picture = DevicePicture((1, 2), (64, 64), 48, 64, owner=None)
    with site("cam0") as (_, (hooks,)), pytest.raises(UsageError, match="in host memory"):
        hooks.on_frame(Result(Frame((), "yuv420p", device=picture), found(), CLASSES))


def test_no_picture_is_made_while_nobody_watches():
    with site("cam0") as (served, (hooks,)):
        for index in range(100):
            hooks.on_frame(seen(index, (5, 5, 20, 20)))
        assert metric(served, "pictures_total") == 0


def metric(served, name):
    text = get(served, "/metrics").body.decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"solo_rt_{name}")).split()[-1])


@contextmanager
def watching(served, *names, width=64):
    """Yield a page that shows these sources."""
    with open_websocket(websocket_address(served)) as socket:
        page = Page(socket)
        page.say(look="")
        for name in names:
            page.say(watch=name, width=width)
        yield page


class Page:
    """What a browser does with the pictures."""

    def __init__(self, socket):
        self.socket = socket

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def take(self, *, answer=True):
        """Return the source, the number and the JPEG of the next picture."""
        data = self.socket.recv(timeout=10)
        length = int.from_bytes(data[:2], "big")
        head = json.loads(data[2 : 2 + length])
        if answer:
            self.say(seen=head["source"])
        return head["source"], head["number"], data[2 + length :]

    def take_all(self):
        """Return the sources of the pictures that come until none does for a moment."""
        names = set()
        while True:
            try:
                data = self.socket.recv(timeout=0.5)
            except TimeoutError:
                return names
            name = json.loads(data[2 : 2 + int.from_bytes(data[:2], "big")])["source"]
            names.add(name)
            self.say(seen=name)


def test_a_page_gets_the_newest_pictures_of_all_its_sources_over_one_connection():
    with site("cam0", "cam1", "cam2") as (served, hooks), watching(served, "cam0", "cam2") as page:
        assert {page.take()[:2] for _ in range(2)} == {("cam0", 1), ("cam2", 1)}
        hooks[1].on_frame(seen(1))
        hooks[2].on_frame(seen(1, grey=200))
        name, number, jpeg = page.take()
        assert (name, number) == ("cam2", 2)
        assert pixels(jpeg).mean() > 180


def test_a_page_that_has_not_taken_its_pictures_gets_no_more_and_then_the_newest():
    with site("cam0") as (served, (hooks,)), watching(served, "cam0") as page:
        numbers = [page.take(answer=False)[1]]
        for index in range(1, 10):
            hooks.on_frame(seen(index))
            if index == 1:
                numbers.append(page.take(answer=False)[1])
        with pytest.raises(TimeoutError):
            page.socket.recv(timeout=0.3)
        page.say(seen="cam0")
        numbers.append(page.take(answer=False)[1])
        assert numbers == [1, 2, 10]


def test_a_new_look_shows_at_once_also_where_no_frames_come():
    with site("cam0") as (served, _), watching(served, "cam0") as page:
        first = pixels(page.take()[2])
        page.say(look="masks=0&labels=0")
        assert np.abs(first.astype(int) - pixels(page.take()[2])).max() > 20


def test_a_new_look_brings_back_no_source_that_was_left():
    with site("cam0", "cam1") as (served, _), watching(served, "cam0", "cam1") as page:
        page.say(leave="cam0")
        assert "cam1" in page.take_all()
        page.say(look="masks=0")
        assert page.take_all() == {"cam1"}


def test_names_of_a_run_before_are_passed_over():
    with site("cam0") as (served, _), watching(served, "gone") as page:
        page.say(seen="gone")
        page.say(leave="gone")
        page.say(watch="cam0", width=64)
        assert page.take()[0] == "cam0"


def test_counters_keep_all_their_digits():
    record = {"name": "cam0", "state": "live", "fps": 29.97, "stages": {}, "frames": {"processed": 1234567}}
    lines = write_metrics([record], viewers=0, pictures=12345678).splitlines()
    assert 'solo_rt_frames_total{source="cam0",outcome="processed"} 1234567' in lines
    assert "solo_rt_pictures_total 12345678" in lines
    assert {'solo_rt_fps{source="cam0"} 29.97', 'solo_rt_source_up{source="cam0"} 1'} <= {*lines}


def test_sources_that_were_left_send_nothing_until_they_are_watched_again():
    with site("cam0") as (served, (hooks,)), watching(served, "cam0") as page:
        page.take()
        page.say(leave="cam0")
        page.say(leave="cam0")
        wait_until(lambda: metric(served, "viewers") == 1)
        hooks.on_frame(seen(1))
        with pytest.raises(TimeoutError):
            page.socket.recv(timeout=0.3)
        page.say(watch="cam0", width=64)
        assert page.take()[:2] == ("cam0", 2)


def test_viewers_with_the_same_look_share_every_picture():
    with site("cam0") as (served, (hooks,)), ExitStack() as stack:
        pages = [stack.enter_context(watching(served, "cam0", width=60 + i)) for i in range(8)]
        for page in pages:
            page.take()
        before = metric(served, "pictures_total")
        for index in range(1, 6):
            hooks.on_frame(seen(index))
            assert {page.take()[1] for page in pages} == {index + 1}
        assert metric(served, "pictures_total") == before + 5


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "1", '"x"', "null", "{}", '{"look": 1}', '{"look": "masks=7"}', '{"watch": "cam0", "width": "64"}',
     '{"watch": "cam0"}', '{"watch": "cam0", "width": 0}', '{"watch": "cam0", "width": true}', '{"seen": "cam0"}',
     '{"watch": "cam0", "width": 99999999999999999999}', '{"leave": "cam0"}', '{"watch": ["cam0"], "width": 1}',
     '{"look": "", "x": {"y": 1}}', "[" * 4000, '{"a":' * 800, "x" * 5000, b"{}", b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_message_ends_the_connection(message):
    with site("cam0") as (served, _):
        with open_websocket(websocket_address(served)) as socket:
            socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=10)
        assert closed.value.rcvd.code in (1008, 1009)
        assert get(served, "/healthz").status == 200


def test_a_page_that_stands_still_is_given_up(monkeypatch, caplog):
    monkeypatch.setattr(watcher, "WRITE_SECONDS", 0.3)
    with site("cam0") as (served, (hooks,)), watching(served, "cam0"):
        for index in range(1, 5):
            hooks.on_frame(seen(index))
            time.sleep(0.05)
        wait_until(lambda: metric(served, "viewers") == 0)
    assert "page:" not in caplog.text, "it is nobody's fault"


def noise(index, size=(360, 640)):
    rgb = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
    return Result(Frame((rgb,), "rgb24", index=index, captured_at=time.monotonic()), found(size=size), CLASSES)


def test_a_stream_that_nobody_reads_is_cut_off_and_costs_others_nothing(monkeypatch):
    monkeypatch.setattr(streams, "WRITE_SECONDS", 0.5)
    pictures, stop = [noise(index) for index in range(4)], threading.Event()

    def film(hooks):
        index = 0
        while not stop.wait(0.02):
            hooks.on_frame(pictures[index % 4])
            index += 1

    with ExitStack() as stack, site("cam0") as (served, (hooks,)):
        filming = threading.Thread(target=film, args=(hooks,))
        filming.start()
        try:
            for _ in range(5):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", served.address.port))
                client.sendall(request(served, "/sources/cam0.mjpg"))
            wait_until(lambda: metric(served, "viewers") == 5)
            page = stack.enter_context(watching(served, "cam0", width=320))
            numbers = [page.take()[1] for _ in range(10)]
            assert numbers == sorted(set(numbers))
            wait_until(lambda: metric(served, "viewers") == 1)
        finally:
            stop.set()
            filming.join()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_picture_that_nobody_takes_does_not_keep_its_connection(monkeypatch, keeps):
    monkeypatch.setattr(connection, "TAKE_SECONDS", 0.3)
    with ExitStack() as stack, site("cam0") as (served, (hooks,)):
        hooks.on_frame(noise(0, size=(720, 1280)))
        clients = [stack.enter_context(socket.socket()) for _ in range(3)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(10)
            client.connect(("127.0.0.1", served.address.port))
            asked = request(served, "/sources/cam0.jpg")
            client.sendall(asked.replace(b"Connection: close", b"Connection: keep-alive") if keeps else asked)
        time.sleep(2)
        for client in clients:
            answer = read_answer(client)
            assert answer is not None
            assert len(answer.body) < int(answer.headers["content-length"])
        slow = stack.enter_context(connect(served))
        slow.sendall(request(served, "/sources/cam0.jpg"))
        data = b""
        while piece := slow.recv(1 << 14):
            data += piece
            time.sleep(0.02)
        assert pixels(data.partition(b"\r\n\r\n")[2]).shape == (720, 1280, 3), "who takes it slowly gets it all"


def test_motion_jpeg_shows_every_new_picture_and_ends_with_the_run():
    with site("cam0") as (served, (hooks,)), connect(served) as client:
        client.sendall(request(served, "/sources/cam0.mjpg?width=64"))
        stream = client.makefile("rb")
        shades = []
        for grey in (90, 150, 220):
            hooks.on_frame(seen(1, grey=grey))
            shades.append(int(pixels(next_part(stream)).mean()))
        served.close()
        assert shades == sorted(shades)
        assert shades[-1] > 200
        rest = stream.read()
        assert b"boundary" not in rest


def next_part(stream):
    while ((line := stream.readline().strip().lower()) and not line.startswith(b"content-length")) or not line:
        pass
    length = int(line.split(b":")[1])
    stream.readline()
    return stream.read(length)


def test_a_source_without_a_result_says_so():
    with site() as (served, _):
        begin(served)
        for path in ("/sources/cam0.jpg", "/api/results/cam0"):
            answer = get(served, path)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert info().live
        assert state(served)["sources"][0]["state"] == "live"
