"""Points against polygons and lines, compared with the slow and obvious way."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solo_rt.track.anchors import NUDGE
from solo_rt.track.sides import Sides, find_meeting, signed_area

SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]
BOW = [(0, 0), (10, 10), (10, 0), (0, 10)]
HORSESHOE = [(0, 0), (12, 0), (12, 12), (8, 12), (8, 4), (4, 4), (4, 12), (0, 12)]
whole = st.integers(0, 12)
spots = st.tuples(whole, whole)


def turn(a, b, c) -> int:
    """Return which side of a b the point c is on, exactly: 1 for the right on a screen, -1 for the left, 0 for none."""
    (ax, ay), (bx, by), (cx, cy) = ([Fraction(v) for v in point] for point in (a, b, c))
    product = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    return (product > 0) - (product < 0)


def sides_of(shape, *, closed):
    return [*pairwise(shape), *([(shape[-1], shape[0])] if closed else [])]


def contains_slowly(polygon, point) -> bool:
    """Return whether a ray to the right, from a point at no corner's height, crosses an odd number of sides."""
    x, y = (Fraction(float(v)) for v in point)
    odd = False
    for (ax, ay), (bx, by) in sides_of(polygon, closed=True):
        if min(ay, by) < y < max(ay, by):
            odd ^= ax + (y - ay) * Fraction(bx - ax) / Fraction(by - ay) > x
    return odd


def crossings_slowly(line, start, end) -> int:
    found = 0
    for a, b in sides_of(line, closed=False):
        if turn(a, b, start) != turn(a, b, end) and turn(start, end, a) != turn(start, end, b):
            found += turn(a, b, end)
    return found


def distance_slowly(shape, point, *, closed) -> float:
    return min(
        math.dist(point, (ax + (bx - ax) * share, ay + (by - ay) * share))
        for (ax, ay), (bx, by) in sides_of(shape, closed=closed)
        for share in np.linspace(0, 1, 4001)
    )


def nudged(*points):
    """Return points [N, 1, 2] as anchors are."""
    return np.array(points, np.float64)[:, None] + NUDGE


def shapes(*corners):
    return [np.array(shape, np.float64) for shape in corners]


@given(st.lists(spots, min_size=3, max_size=7, unique=True), st.lists(spots, min_size=1, max_size=9))
def test_points_are_in_a_polygon_as_by_the_even_odd_rule(polygon, points):
    anchors = nudged(*points)
    found = Sides(shapes(polygon), closed=True).contain(anchors)
    assert found[:, 0].tolist() == [contains_slowly(polygon, point) for point in anchors[:, 0]]


@given(st.lists(spots, min_size=2, max_size=7, unique=True), st.lists(spots, min_size=2, max_size=9))
def test_crossings_of_whole_coordinates_are_counted_with_their_directions(line, way):
    anchors = nudged(*way)
    found = Sides(shapes(line), closed=False).crossings(anchors[:-1], anchors[1:])
    expected = [crossings_slowly(line, start.tolist(), end.tolist()) for start, end in pairwise(anchors[:, 0])]
    assert found[:, 0].tolist() == expected


@given(st.lists(spots, min_size=3, max_size=9))
def test_a_way_that_ends_where_it_began_crosses_a_line_through_the_picture_as_often_to_each_side(way):
    anchors = nudged(*way, way[0])
    line = [(-50, 6), (3, 6), (6, 3), (9, 9), (80, 6)]
    assert Sides(shapes(line), closed=False).crossings(anchors[:-1], anchors[1:]).sum() == 0


@given(st.lists(spots, min_size=2, max_size=5, unique=True), spots)
def test_distances_are_those_to_the_nearest_side(shape, point):
    for closed in (False, True):
        found = Sides(shapes(shape), closed=closed).distances(np.array([[point]], np.float64))
        assert found[0, 0] == pytest.approx(distance_slowly(shape, point, closed=closed), abs=0.01)


def test_every_shape_is_asked_about_its_own_points():
    sides = Sides(shapes(SQUARE, HORSESHOE, [(20, 20), (30, 20), (20, 30)]), closed=True)
    points = np.array([[(5, 5), (6, 8), (22, 22)], [(11, 5), (2, 8), (5, 5)]], np.float64)
    assert sides.contain(points).tolist() == [[True, False, True], [False, True, False]]
    np.testing.assert_allclose(sides.distances(points)[1], [1, 2, math.hypot(15, 15)])
    lines = Sides(shapes([(0, 0), (0, 10)], [(5, 0), (5, 10)]), closed=False)
    start, end = np.array([[(-1, 5), (4, 5)]], float), np.array([[(1, 5), (4, 6)]], float)
    assert lines.crossings(start, end).tolist() == [[-1, 0]]
    assert lines.crossings(end, start).tolist() == [[1, 0]]


def test_no_shapes_and_no_points_are_no_trouble():
    none = Sides([], closed=True)
    assert none.contain(np.zeros((3, 0, 2))).shape == none.distances(np.zeros((3, 0, 2))).shape == (3, 0)
    assert none.crossings(np.zeros((3, 0, 2)), np.zeros((3, 0, 2))).shape == (3, 0)
    assert Sides(shapes(SQUARE), closed=True).contain(np.zeros((0, 1, 2))).shape == (0, 1)


def meets_slowly(shape, *, closed) -> bool:
    """Return whether sides that are no neighbours share a point, or neighbours more than their common one."""
    sides = sides_of(shape, closed=closed)
    for (i, (a, b)), (j, (c, d)) in combinations(enumerate(sides), 2):
        if j == i + 1 or (closed and i == 0 and j == len(sides) - 1):
            (p, q), r = ((a, b), d) if j == i + 1 else ((c, d), b)  # from p to q, and on to r
            back = (p[0] - q[0]) * (r[0] - q[0]) + (p[1] - q[1]) * (r[1] - q[1]) > 0
            if turn(p, q, r) == 0 and back:
                return True
            continue
        if turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0:
            return True
        for p, (q, r) in ((c, (a, b)), (d, (a, b)), (a, (c, d)), (b, (c, d))):  # a corner on the other side
            on = min(q[0], r[0]) <= p[0] <= max(q[0], r[0]) and min(q[1], r[1]) <= p[1] <= max(q[1], r[1])
            if on and turn(q, r, p) == 0:
                return True
    return False


@given(st.lists(spots, min_size=2, max_size=7), st.booleans())
def test_sides_that_meet_are_found_in_whole_coordinates(shape, closed):
    joints = [*pairwise(shape), *([(shape[-1], shape[0])] if closed else [])]
    if len(shape) < 2 + closed or any(a == b for a, b in joints):
        return
    found = find_meeting(np.array(shape, np.float64), closed=closed)
    assert (found is not None) == meets_slowly(shape, closed=closed)


@pytest.mark.parametrize(
    ("shape", "closed", "meeting"),
    [
        (SQUARE, True, None),
        (HORSESHOE, True, None),
        (HORSESHOE, False, None),  # ends as it began, the other way
        (BOW, True, (1, 3)),
        (BOW, False, (1, 3)),
        ([(0, 0), (10, 0), (5, 0)], False, (1, 2)),  # back on itself
        ([(5, 0), (0, 0), (10, 0), (10, 9)], True, (1, 2)),
        ([(0, 0), (10, 0), (10, 9), (5, 0)], True, (1, 3)),  # a corner on a side
        ([(0, 0), (5, 5)], False, None),
        ([(0, 0), (9, 0), (9, 9), (0, 0)], False, (1, 3)),
        ([(0, 0), (4, 0), (9, 0)], False, None),
        ([(9, 0), (9, 9), (0, 0), (20, 0)], True, (1, 3)),
        ([(0, 0), (5, 0), (10, 0)], True, (1, 3)),  # the last side lies on the others
    ],
)
def test_the_first_sides_that_meet_are_named(shape, closed, meeting):
    assert find_meeting(np.array(shape, np.float64), closed=closed) == meeting


def test_area_is_that_of_the_polygon():
    assert signed_area(np.array(SQUARE, np.float64)) == 100
    assert signed_area(np.array(SQUARE[::-1], np.float64)) == -100
    assert abs(signed_area(np.array(HORSESHOE, np.float64))) == 144 - 32
