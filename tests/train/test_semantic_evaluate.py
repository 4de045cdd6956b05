"""Evaluation of semantic models through the run time: one view, many views, parts, protocols, the sheet of pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import STREET_SPEC, TINY_SPEC, FakeEngine, write_street_model

from solo_rt.engine import Engine, open_engine
from solo_rt.errors import DatasetError, UsageError
from solo_rt.preprocess import prepare
from solo_rt.train.data.semantic import Legend, Picture, SemanticSet
from solo_rt.train.data.semantic.cityscapes import LEGEND as CITY
from solo_rt.train.data.semantic.sbu import LEGEND as SBU
from solo_rt.train.evaluate.label_sheet import LabelSheet
from solo_rt.train.evaluate.protocol import computed_by, describe_labels
from solo_rt.train.evaluate.semantic import SemanticScores, count, evaluate_pixels, match_classes, score, score_counted
from solo_rt.train.evaluate.shards import Shard, Subject
from solo_rt.train.evaluate.sheet import MARGIN, TILE_WIDTH
from solo_rt.train.evaluate.views import (
    Views,
    enlarge_corners,
    label_picture,
    largest_channel,
    logit_planes,
    probabilities,
)
from solo_rt.types import Frame

LEGEND = Legend(STREET_SPEC.classes, STREET_SPEC.decoder.palette, unpainted=(1,))
SIZE = (24, 40)  # of the network
ONE_VIEW = Views()


def picture(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Return blocks of red, green and blue, and which of them each pixel is: what the model says."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 3, (size[0] // 4 + 1, size[1] // 4 + 1))
    labels = np.kron(cells, np.ones((4, 4), int))[: size[0], : size[1]]
    return (np.eye(3, dtype=np.uint8)[labels] * 200 + 20), labels.astype(np.uint8)


def data(count: int = 4, *, size: tuple[int, int] = SIZE, kind: str = "folder", legend: Legend = LEGEND) -> SemanticSet:
    return SemanticSet(kind, legend, tuple(f"p{i}" for i in range(count)), lambda i: picture(i, size))


def evaluate(engine: Engine, pictures: SemanticSet, *, views: Views = ONE_VIEW) -> SemanticScores:
    """Return the scores of `engine` on all pictures."""
    tally = count(engine, pictures, range(len(pictures)), views=views)
    return score(tally, pictures, protocol=describe_labels(engine, views))


class CoarseEngine:
    """The same model as a coarse one: the logits of every `step`-th pixel, from the first to the last."""

    backend = "fake"
    lanes = 1

    def __init__(self, step: int = 1, *, enlarged: str = "corners") -> None:
        decoder = replace(STREET_SPEC.decoder, output="coarse", enlarged=enlarged)
        self.spec, self.step = replace(STREET_SPEC, decoder=decoder), step

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"coarse": np.ascontiguousarray(inputs["image"].transpose(0, 2, 3, 1)[:, :: self.step, :: self.step])}

    def close(self) -> None:
        pass


@pytest.fixture(params=["labels", "logits", "coarse"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    yield from opened(tmp_path, request.param)


@pytest.fixture(params=["logits", "coarse"])
def logits(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    yield from opened(tmp_path, request.param)


def opened(folder: Path, output: str) -> Iterator[Engine]:
    if output == "coarse":
        yield CoarseEngine()
        return
    spec = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output=output))
    found = open_engine(write_street_model(folder / f"{output}.onnx", spec=spec), backend="onnxruntime", threads=1)
    yield found
    found.close()


def test_a_model_that_is_right_has_perfect_scores(engine: Engine) -> None:
    scores = evaluate(engine, data())
    assert (scores.images, scores.data) == (4, "folder")
    assert scores.metrics == dict.fromkeys(("mIoU", "pixel_accuracy", "mean_accuracy", "weighted_IoU"), 1.0)
    assert {name: s.IoU for name, s in scores.per_class.items()} == {"road": 1, "sky": 1, "car": 1}
    assert sum(s.pixels for s in scores.per_class.values()) == 4 * 24 * 40


def test_errors_are_counted_where_they_are(engine: Engine) -> None:
    def flawed(index: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = picture(index)
        labels[:2] = 255
        labels[2, :5] = (labels[2, :5] + 1) % 3
        return image, labels

    scores = evaluate(engine, SemanticSet("folder", LEGEND, ("a", "b"), flawed))
    assert scores.metrics["pixel_accuracy"] == pytest.approx(1 - 5 / (22 * 40))


@pytest.mark.parametrize("size", [(24, 40), (48, 80), (60, 60), (13, 39), (72, 65)])
def test_every_size_is_labelled_at_its_own(engine: Engine, size: tuple[int, int]) -> None:
    image, labels = picture(1, size)
    found = label_picture(engine, image)
    assert (found.shape, found.dtype) == (size, np.uint8)
    assert (found == labels).mean() > (0.99 if size == SIZE else 0.55)


def test_logits_are_enlarged_before_the_largest_is_chosen(logits: Engine) -> None:
    image, _ = picture(2, (48, 80))
    tensor, box = prepare(Frame((image,), "rgb24"), logits.spec.input)
    planes = tensor[0, :, : box.resized[0], : box.resized[1]]
    enlarged = cv2.resize(planes.transpose(1, 2, 0), (80, 48), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(label_picture(logits, image), enlarged.argmax(-1))


@pytest.mark.parametrize("planes", [1, 2, 7])
@pytest.mark.parametrize("size", [(5, 7), (11, 13), (3, 4)])
def test_largest_channel_is_the_argmax_of_all_planes(planes: int, size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(-3, 3, (planes, 5, 7)).astype(np.float32)
    enlarged = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in values])
    np.testing.assert_array_equal(largest_channel(values, size), enlarged.argmax(0))


def test_logits_are_compared_as_they_are_not_as_whole_numbers() -> None:
    planes = np.array([0.2, 0.9, 0.1], np.float32).reshape(3, 1, 1)
    assert largest_channel(planes, (1, 1)) == 1


@pytest.mark.parametrize("cells", [(1, 1), (1, 4), (5, 7), (24, 40)])
def test_corners_stay_where_they_are(cells: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).normal(size=cells).astype(np.float32)
    found = enlarge_corners(plane, SIZE)
    expected = np.empty(SIZE)
    for y, x in np.ndindex(*SIZE):
        row, column = y * (cells[0] - 1) / (SIZE[0] - 1), x * (cells[1] - 1) / (SIZE[1] - 1)
        i, j = int(row), int(column)
        u, v = row - i, column - j
        i2, j2 = min(i + 1, cells[0] - 1), min(j + 1, cells[1] - 1)
        top, bottom = plane[i, j] * (1 - v) + plane[i, j2] * v, plane[i2, j] * (1 - v) + plane[i2, j2] * v
        expected[y, x] = top * (1 - u) + bottom * u
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("enlarged", ["corners", "half_pixel"])
def test_coarse_logits_are_enlarged_as_the_run_time_does(enlarged: str) -> None:
    """At the size of the input the native kernel decides, otherwise the planes: they must be the same planes."""
    engine = CoarseEngine(4, enlarged=enlarged)
    image, _ = picture(5)
    tensor, _ = prepare(Frame((image,), "rgb24"), engine.spec.input)
    outputs = {"coarse": engine.infer({"image": tensor})["coarse"][0]}
    planes = np.stack(list(logit_planes(outputs, engine.spec)))
    assert planes.shape == (3, *SIZE)
    assert (label_picture(engine, image) == planes.argmax(0)).mean() > 0.999


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.25, 2.0, 3.1])
@pytest.mark.parametrize("size", [(24, 40), (30, 90)])
def test_windows_of_a_view_fit_together(logits: Engine, scale: float, size: tuple[int, int]) -> None:
    """The model looks at each pixel alone, so that windows must give what one large window would."""
    image, _ = picture(3, size)
    h, w = probabilities(logits, image, 1.0).shape[1:]
    found = probabilities(logits, image, scale)
    assert found.shape == (3, int(h * scale + 0.5), int(w * scale + 0.5))
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)
    spec = logits.spec.input
    resized = cv2.resize(image, found.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
    normalised = (resized - np.array(spec.mean)) / np.array(spec.std)
    expected = np.exp(normalised) / np.exp(normalised).sum(-1, keepdims=True)
    assert np.abs(found - expected.transpose(2, 0, 1)).max() < 0.02  # the letterbox does not round to whole greys


def test_one_view_is_what_the_run_time_does(logits: Engine) -> None:
    image, _ = picture(4, (50, 70))
    assert Views().single
    np.testing.assert_array_equal(Views().labeller(logits)(image), label_picture(logits, image))


def test_many_views_agree_with_a_model_that_sees_pixels(logits: Engine) -> None:
    scores = evaluate(logits, data(2), views=Views((0.75, 1.0, 1.5), mirrored=True))
    assert scores.metrics["pixel_accuracy"] > 0.9
    looks = "mean of the probabilities at scales 0.75, 1, 1.5, each also mirrored"
    assert scores.protocol == f"network input 24x40, {looks}, {computed_by(logits)}"
    image, _ = picture(0)
    mirrored = Views((1.0,), mirrored=True).labeller(logits)
    np.testing.assert_array_equal(mirrored(image)[:, ::-1], mirrored(np.ascontiguousarray(image[:, ::-1])))


def test_many_views_need_logits(tmp_path: Path) -> None:
    engine = next(opened(tmp_path, "labels"))
    with pytest.raises(UsageError, match="need a model that gives logits; export it again with --output-kind logits"):
        evaluate(engine, data(), views=Views((0.5, 1.0)))
    for scales in ((), (0.0, 1.0), (1.0, 1.0)):
        with pytest.raises(UsageError, match="scales: expected distinct positive factors"):
            Views(scales)


def test_labels_that_are_enlarged_are_told(tmp_path: Path) -> None:
    labels, logits = next(opened(tmp_path, "labels")), next(opened(tmp_path, "logits"))
    large = data(1, size=(48, 80))
    for engine, pictures, kind in ((labels, data(1), "labels"), (logits, large, "logits")):
        how = f"network input 24x40, {kind} resized to the pictures, by onnxruntime cpu"
        assert evaluate(engine, pictures).protocol == how
    assert [count(e, large, [0], views=Views()).enlarged for e in (labels, logits)] == [True, False]
    assert not count(labels, data(1), [0], views=Views()).enlarged


def test_parts_add_up_to_the_whole(engine: Engine) -> None:
    pictures = data(5, size=(30, 50))
    whole = count(engine, pictures, range(5), views=Views())
    parts = [count(engine, pictures, range(5)[i::3], views=Views()) for i in range(3)]
    together = parts[0] + parts[1] + parts[2]
    assert together.images == whole.images == 5
    np.testing.assert_array_equal(together.confusion, whole.confusion)
    assert score(together, pictures, protocol="") == score(whole, pictures, protocol="")


def test_an_evaluation_of_an_address_counts_its_share_and_draws_it(logits: Engine, tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(5):
        image, labels = picture(i)
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), image[..., ::-1])
        cv2.imwrite(str(tmp_path / "labels" / f"{i}.png"), labels if i else labels * 0)
    (tmp_path / "classes.json").write_text(json.dumps({"classes": LEGEND.classes}))
    subject = Subject(f"folder:{tmp_path}", "val", 4, "m.onnx")
    parts = [evaluate_pixels(logits, subject, shard=Shard(k, 2), views=ONE_VIEW) for k in (1, 2)]
    whole = evaluate_pixels(logits, subject, views=ONE_VIEW, pictures=tmp_path / "sheet.png")
    assert [part.tally.images for part in (*parts, whole)] == [2, 2, 4]
    np.testing.assert_array_equal(sum(part.tally.confusion for part in parts), whole.tally.confusion)
    assert score_counted(parts[1]).metrics["pixel_accuracy"] == 1
    assert 0.7 < score_counted(whole).metrics["pixel_accuracy"] < 1
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_classes_are_matched_by_name(engine: Engine) -> None:
    turned = Legend(("car", "road", "sky"), LEGEND.palette)
    order = np.array([1, 2, 0], np.uint8)
    pictures = SemanticSet("folder", turned, ("a",), lambda i: (picture(i)[0], order[picture(i)[1]]))
    assert evaluate(engine, pictures).metrics["mIoU"] == 1
    fewer = Legend(("sky", "car"), LEGEND.palette[1:])
    shifted = np.array([255, 0, 1], np.uint8)
    pictures = SemanticSet("folder", fewer, ("a",), lambda i: (picture(i)[0], shifted[picture(i)[1]]))
    assert evaluate(engine, pictures).metrics["mIoU"] == 1, "a class that the data set lacks is no class of it"
    with pytest.raises(DatasetError, match=r"the model lacks the data set's classes \['lit', 'shadow'\]"):
        evaluate(engine, data(legend=SBU))
    assert (match_classes(("a", "b"), ("b",))[[0, 1, 255]] == [255, 0, 255]).all()


def test_models_of_instances_are_refused() -> None:
    with pytest.raises(UsageError, match="expected a model that gives every pixel a class, tiny finds instances"):
        label_picture(FakeEngine(spec=TINY_SPEC), picture(0)[0])


def test_shadows_have_a_balanced_error_rate(tmp_path: Path) -> None:
    spec = replace(STREET_SPEC, classes=("lit", "shadow", "other"))
    engine = open_engine(write_street_model(tmp_path / "m.onnx", spec=spec), backend="onnxruntime")
    pictures = SemanticSet("sbu", SBU, ("a",), lambda i: (picture(i)[0], (picture(i)[1] > 0).astype(np.uint8)))
    scores = evaluate(engine, pictures)
    blue = (picture(0)[1] == 2).sum() / (picture(0)[1] > 0).sum()  # taken for "other", a miss
    assert scores.metrics["BER"] == pytest.approx(blue / 2)


def test_cityscapes_has_its_own_numbers(tmp_path: Path) -> None:
    from solo_rt.train.data.semantic import open_semantic

    spec = replace(
        STREET_SPEC, classes=CITY.classes, decoder=replace(STREET_SPEC.decoder, palette=CITY.palette, unpainted=())
    )
    engine = FakeEngine(spec=spec)
    rng = np.random.default_rng(0)
    for name in ("leftImg8bit/val/a/a_0_0_leftImg8bit", "gtFine/val/a/a_0_0_gtFine_labelIds"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 34, SIZE, dtype=np.uint8))
    pictures = open_semantic(f"cityscapes:{tmp_path}")
    scores = evaluate(engine, pictures)
    assert set(scores.per_category) == {"flat", "construction", "object", "nature", "sky", "human", "vehicle"}
    assert "category_mIoU" in scores.metrics
    assert "iIoU" not in scores.metrics, "there are no instances to weigh"
    instances = np.where(rng.random(SIZE) < 0.5, 26001, 7).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "gtFine/val/a/a_0_0_gtFine_instanceIds.png"), instances)
    scores = evaluate(engine, open_semantic(f"cityscapes:{tmp_path}"))
    assert 0 <= scores.per_class["car"].iIoU <= 1
    assert math.isnan(scores.per_class["person"].iIoU) or scores.per_class["person"].iIoU == 0
    assert {"iIoU", "category_iIoU"} <= set(scores.metrics)


def test_scores_are_plain_json_and_what_is_undefined_is_null(engine: Engine) -> None:
    nothing = SemanticSet("folder", LEGEND, ("a",), lambda i: (picture(i)[0], np.full(SIZE, 255, np.uint8)))
    record = json.loads(json.dumps(evaluate(engine, nothing).to_record(), allow_nan=False))
    assert record["metrics"]["mIoU"] is None
    assert record["per_class"]["road"]["pixels"] == 0


def test_the_sheet_shows_picture_truth_and_finds(tmp_path: Path) -> None:
    sheet = LabelSheet(LEGEND)
    image, labels = picture(0, (48, 96))
    for _ in range(10):
        sheet.add(Picture("a", image, labels), np.full((48, 96), 255, np.uint8))
    sheet.write(tmp_path / "s.png")
    drawn = cv2.imread(str(tmp_path / "s.png"))[..., ::-1]
    assert drawn.shape == (8 * (240 + MARGIN) + MARGIN, 3 * (TILE_WIDTH + MARGIN) + MARGIN, 3)
    left, middle, right = (
        drawn[MARGIN : MARGIN + 240, MARGIN + k * (TILE_WIDTH + MARGIN) :][:, :TILE_WIDTH] for k in range(3)
    )
    np.testing.assert_array_equal(middle[2::5, 2::5], np.array(LEGEND.palette)[labels])
    assert np.abs(left[2::5, 2::5].astype(int) - image).max() <= 1
    assert not right.any()
    with pytest.raises(UsageError, match=r"cannot write .*nowhere"):
        sheet.write(tmp_path / "nowhere" / "s.png")
