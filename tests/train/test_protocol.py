"""The words that say how numbers came about."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import STREET_SPEC, TINY_SPEC, FakeEngine

from solo_rt.decoders import DetectionsDecoder, SoloDecoder
from solo_rt.errors import UsageError
from solo_rt.train.evaluate.protocol import computed_by, describe_instances, describe_labels
from solo_rt.train.evaluate.views import Views


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("onnxruntime cpu, 2 threads, 2 lanes", "by onnxruntime cpu"),
        ("onnxruntime cuda:1", "by onnxruntime cuda"),
        ("torch cuda", "by torch cuda"),
        ("tensorrt 10.16.1.11 fp16, NVIDIA H200 9.0", "by tensorrt 10.16.1.11 fp16"),
    ],
)
def test_parts_may_come_from_several_cards_and_any_number_of_threads(backend: str, expected: str) -> None:
    engine = FakeEngine()
    engine.backend = backend
    assert computed_by(engine) == expected


def test_limits_are_those_of_the_model() -> None:
    own = "the best 500 candidates above 0.1, masks above 0.5, the best 100 instances of 0.05 or more, by fake"
    assert describe_instances(FakeEngine()) == f"network input 32x64, {own}"
    assert describe_instances(FakeEngine(), exact=True) == f"published procedure, network input 32x64, {own}"
    sized = describe_instances(FakeEngine(), exact=True, scale=(1333, 800))
    assert sized == f"published procedure, pictures of at most 1333 by 800 pixels, either way round, {own}"
    assert "instances of 0.4 or more" in describe_instances(FakeEngine(), conf=0.4)
    assert "instances of 0.05 or more" in describe_instances(FakeEngine(), conf=0.01), "there are none below"
    for decoder in (
        SoloDecoder("cells", (4,), (8,), score_threshold=0.3, nms_pre=7, max_instances=5),
        DetectionsDecoder(5, score_threshold=0.3, nms_pre=7),
    ):
        found = describe_instances(FakeEngine(spec=replace(TINY_SPEC, decoder=decoder)))
        assert "the best 7 candidates above 0.3, masks above 0.5, the best 5 instances" in found


def test_each_kind_of_model_has_its_own_words() -> None:
    street = FakeEngine(spec=STREET_SPEC)
    assert describe_labels(street, Views()) == "network input 24x40, labels resized to the pictures, by fake"
    with pytest.raises(UsageError, match="expected a model that finds instances, street labels pixels"):
        describe_instances(street)
    with pytest.raises(UsageError, match="tiny finds instances"):
        describe_labels(FakeEngine(), Views())
