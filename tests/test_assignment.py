"""Which worker owns which camera: properties that hold whatever cameras cost and whoever comes and goes."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solo_rt.cluster.assignment import TOLERATED, assign
from solo_rt.errors import UsageError

COSTS = st.dictionaries(st.integers(0, 30).map("cam{}".format), st.floats(0, 1, width=32), max_size=25)
SPEEDS = st.dictionaries(st.integers(0, 6).map("worker{}".format), st.floats(0.5, 4, width=32), max_size=6)


def loads(costs, speeds, owners):
    return {w: sum(costs[c] for c in sorted(owners) if owners[c] == w) / speed for w, speed in speeds.items()}


def moved(before, after):
    return {camera for camera, worker in after.items() if before.get(camera, worker) != worker}


@given(COSTS, SPEEDS, SPEEDS)
def test_every_camera_has_one_owner_who_is_there(costs, speeds, former) -> None:
    owners = assign(costs, speeds, assign(costs, former, {}))
    assert owners.keys() == (costs.keys() if speeds else set())
    assert set(owners.values()) <= speeds.keys()


@given(COSTS, SPEEDS, st.randoms(use_true_random=False))
def test_the_order_in_which_names_come_changes_nothing(costs, speeds, chance) -> None:
    def shuffled(names):
        return dict(chance.sample(sorted(names.items()), len(names)))

    former = assign(costs, speeds, {})
    assert assign(shuffled(costs), shuffled(speeds), shuffled(former)) == assign(costs, speeds, former)


@given(COSTS, SPEEDS)
def test_nobody_moves_while_nothing_changes(costs, speeds) -> None:
    owners = assign(costs, speeds, {})
    assert assign(costs, speeds, owners) == owners


@given(COSTS, SPEEDS, SPEEDS)
def test_loads_are_as_even_as_one_more_move_could_make_them(costs, speeds, former) -> None:
    owners = assign(costs, speeds, assign(costs, former, {}))
    found = loads(costs, speeds, owners)
    mean = sum(costs.values()) / sum(speeds.values()) if speeds else 0.0
    for camera, worker in owners.items():
        left = found[worker] - costs[camera] / speeds[worker]
        for other in found:
            if found[worker] - min(found.values()) > TOLERATED * mean + 1e-6 and other != worker:
                assert found[worker] - max(left, found[other] + costs[camera] / speeds[other]) <= 1e-6


def test_a_lost_worker_s_cameras_are_shared_out_and_no_other_one_moves() -> None:
    costs = {f"cam{i:02}": 0.1 for i in range(24)}
    speeds = {f"worker{i}": 1.0 for i in range(4)}
    before = assign(costs, speeds, {})
    after = assign(costs, {name: 1.0 for name in speeds if name != "worker2"}, before)
    assert moved(before, after) == {camera for camera, worker in before.items() if worker == "worker2"}
    assert sorted(map(list(after.values()).count, set(after.values()))) == [8, 8, 8]


def test_a_new_worker_is_given_as_much_as_makes_it_worth_while_and_no_more() -> None:
    costs = {f"cam{i:02}": 0.1 for i in range(30)}
    before = assign(costs, {"a": 1.0, "b": 1.0}, {})
    after = assign(costs, {"a": 1.0, "b": 1.0, "c": 1.0}, before)
    assert len(moved(before, after)) == 9  # 11, 10 and 9: as even as is asked for
    assert set(after.values()) == {"a", "b", "c"}


def test_a_camera_that_costs_more_than_all_others_is_left_alone_by_them() -> None:
    costs = {"wide": 1.0, **{f"cam{i}": 0.1 for i in range(5)}}
    owners = assign(costs, {"a": 1.0, "b": 1.0}, {})
    assert [camera for camera, worker in owners.items() if worker == owners["wide"]] == ["wide"]


def test_a_worker_of_twice_the_speed_owns_twice_as_much() -> None:
    owners = assign({f"cam{i:02}": 0.1 for i in range(30)}, {"fast": 2.0, "slow": 1.0}, {})
    assert list(owners.values()).count("fast") == 20


def test_cameras_of_which_nothing_is_known_are_shared_out_by_number() -> None:
    owners = assign({f"cam{i}": 0.0 for i in range(6)}, {"a": 1.0, "b": 1.0}, {})
    assert list(owners.values()).count("a") == 3


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf")])
def test_costs_and_speeds_that_are_none_are_refused(cost: float) -> None:
    with pytest.raises(UsageError, match="camera x: expected a cost of at least 0"):
        assign({"x": cost}, {"a": 1.0}, {})
    with pytest.raises(UsageError, match="worker a: expected a speed above 0"):
        assign({"x": 0.1}, {"a": 0.0 if cost != cost else cost}, {})


@pytest.mark.slow
def test_a_thousand_cameras_are_rebalanced_over_an_hour_of_losses_in_less_than_a_minute() -> None:
    """Fifty workers, of which one is lost every minute and back half a minute later, and costs that drift."""
    chance = random.Random(5)
    costs = {f"cam{i:04}": chance.uniform(0.01, 0.1) for i in range(1000)}
    speeds = {f"worker{i:02}": chance.choice([1.0, 2.0]) for i in range(50)}
    began = time.monotonic()
    there, owners, needless = dict(speeds), assign(costs, speeds, {}), 0
    for half_minute in range(120):
        costs = {name: min(0.2, max(0.005, cost * chance.uniform(0.95, 1.05))) for name, cost in costs.items()}
        before = owners
        lost = set()
        if half_minute % 2:
            lost = {chance.choice(sorted(there))}
        there = {name: speed for name, speed in speeds.items() if name not in lost}
        owners = assign(costs, there, before)
        found = loads(costs, there, owners)
        mean = sum(costs.values()) / sum(there.values())
        assert owners.keys() == costs.keys()
        assert max(found.values()) - min(found.values()) <= TOLERATED * mean + 0.2
        needless += len(moved({c: w for c, w in before.items() if w not in lost}, owners))
    assert time.monotonic() - began < 60
    assert needless < 120 * 25, "about as many move as a worker owns that is back"
