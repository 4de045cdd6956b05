from __future__ import annotations

import numpy as np
import pytest

from solo_rt.pipeline.timing import BUCKETS, Histogram


def test_percentiles_are_those_of_the_sorted_list():
    seconds = np.random.default_rng(0).lognormal(-4, 1, 5000)
    histogram = Histogram()
    for value in seconds:
        histogram.add(value)
    for share in (0.5, 0.95, 0.99):
        exact = np.quantile(seconds, share, method="inverted_cdf")
        assert histogram.percentile(share) == pytest.approx(exact, rel=0.005)
    assert histogram.total == pytest.approx(seconds.sum())


def test_empty_histogram_is_all_zeros():
    stats = Histogram().stats(1.0)
    assert (stats.count, stats.mean, stats.p50, stats.p99, stats.max, stats.busy) == (0, 0, 0, 0, 0, 0)


def test_one_duration_is_every_percentile():
    histogram = Histogram()
    histogram.add(0.02)
    stats = histogram.stats(0.1)
    assert stats.mean == 0.02
    assert stats.p50 == stats.p95 == stats.p99 == pytest.approx(0.02, rel=0.005)
    assert stats.busy == pytest.approx(0.2)


def test_no_percentile_is_above_the_longest_duration():
    histogram = Histogram()
    for seconds in (0.0301, 0.0302, 0.0303):
        histogram.add(seconds)
    stats = histogram.stats(1.0)
    assert stats.max == 0.0303
    assert stats.p50 <= stats.p95 <= stats.p99 <= stats.max
    assert histogram.percentiles() == (stats.p50, stats.p95)


def test_extreme_durations_stay_inside_the_buckets():
    histogram = Histogram()
    for seconds in (-1.0, 0.0, 1e-9, 1e9):
        histogram.add(seconds)
    assert histogram.count == 4
    assert histogram.percentile(0.5) < 2e-6
    assert histogram.percentile(1.0) > 9e3
    assert len(histogram._buckets) == BUCKETS
