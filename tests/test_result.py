"""The forms in which others take a result: COCO, supervision, pictures, notebooks."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from clips import yuv_frame
from fakes import STREET_SPEC, FakeEngine, FakeSource
from found import CLASSES, result
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from solo_rt.errors import UsageError
from solo_rt.events import ZoneState
from solo_rt.pipeline import Options, stream
from solo_rt.render import Style, render
from solo_rt.result import Result
from solo_rt.types import Instances, SemanticMap

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
BOXES = ((0, 0, 20, 10), (10, 5, 30, 25), (40, 20, 64, 48))


def semantic() -> Result:
    labels = np.zeros((6, 8), np.uint8)
    labels[:, :2] = 1
    return Result(yuv_frame(3), SemanticMap((48, 64), labels), CLASSES, palette=((250, 0, 0), (0, 0, 250)))


def test_pycocotools_takes_what_to_coco_gives(tmp_path):
    one = result(7, *BOXES)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7, "height": 48, "width": 64}, {"id": 99, "height": 48, "width": 64}],
        "categories": [{"id": 1}, {"id": 2}],
        "annotations": [],
    }
    truth.createIndex()
    entries = json.loads(json.dumps(one.to_coco()))
    loaded = truth.loadRes(entries)
    for i, annotation in enumerate(loaded.loadAnns(loaded.getAnnIds())):
        np.testing.assert_array_equal(coco_mask.decode(annotation["segmentation"]), one.instances.dense(i))
        x0, y0, x1, y1 = one.instances.boxes[i]
        assert annotation["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert {entry["image_id"] for entry in one.to_coco(99)} == {99}
    assert result(7).to_coco() == []


@pytest.fixture
def supervision(monkeypatch):
    """Stand in for the package: its Detections keep what they are given."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))


@pytest.mark.usefixtures("supervision")
@pytest.mark.parametrize("tracks", [None, [3, 1, 2]])
def test_supervision_gets_masks_names_and_tracks(tracks, monkeypatch):
    one = result(0, *BOXES, tracks=tracks)
    detections = one.to_supervision()
    np.testing.assert_array_equal(detections.xyxy, one.instances.boxes)
    assert detections.mask.shape == (3, 48, 64)
    np.testing.assert_array_equal(detections.mask[1], one.instances.dense(1))
    assert detections.class_id.tolist() == one.instances.class_ids.tolist()
    assert detections.data["class_name"].tolist() == [CLASSES[i] for i in one.instances.class_ids]
    assert (detections.tracker_id is None) == (tracks is None)
    assert tracks is None or detections.tracker_id.tolist() == tracks
    with monkeypatch.context() as patched:
        patched.setattr(Instances, "dense", None)  # without masks none is made
        assert one.to_supervision(masks=False).mask is None
    nothing = result(0).to_supervision()
    assert (nothing.mask, len(nothing.xyxy), len(nothing.data["class_name"])) == (None, 0, 0)


@pytest.mark.usefixtures("supervision")
def test_supervision_gets_no_pixels():
    with pytest.raises(UsageError, match="got the classes of pixels"):
        semantic().to_supervision()


def test_without_supervision_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UsageError, match="pip install supervision"):
        result(0).to_supervision()


def test_a_plot_is_the_annotated_picture():
    one = result(0, *BOXES)
    expected = render(one.frame, one.instances, CLASSES).rgb()
    np.testing.assert_array_equal(one.plot(), expected)
    bare = Style(masks=False, labels=False)
    np.testing.assert_array_equal(one.plot(bare), one.frame.rgb())


def test_a_plot_of_pixels_has_the_colours_of_the_model():
    plain, painted = semantic().frame.rgb().astype(int), semantic().plot(Style(labels=False)).astype(int)
    redder, bluer = ((painted - plain)[:, half] for half in (slice(20, 60), slice(0, 12)))
    assert redder[..., 0].mean() > redder[..., 2].mean() + 40
    assert bluer[..., 2].mean() > bluer[..., 0].mean() + 40
    np.testing.assert_array_equal(semantic().plot(Style(labels=False, masks=False)), semantic().frame.rgb())


def test_zones_are_on_the_plot_unless_the_style_leaves_them_out():
    zone = ZoneState("door", np.array([[5, 5], [60, 5], [60, 40]], np.float32))
    zoned = replace(result(0), zones=(zone,))
    assert (zoned.plot() != result(0).plot()).any()
    np.testing.assert_array_equal(zoned.plot(Style(zones=False)), result(0).plot())


def test_what_the_pipeline_gives_can_be_plotted():
    for spec in (STREET_SPEC, FakeEngine().spec):
        (drawn,) = stream(FakeSource(1), model=FakeEngine(spec=spec), render=True)
        np.testing.assert_array_equal(drawn.plot(), drawn.rendered.rgb())
    assert Options().track is False


class Cells(HTMLParser):
    """Collects the table and the picture of what a notebook is given."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.picture = b""
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._is_cell = tag == "td"
        if tag == "td":
            self.cells.append("")
        if tag == "img":
            self.picture = base64.b64decode(dict(attrs)["src"].removeprefix("data:image/jpeg;base64,"))
        assert tag in ("img", "p", "table", "tr", "th", "td")

    def handle_data(self, data):
        if self._is_cell:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self._is_cell = False


def test_a_notebook_shows_the_picture_and_a_row_for_each():
    one = replace(result(0, BOXES[0], tracks=[4]), classes=("<script>alert(1)</script>", "b"), source='"><b>')
    shown = Cells(one._repr_html_())
    assert shown.cells == ["<script>alert(1)</script>", "4", str(one.to_record()["instances"][0]["score"]), ""]
    picture = cv2.imdecode(np.frombuffer(shown.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
    assert Cells(semantic()._repr_html_()).cells == ["cat", "", "", "0.75", "big dog", "", "", "0.25"]
    assert Cells(result(0)._repr_html_()).cells == []


def test_a_large_picture_is_made_smaller_for_a_notebook():
    (large,) = stream("test://?size=1280x720&frames=1", model=FakeEngine(), conf=0.999)
    picture = cv2.imdecode(np.frombuffer(Cells(large._repr_html_()).picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (360, 640, 3)
