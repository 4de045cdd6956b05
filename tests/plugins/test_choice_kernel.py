"""The kernel that chooses what is painted against the decoder on the CPU, on a GPU and on the emulator."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.decode.limits import choose
from solo_rt.errors import EngineError
from solo_rt.gpu.kernels import Choice, Detections

CLASSES = 7


def choose_on(device, *, slots, count, scores, labels, regions, table, min_score, max_dets):
    """Return the chosen regions int32 [slots, 4] and colours uint8 [slots, 3]."""
    inputs = [device.array(a) for a in (np.array([count], np.int32), scores, labels, regions)]
    colours_of = device.array(table)
    chosen, colours = device.empty((slots, 4), np.int32), device.empty((slots, 3), np.uint8)
    device.kernels.choose(
        Choice(slots, len(table), min_score, max_dets), Detections(*(buffer.ptr for buffer in inputs)),
        table=colours_of.ptr, chosen=chosen.ptr, colours=colours.ptr, stream=device.stream,
    )  # fmt: skip
    return chosen.numpy(), colours.numpy()


@pytest.mark.parametrize(("slots", "count"), [(1, 0), (1, 1), (5, 3), (100, 100), (100, 1000), (600, 531), (33, -1)])
@pytest.mark.parametrize("max_dets", [1, 40, 1000])
@pytest.mark.parametrize("wanted", [None, (0, 3, 6), (5,), ()])
def test_choice_is_that_of_the_decoder(device, slots, count, max_dets, wanted):
    rng = np.random.default_rng(slots)
    scores = -np.sort(-rng.integers(0, 16, slots) / 16).astype(np.float32)  # ties, and some equal to the least score
    labels = rng.integers(0, CLASSES, slots).astype(np.int32)
    regions = rng.integers(1, 50, (slots, 4)).astype(np.int32)
    table = rng.integers(1, 256, (CLASSES, 4)).astype(np.uint8)
    table[:, 3] = 255 if wanted is None else np.isin(np.arange(CLASSES), wanted)
    found, colours = choose_on(
        device, slots=slots, count=count, scores=scores, labels=labels, regions=regions, table=table, min_score=0.25,
        max_dets=max_dets,
    )  # fmt: skip
    n = int((scores[: max(count, 0)] >= 0.25).sum())
    expected = np.zeros(slots, np.bool_)
    expected[:n] = choose(labels[:n], classes=wanted, max_det=max_dets)
    np.testing.assert_array_equal(found, np.where(expected[:, None], regions, 0))
    np.testing.assert_array_equal(colours, np.where(expected[:, None], table[labels, :3], 0))


def test_labels_beyond_the_table_are_not_chosen(device):
    labels = np.array([2, -1, 1, 1 << 30], np.int32)
    regions = np.arange(1, 17, dtype=np.int32).reshape(4, 4)
    found, _ = choose_on(
        device, slots=4, count=4, scores=np.ones(4, np.float32), labels=labels, regions=regions,
        table=np.full((2, 4), 9, np.uint8), min_score=0.0, max_dets=4,
    )  # fmt: skip
    np.testing.assert_array_equal(found, np.where(labels[:, None] == 1, regions, 0))


@pytest.mark.parametrize(
    ("choice", "cause"),
    [((0, 1, 0.0, 1), "a size"), ((2049, 1, 0.0, 1), "a size"), ((1, 0, 0.0, 1), "a size"), ((1, 1, 0.0, 0), "an arg")],
)
def test_impossible_choices_are_refused(device, choice, cause):
    with pytest.raises(EngineError, match=cause):
        device.kernels.choose(Choice(*choice), Detections(0, 0, 0, 0), table=0, chosen=0, colours=0, stream=0)
