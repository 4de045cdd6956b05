"""The page in a real Chromium: what people see and do there."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from cameras import camera
from children import wait_until
from fakes import TINY_SPEC, FakeEngine, ends_all_threads
from sites import SPEC, TOKEN, begin, seen, site

from solo_rt.events import Event, ZoneState
from solo_rt.pipeline import Pipeline
from solo_rt.serve import Site
from solo_rt.source import StateChange

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
HOSTILE = '<img src=x onerror="document.title=1">'
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
CHECKSUM = """() => {
    const canvas = document.querySelector("canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.reduce((sum, value, index) => (sum + value * (index % 251)) % 1000003, 0);
}"""


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    with api.sync_playwright() as player:
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Return what opens an address in a window of its own; whatever goes wrong there fails the test."""
    problems, pages = [], []

    def open_it(url, *, viewport=DESKTOP, **more):
        page = browser.new_context(viewport=viewport, **more).new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.goto(url)
        pages.append(page)
        return page

    yield open_it
    for page in pages:
        page.context.close()
    refused = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "WebSocket connection")  # when the run has ended
    assert [problem for problem in problems if not any(text in problem for text in refused)] == []


@contextmanager
def filming(*all_hooks, seconds=0.05):
    """Give every source a new frame now and then, each brighter than the last, with a cat and a big dog on it."""
    stop = threading.Event()

    def film():
        index = 0
        while not stop.wait(seconds):
            index += 1
            for hooks in all_hooks:
                frame = seen(
                    index, (10, 40, 120, 150), (180, 60, 290, 200), grey=40 + index % 100, height=240, width=320
                )
                hooks.on_frame(frame)

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for_picture(page, *, width=320):
    """Return once the first picture is there, in its width."""
    wait_until(lambda: page.evaluate("document.querySelector('canvas')?.width") == width)


def changes(page, *, within=5.0, width=320):
    """Return whether the picture changes."""
    wait_for_picture(page, width=width)
    before, deadline = page.evaluate(CHECKSUM), time.monotonic() + within
    while time.monotonic() < deadline:
        if page.evaluate(CHECKSUM) != before:
            return True
    return False


COLOURS = """() => {
    const canvas = document.querySelector("canvas");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let sum = 0;
    for (let i = 0; i < pixels.length; i += 4) sum += Math.abs(pixels[i] - pixels[i + 1]);
    return sum / (pixels.length / 4);
}"""


def colourfulness(page):
    """Return how far the colours of the picture are from grey: masks and labels are, the frames are not."""
    return page.evaluate(COLOURS)


def test_frames_advance_and_figures_are_shown(open_page):
    with site("cam0", "cam1") as (served, hooks), filming(*hooks):
        page = open_page(served.url)
        assert changes(page)
        assert page.locator("article h2").all_inner_texts() == ["cam0", "cam1"]
        wait_until(lambda: float(page.locator(".fps").first.inner_text()) > 3)
        assert page.locator("#counts li").all_inner_texts() == ["big dog\n2", "cat\n2"]
        assert "infer" in page.locator("#times").inner_text()
        assert "2 of 2 sources" in page.locator("#totals").inner_text()


def test_the_slider_the_switches_and_the_classes_act_at_once(open_page):
    with site("cam0") as (served, (hooks,)):
        hooks.on_frame(seen(1, (10, 40, 120, 150), (180, 60, 290, 200), height=240, width=320))
        page = open_page(served.url)  # no frame comes any more: what changes is our doing
        wait_for_picture(page)
        everything = colourfulness(page)
        assert everything > 5

        def becomes(lower, upper):
            wait_until(lambda: lower * everything <= colourfulness(page) <= upper * everything)

        page.locator("#conf").fill("0.7")  # of the cat is 0.9, of the dog 0.5
        becomes(0.2, 0.8)
        assert page.locator("#conf-value").inner_text() == "0.70"
        page.locator("#conf").fill("1")
        becomes(0, 0.05)
        page.locator("#conf").fill("0")
        becomes(0.99, 1.01)
        page.get_by_label("cat").uncheck()
        becomes(0.2, 0.8)
        page.get_by_role("button", name="none").click()
        becomes(0, 0.05)
        page.get_by_role("button", name="all").click()
        becomes(0.99, 1.01)
        for name in ("labels", "masks"):
            page.get_by_label(name).uncheck()
        becomes(0, 0.05)
        page.get_by_label("boxes").check()
        becomes(0.01, 0.9)


def test_a_camera_that_dies_shows_as_dead_and_comes_back(open_page, tmp_path):
    """Two real cameras, one of which goes away and returns; the other one's picture goes on."""
    stop = threading.Event()
    with camera() as good, camera() as bad, ends_all_threads(), Site("127.0.0.1:0") as served:
        sources = {"bad": bad.uri, "good": good.uri}
        pipeline = Pipeline(model=FakeEngine(spec=TINY_SPEC), sources=sources, hooks=served.hooks, stall_after=1.0)
        run = threading.Thread(target=lambda: pipeline.run(stop=stop))
        run.start()
        try:
            page = open_page(served.url)
            tile = page.locator("article").first
            tile.locator(".state", has_text="live").wait_for()
            assert changes(page, width=64)
            bad.go_away()
            tile.locator(".state", has_text="connecting").wait_for()
            tile.locator(".notice", has_text="last picture").wait_for()
            assert "grayscale" in tile.locator("canvas").evaluate("canvas => getComputedStyle(canvas).filter")
            assert not changes(page, within=1, width=64)
            assert page.locator("article").nth(1).locator(".state").inner_text() == "live"
            bad.come_back()
            tile.locator(".state", has_text="live").wait_for()
            assert changes(page, width=64)
            said = page.locator("#events").inner_text()
            assert said.count("bad connecting") == 1
            assert said.count("bad live") == 2
        finally:
            stop.set()
            run.join()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP, {"width": 320, "height": 568}], ids=["phone", "desktop", "small"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_names_are_text_and_nothing_is_wider_than_the_window(open_page, viewport, scheme):
    classes = (HOSTILE, "very long class names that have no end " * 3, "x" * 200, "__proto__")
    spec = replace(SPEC, classes=classes)
    with Site("127.0.0.1:0") as served:
        hooks = [begin(served, name, spec=spec) for name in (HOSTILE, "y" * 150, "../z")]
        zone = ZoneState(HOSTILE, np.array([(5, 5), (200, 9), (30, 90)], np.float32), inside={0: 1})
        event = Event("enter", HOSTILE, 1, 0)
        for each in hooks:
            result = replace(seen(1, (10, 40, 120, 150), height=240, width=320), classes=classes)
            each.on_frame(replace(result, zones=(zone,), events=(event,)))
            each.on_source_state(StateChange("stalled", HOSTILE, 0.0))
        page = open_page(served.url, viewport=viewport, color_scheme=scheme)
        page.locator("#events li").first.wait_for(state="attached")
        page.locator("article").nth(2).wait_for()
        assert page.locator("article h2").first.inner_text() == HOSTILE
        assert HOSTILE in page.locator("#zones").inner_text()
        assert HOSTILE in page.locator("#events").inner_text()
        assert page.title() == "solo-rt"
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert {box["width"] > 100 for box in (tile.bounding_box() for tile in page.locator("article").all())} == {True}


def test_a_click_makes_one_source_large_and_again_small(open_page):
    with site("cam0", "cam1", "cam2") as (served, hooks), filming(*hooks):
        page = open_page(served.url)
        page.locator("article").nth(2).wait_for()
        tile = page.locator("article").nth(1)
        small = tile.bounding_box()["width"]
        page.get_by_role("button", name="Enlarge cam1").click()
        assert tile.bounding_box()["width"] > 1.5 * small
        assert page.locator("#of").input_value() == "cam1"
        page.keyboard.press("Escape")
        assert tile.bounding_box()["width"] == small


def test_a_snapshot_is_the_whole_picture_as_it_is_shown(open_page, tmp_path):
    with site("cam0") as (served, (hooks,)):
        hooks.on_frame(seen(1, (10, 40, 120, 150), height=240, width=320))
        page = open_page(served.url)
        page.locator("#conf").fill("0.5")
        wait_until(lambda: "conf=0.5" in page.locator(".snapshot").get_attribute("href"))
        with page.expect_download() as download:
            page.get_by_role("link", name="Save a picture of cam0").click()
        assert download.value.suggested_filename.startswith("cam0-")
        download.value.save_as(tmp_path / "snapshot.jpg")
        assert (tmp_path / "snapshot.jpg").read_bytes().startswith(b"\xff\xd8")


def test_a_page_that_is_not_seen_has_nothing_encoded(open_page):
    with site("cam0") as (served, (hooks,)), filming(hooks):
        page = open_page(served.url)
        assert changes(page)
        page.evaluate("""() => {
            Object.defineProperty(document, "hidden", { get: () => true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        made = -1
        while made != (made := int(metric(served, "pictures_total"))):
            time.sleep(0.5)
        assert not changes(page, within=0.5)


def metric(served, name):
    from sites import get

    lines = get(served, "/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"solo_rt_{name}")).split()[-1])


def test_the_page_says_that_the_run_has_ended(open_page):
    with site("cam0") as (served, (hooks,)):
        page = open_page(served.url)
        assert page.locator("#banner").is_hidden()
        wait_for_picture(page, width=64)
        served.close()
        page.get_by_role("alert").get_by_text("The run has ended").wait_for()
        assert page.locator("article").first.locator(".snapshot").is_hidden()
        hooks.on_frame(seen(2))


def test_the_token_of_the_address_lets_the_whole_page_in_and_leaves_the_address(open_page):
    with site("cam0", token=TOKEN) as (served, (hooks,)), filming(hooks):
        page = open_page(f"{served.url}?token={TOKEN}")
        page.wait_for_url(served.url)
        assert changes(page)
        assert page.evaluate("history.length") == 2  # the empty page before, and not the token
        assert page.evaluate("document.cookie") == ""


ATTACK = """async (url) => {
    const of = (make) => new Promise((done) => make(() => done("let in"), () => done("refused")));
    return {
        picture: await of((done, fail) => Object.assign(new Image(), {
            onload: done, onerror: fail, src: url + "sources/cam0.jpg",
        })),
        style: await of((done, fail) => document.head.append(Object.assign(document.createElement("link"), {
            onload: done, onerror: fail, rel: "stylesheet", href: url + "page.css",
        }))),
        fetch: await fetch(url + "api/state", { mode: "no-cors" }).then(() => "let in", () => "refused"),
        socket: await of((done, fail) => Object.assign(new WebSocket(url.replace("http", "ws") + "api/pictures"), {
            onopen: done, onerror: fail,
        })),
    };
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_gets_nothing_in_the_same_browser(browser, host):
    """Neither one of another port, which browsers call the same site, nor one of another name."""
    with site("cam0") as (served, _), HTTPServer(("127.0.0.1", 0), Attacker) as attacker:
        thread = threading.Thread(target=attacker.serve_forever)
        thread.start()
        context = browser.new_context()
        try:
            page = context.new_page()
            page.goto(f"http://{host}:{attacker.server_port}/")
            assert set(page.evaluate(ATTACK, served.url).values()) == {"refused"}
        finally:
            context.close()
            attacker.shutdown()
            thread.join()


def test_a_link_of_another_site_still_lets_in_who_has_the_token(open_page):
    """A cookie that is strict is not sent in what another site's link has begun."""
    with site("cam0", token=TOKEN) as (served, _), HTTPServer(("127.0.0.1", 0), Attacker) as chat:
        thread = threading.Thread(target=chat.serve_forever)
        thread.start()
        try:
            page = open_page(f"http://localhost:{chat.server_port}/")
            page.evaluate("url => { location.href = url; }", f"{served.url}?token={TOKEN}")
            page.locator("article h2", has_text="cam0").wait_for()
            assert page.url == served.url
        finally:
            chat.shutdown()
            thread.join()


class Attacker(BaseHTTPRequestHandler):
    """Serves an empty page."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href='data:,'>")

    def log_message(self, *_):
        pass
