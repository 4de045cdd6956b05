"""The native part of tracking against numpy twins."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solo_rt import _native

GRID = (24, 40)


def most(profits):
    """Return the largest sum that any assignment gives, by trying all."""
    n, m = profits.shape
    if n > m:
        return most(profits.T)
    return max((profits[range(n), list(columns)].sum() for columns in permutations(range(m), n)), default=0.0)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32 - 1), st.sampled_from([2, 4, 1000]))
def test_assignment_is_the_best_there_is(n, m, seed, values):
    """Few different values make many assignments equally good, and many pairs that are none."""
    profits = np.random.default_rng(seed).integers(0, values, (n, m)) / values
    columns = _native.assign(profits)
    rows = np.flatnonzero(columns >= 0)
    chosen = profits[rows, columns[rows]]
    assert (columns.shape, columns.dtype) == ((n,), np.int32)
    assert len(set(columns[rows].tolist())) == len(rows)
    assert (chosen > 0).all()
    np.testing.assert_allclose(chosen.sum(), most(profits))


def test_assignment_agrees_with_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for shape in ((40, 40), (7, 90), (90, 7)):
        profits = np.maximum(rng.random(shape) - 0.5, 0)
        columns = _native.assign(profits)
        rows = np.flatnonzero(columns >= 0)
        best = profits[optimize.linear_sum_assignment(profits, maximize=True)].sum()
        np.testing.assert_allclose(profits[rows, columns[rows]].sum(), best)


@pytest.mark.parametrize("wrong", [-0.5, np.nan, np.inf])
def test_assignment_refuses_what_is_no_profit(wrong):
    with pytest.raises(ValueError, match="assign: an argument is out of range"):
        _native.assign(np.array([[1.0, wrong]]))


def crops(rng, n):
    """Return n soft masks on the grid, some of them empty: data, offsets, regions."""
    corners = np.sort(rng.integers(0, (*GRID[::-1], 1), (n, 2, 3)), axis=1)[..., :2]  # [n, 2, xy]
    regions = corners.reshape(n, 4).astype(np.int32)
    parts = [rng.integers(0, 256, (y1 - y0) * (x1 - x0), np.uint8) for x0, y0, x1, y1 in regions]
    return np.concatenate([np.zeros(0, np.uint8), *parts]), np.cumsum([0, *map(len, parts)], dtype=np.int64), regions


def cells(masks, i, shift=(0, 0)):
    """Return the cells of mask i as a set of x, y."""
    data, offsets, (x0, y0, x1, y1) = masks[0], masks[1], masks[2][i]
    y, x = np.nonzero(data[offsets[i] : offsets[i + 1]].reshape(y1 - y0, x1 - x0) > 127)
    return set(zip((x + x0 + shift[0]).tolist(), (y + y0 + shift[1]).tolist(), strict=True))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (6, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_masks_overlap_by_the_cells_that_both_hold(n, m, seed):
    rng = np.random.default_rng(seed)
    first, second = crops(rng, n), crops(rng, m)
    shifts = rng.integers(-15, 16, (n, 2)).astype(np.int32)
    ious = _native.mask_overlap(*first, shifts, *second, GRID)
    assert (ious.shape, ious.dtype) == ((n, m), np.float32)
    for i in range(n):
        for j in range(m):
            a, b = cells(first, i, shifts[i]), cells(second, j)
            np.testing.assert_allclose(ious[i, j], len(a & b) / max(1, len(a | b)), rtol=1e-6)


def test_masks_may_be_moved_far_out_of_the_grid():
    masks = crops(np.random.default_rng(0), 2)
    shifts = np.array([(2**31 - 1, 0), (0, -(2**31))], np.int32)
    assert not _native.mask_overlap(*masks, shifts, *masks, GRID).any()


def test_masks_that_leave_their_grid_are_refused():
    masks = crops(np.random.default_rng(0), 2)
    with pytest.raises(ValueError, match="mask_overlap: sizes contradict each other"):
        _native.mask_overlap(*masks, np.zeros((2, 2), np.int32), *masks, (24, 3))
