"""What outputs show: the parts that were chosen, whoever draws them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import STREET_SPEC, FakeEngine, FakeSink

from solo_rt import defaults
from solo_rt.decoders import DetectionsDecoder
from solo_rt.pipeline import run, stream
from solo_rt.pipeline.options import Options
from solo_rt.preprocess import prepare
from solo_rt.render import DEFAULT_STYLE, Style
from solo_rt.source import open_source
from solo_rt.spec import InputSpec, ModelSpec
from solo_rt.track.zones import Zone

pytestmark = pytest.mark.usefixtures("never_hang")

WORLD = "test://?size=320x192&frames=4&seed=3"
NOTHING = Style(**dict.fromkeys(defaults.PARTS, False))


@pytest.mark.parametrize("part", [None, *defaults.PARTS])
def test_pictures_show_the_parts_that_were_chosen(part):
    style = DEFAULT_STYLE if part is None else replace(NOTHING, **{part: True})
    zone = Zone("left", ((0.1, 0.1), (0.5, 0.1), (0.5, 0.9)))
    for result in stream(WORLD, render=True, style=style, zones=(zone,)):
        np.testing.assert_array_equal(result.rendered.rgb(), result.draw(style).rgb())
        bare = result.draw(NOTHING)
        np.testing.assert_array_equal(bare.rgb(), result.frame.rgb())
        has_trails = any(len(trail) > 1 for trail in result.trails)
        if part != "tracks" or has_trails:
            assert (result.rendered.rgb() != bare.rgb()).any()


def test_alpha_is_how_much_masks_hide():
    shown = {}
    for alpha in (0.0, 0.5, 1.0):
        style = replace(NOTHING, masks=True, alpha=alpha, outline=0)
        results = list(stream(WORLD, render=True, style=style))
        off = [np.abs(r.rendered.planes[0].astype(int) - r.frame.planes[0]).sum() for r in results]
        shown[alpha] = sum(off)
    assert shown[0.0] == 0
    assert shown[0.5] == pytest.approx(shown[1.0] / 2, rel=0.05)


class Painter(FakeEngine):
    """Paints every frame grey, and keeps what it was asked for."""

    def __init__(self, spec=STREET_SPEC):
        super().__init__(spec=spec)
        self.asked = []

    def infer_frame(self, frame, painting=None):
        self.asked.append(painting)
        tensor, _ = prepare(frame, self.spec.input)
        painted = replace(frame, planes=tuple(np.full_like(plane, 77) for plane in frame.planes))
        return self.infer({"image": tensor}), None if painting is None else painted


@pytest.mark.parametrize(
    ("style", "is_painted", "is_labelled"),
    [
        (Style(), True, True),
        (Style(labels=False, alpha=0.2), True, False),
        (Style(boxes=True), False, True),
        (Style(masks=False), False, True),
    ],
)
def test_an_engine_paints_what_it_can_and_no_label_that_is_not_wanted(style, is_painted, is_labelled):
    engine, pictures = Painter(), []
    sink = FakeSink(needs_picture=True, gate=lambda result: pictures.append(result.rendered.rgb()))
    with open_source(WORLD) as source:
        run(source, engine, [sink], options=Options(style=style))
    assert [painting is not None for painting in engine.asked] == [is_painted] * 4
    assert all(painting.style == style for painting in engine.asked if painting is not None)
    for picture in pictures:
        assert (picture == 77).all() == (is_painted and not is_labelled)


class Finder(Painter):
    """Finds nothing in any frame."""

    def infer(self, inputs):
        return {name: np.zeros_like(values) for name, values in super().infer(inputs).items()}


@pytest.mark.parametrize(
    ("options", "is_painted"), [(Options(), True), (Options(track=True), False), (Options(refine=True), False)]
)
def test_an_engine_does_not_paint_what_will_be_changed(options, is_painted):
    engine = Finder(ModelSpec("found", InputSpec(height=32, width=64), DetectionsDecoder(max_instances=4), ("thing",)))
    with open_source(WORLD) as source:
        run(source, engine, [FakeSink(needs_picture=True)], options=options)
    assert [painting is not None for painting in engine.asked] == [is_painted] * 4


def test_the_options_say_what_is_written(tmp_path, solo):
    def draw(*options):
        source = ("--source", WORLD, "--max-frames", 1, "--quiet", "--overwrite")
        assert solo("run", *source, "--output", f"{tmp_path}/*.png", *options)[0] == 0
        return cv2.imread(str(next(tmp_path.glob("*.png"))))

    plain, boxes, faint = draw("--draw", "tracks"), draw("--draw", "boxes, labels"), draw("--alpha", 0.1)
    assert (plain != boxes).any()
    tinted = draw()
    assert 0 < np.abs(faint.astype(int) - plain).sum() < np.abs(tinted.astype(int) - plain).sum()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--draw", "masks,shadows"), "expected some of masks, boxes, labels, tracks, zones, got 'masks,shadows'"),
        (("--draw", ""), "expected some of masks, boxes, labels, tracks, zones, got ''"),
        (("--alpha", "1.5"), "style: expected alpha in 0..1, got 1.5"),
        (("--alpha", "nan"), "style: expected alpha in 0..1, got nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(solo, options, said):
    code, _, error = solo("run", "--source", WORLD, *options)
    assert (code, said in error) == (2, True)
