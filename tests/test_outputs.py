"""Copies of what an engine computed."""

from __future__ import annotations

import numpy as np
import pytest

from solo_rt.engine.outputs import copy_outputs


def test_copies_are_equal_and_stay_so_when_the_engine_goes_on():
    outputs = {"scores": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "labels": np.ones((1, 4, 4), np.uint8)}
    copies = copy_outputs(outputs)
    assert list(copies) == ["scores", "labels"]
    for name, array in outputs.items():
        before = array.copy()
        array[...] = 9
        np.testing.assert_array_equal(copies[name], before)
        assert copies[name].dtype == array.dtype


@pytest.mark.parametrize("counts", [[0], [1], [3], [2, 5], [5, 0], [0, 0]])
def test_masks_that_exist_are_copied(counts):
    rng = np.random.default_rng(0)
    masks = rng.integers(-(1 << 31), 1 << 31, (len(counts), 5, 3, 2), np.int64).astype(np.int32)
    copies = copy_outputs({"num_dets": np.array(counts, np.int32)[:, None], "det_masks": masks})
    assert copies["det_masks"].shape == masks.shape
    assert not np.shares_memory(copies["det_masks"], masks)
    for copy, mask, count in zip(copies["det_masks"], masks, counts, strict=True):
        np.testing.assert_array_equal(copy[:count], mask[:count])
