"""From the outputs of a semantic network to the classes of a frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import STREET_SPEC, TINY_SPEC
from label_twin import blobs, dense_labels, enlarge

from solo_rt.decode import decode_semantic
from solo_rt.errors import SpecError, UsageError
from solo_rt.preprocess import Letterbox
from solo_rt.types import SemanticMap

LABELS = STREET_SPEC
LOGITS, COARSE = (replace(LABELS, decoder=replace(LABELS.decoder, output=name)) for name in ("logits", "coarse"))
FRAME = (46, 75)
BOX = Letterbox(FRAME, (24, 40), (24, 39))


def network_labels(seed: int = 0) -> np.ndarray:
    return blobs(np.random.default_rng(seed), (24, 40), [0, 1, 2])


def test_labels_are_cropped_to_the_picture_and_not_copied():
    labels = network_labels()
    found = decode_semantic({"labels": labels}, LABELS, BOX)
    assert np.shares_memory(found.labels, labels)
    assert found.step == (24 / 46, 39 / 75)
    np.testing.assert_array_equal(found.labels, labels[:, :39])
    np.testing.assert_array_equal(found.dense(), dense_labels(labels[:, :39], FRAME))


@pytest.mark.parametrize("threads", [1, 2])
def test_logits_give_the_labels_of_their_largest_channel(threads):
    logits = np.random.default_rng(1).normal(0, 1, (3, 24, 40)).astype(np.float32)
    found = decode_semantic({"logits": logits}, LOGITS, BOX, threads=threads)
    expected = decode_semantic({"labels": logits.argmax(0).astype(np.uint8)}, LABELS, BOX)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.counts, expected.counts)


@pytest.mark.parametrize("enlarged", ["corners", "half_pixel"])
def test_coarse_logits_give_the_labels_of_the_enlarged_ones(enlarged):
    coarse = np.random.default_rng(2).normal(0, 1, (3, 5, 3)).astype(np.float32)
    spec = replace(COARSE, decoder=replace(COARSE.decoder, enlarged=enlarged))
    found = decode_semantic({"coarse": coarse}, spec, BOX)
    logits = enlarge(coarse, (24, 40), corners=enlarged == "corners")
    np.testing.assert_array_equal(found.labels, logits.argmax(-1)[:, :39])


def test_models_of_instances_are_refused():
    with pytest.raises(UsageError, match="expected a semantic model, got tiny with solov2"):
        decode_semantic({}, TINY_SPEC, BOX)


def test_classes_that_are_not_asked_for_become_none():
    labels = network_labels()
    labels[0] = 255
    found = decode_semantic({"labels": labels}, LABELS, BOX, classes=[2])
    np.testing.assert_array_equal(found.labels, np.where(labels[:, :39] == 2, 2, 255))
    assert list(found.shares()) == [2]
    assert labels[1:].max() == 2, "the network's output was written to"


def test_a_label_that_is_no_class_is_an_error_in_the_model():
    labels = network_labels()
    labels[3, 4] = 7
    with pytest.raises(SpecError, match="expected labels below 3 or 255, got 7; export the model again"):
        decode_semantic({"labels": labels}, LABELS, Letterbox((24, 40), (24, 40), (24, 40)))


def test_a_picture_in_another_input_is_refused():
    with pytest.raises(UsageError, match=r"a picture in an input of \(24, 40\), got one of \(24, 39\)"):
        decode_semantic({"labels": network_labels()}, LABELS, Letterbox(FRAME, (24, 39), (24, 39)))


def test_tensors_of_another_kind_are_refused():
    with pytest.raises(TypeError, match=r"labels: expected uint8 \[any, any\], got int64"):
        decode_semantic({"labels": network_labels().astype(np.int64)}, LABELS, BOX)
    with pytest.raises(ValueError, match=r"logits: expected float32 \[any, any, any\], got float32 \[1, 3, 24, 40\]"):
        decode_semantic({"logits": np.zeros((1, 3, 24, 40), np.float32)}, LOGITS, BOX)


def test_shares_are_of_the_frame_and_largest_first():
    labels = np.full((4, 4), 255, np.uint8)
    labels[:2] = 5
    labels[2] = 1
    labels[3, 0] = 0
    found = SemanticMap((8, 8), labels)
    assert found.shares() == {5: 0.5, 1: 0.25, 0: 0.0625}
    assert list(found.shares()) == [5, 1, 0]
    assert found.counts.sum() == 64


def test_equal_shares_go_by_class_id_and_nothing_found_has_none():
    assert list(SemanticMap((2, 2), np.array([[3, 0], [2, 1]], np.uint8)).shares()) == [0, 1, 2, 3]
    assert SemanticMap((2, 2), np.full((1, 1), 255, np.uint8)).shares() == {}
    assert SemanticMap((1, 1), np.zeros((1, 1), np.uint8)).shares() == {0: 1.0}
