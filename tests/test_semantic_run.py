"""A semantic model through the whole pipeline, from Python and as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import json_lines
from fakes import STREET_SPEC, TINY_SPEC, FakeEngine, FakeSink, FakeSource, write_street_model

from solo_rt import defaults
from solo_rt.engine import open_engine
from solo_rt.errors import UsageError
from solo_rt.pipeline import Pipeline, run, stream
from solo_rt.pipeline.options import Options
from solo_rt.preprocess import prepare
from solo_rt.source import open_source

SOURCE = "test://?size=90x61&frames=5"


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street_model(tmp_path_factory.mktemp("model") / "street.onnx")


@pytest.mark.parametrize("needs_picture", [False, True])
def test_threads_give_what_the_plain_loop_gives(street, needs_picture):
    with_threads, without = FakeSink(needs_picture=needs_picture), FakeSink(needs_picture=needs_picture)
    engine = open_engine(street)
    report = run(FakeSource(12), engine, [with_threads])
    run(FakeSource(12), engine, [without], options=Options(sync=True))
    assert with_threads.records == without.records
    assert with_threads.pictures == without.pictures
    assert len(without.pictures) == (12 if needs_picture else 0)
    assert report.instances is None
    assert report.to_record()["instances"] is None


def test_labels_and_logits_give_the_same_results(street, tmp_path):
    logits = replace(STREET_SPEC, decoder=replace(STREET_SPEC.decoder, output="logits"))
    other = write_street_model(tmp_path / "m.onnx", spec=logits)
    records = [[r.to_record() for r in stream(SOURCE, model=path)] for path in (street, other)]
    assert records[0] == records[1]


def test_stream_gives_the_class_of_every_pixel(street):
    with open_source(SOURCE) as source:
        frames = list(source)
    results = list(stream(SOURCE, model=street, render=True))
    assert len(results) == 5
    for frame, result in zip(frames, results, strict=True):
        assert len(result.instances) == 0
        tensor, box = prepare(frame, STREET_SPEC.input)
        np.testing.assert_array_equal(result.semantic.labels, tensor[0].argmax(0)[: box.resized[0], : box.resized[1]])
        assert result.semantic.dense().shape == (61, 90)
        assert sum(result.semantic.shares().values()) == pytest.approx(1)
        assert result.rendered is not None
        assert (result.rendered.planes[0] != frame.planes[0]).any()


def test_only_the_classes_asked_for_are_painted_and_counted(street):
    (everything,) = stream(SOURCE, model=street, max_frames=1, sync=True)
    (cars,) = stream(SOURCE, model=street, max_frames=1, classes=("car",), render=True)
    assert cars.semantic.shares() == {2: everything.semantic.shares()[2]}
    dense = everything.semantic.dense()
    np.testing.assert_array_equal(cars.semantic.dense(), np.where(dense == 2, 2, 255))
    changed = (cars.rendered.planes[0] != cars.frame.planes[0]).any(-1)
    assert not changed[50:][dense[50:] != 2].any()  # below the legend
    assert changed[50:].any()


@pytest.mark.parametrize("values", [{"conf": 0.5}, {"max_det": 3}, {"conf": defaults.CONF}, {"track": True}])
def test_options_about_instances_are_refused_before_anything_is_written(street, tmp_path, values):
    with pytest.raises(
        UsageError,
        match="keyframe_interval are about instances, and street finds none",
    ):
        run(FakeSource(2), FakeEngine(spec=STREET_SPEC), [], options=Options(**values))
    with pytest.raises(UsageError, match="it is a semantic model; leave them out"):
        Pipeline(SOURCE, street, [str(tmp_path / "a.jsonl")], Options(**values)).run()
    assert list(tmp_path.iterdir()) == []
    run(FakeSource(2), FakeEngine(spec=TINY_SPEC), [], options=Options(**values))


def test_the_command_line_writes_every_output(street, tmp_path, solo):
    outputs = [tmp_path / "out.mp4", tmp_path / "out.jsonl"]
    code, out, _ = solo("run", "--model", street, "--source", SOURCE, "--output", outputs[0],
                        "--save-jsonl", outputs[1], "--save-images", tmp_path / "pictures",
                        "--save-labels", tmp_path / "labels", "--contact-sheet", tmp_path / "sheet.png")  # fmt: skip
    assert code == 0
    assert "instance" not in out
    assert f"labels:{tmp_path / 'labels'}" in out
    with open_source(str(outputs[0])) as source:
        assert len(list(source)) == 5
    header, *records, _ = json_lines(outputs[1])
    assert header["classes"] == ["road", "sky", "car"]
    names = [f"{i:06d}" for i in range(5)]
    assert sorted(path.stem for path in (tmp_path / "pictures").iterdir()) == names
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == [f"{name}.png" for name in names]
    palette = np.array(STREET_SPEC.decoder.palette)
    for name, record in zip(names, records, strict=True):
        shown = cv2.imread(str(tmp_path / "labels" / f"{name}.png"))[..., ::-1]
        for entry in record["classes"]:
            share = (shown == palette[entry["class_id"]]).all(-1).mean()
            assert entry["share"] == pytest.approx(share, abs=1e-6)
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


def test_threaded_and_sync_runs_write_the_same_bytes(street, tmp_path, solo):
    files = [tmp_path / "threads.jsonl", tmp_path / "sync.jsonl"]
    for path, flags in zip(files, ([], ["--sync"]), strict=True):
        assert solo("run", "--model", street, "--source", SOURCE, "--save-jsonl", path, "--quiet", *flags)[0] == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(json_lines(files[0])) == 7


def test_the_command_line_says_what_does_not_fit_a_semantic_model(street, solo):
    for flags in (["--conf", "0.25"], ["--max-det", "100"]):
        code, _, err = solo("run", "--model", street, "--source", SOURCE, *flags)
        assert code == 2
        assert "street finds none: it is a semantic model; leave them out" in err


def test_labels_of_instances_are_refused(tmp_path, solo):
    model = Path(__file__).parent / "data" / "tiny.onnx"
    code, _, err = solo("run", "--model", model, "--source", SOURCE, "--save-labels", tmp_path / "out")
    assert code == 2
    assert "this one finds instances" in err


def test_help_names_the_defaults_of_instances(solo):
    code, out, _ = solo("run", "--help")
    text = " ".join(out.split())
    assert code == 0
    assert f"[default: {defaults.CONF}]" in text
    assert f"[default: {defaults.MAX_DET}]" in text


def test_inspect_shows_a_semantic_model(street, solo):
    code, text, _ = solo("inspect", street)
    assert code == 0
    assert "labels uint8 [1, 24, 40]" in text
    assert "palette of 3 colours, unpainted (1,), output labels, enlarged corners, kind semantic" in text
    code, out, _ = solo("inspect", street, "--json")
    card = json.loads(out)
    assert code == 0
    assert (card["outputs"]["labels"]["type"], card["decoder"]["palette"][2]) == ("uint8", [0, 0, 142])
