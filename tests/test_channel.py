from __future__ import annotations

import threading

import pytest

from solo_rt.pipeline.channel import Channel, Closed

WAIT = 5.0  # seconds; only a failing test takes that long


def in_thread(function, *args):
    """Start `function` on a thread; its `.outcome` is what it returned or raised, once joined."""

    def work():
        try:
            thread.outcome = function(*args)
        except Exception as error:
            thread.outcome = error

    thread = threading.Thread(target=work, daemon=True)
    thread.outcome = None
    thread.start()
    return thread


def joined(thread):
    thread.join(WAIT)
    assert not thread.is_alive()
    return thread.outcome


def test_items_come_out_in_order():
    channel = Channel(3)
    assert [channel.put(i) for i in range(3)] == [0, 0, 0]
    assert [channel.get() for _ in range(3)] == [0, 1, 2]


def test_full_blocking_channel_makes_its_producer_wait():
    channel = Channel(1)
    channel.put("first")
    thread = in_thread(channel.put, "second")
    thread.join(0.05)
    assert thread.is_alive()
    assert channel.get() == "first"
    assert joined(thread) == 0
    assert channel.get() == "second"


def test_full_freshest_channel_drops_the_oldest_and_counts_it():
    channel = Channel(2, freshest=True)
    assert [channel.put(i) for i in range(5)] == [0, 0, 1, 1, 1]
    assert [channel.get(), channel.get()] == [3, 4]


def test_closed_channel_gives_what_it_holds_then_ends():
    for freshest in (False, True):
        channel = Channel(2, freshest=freshest)
        channel.put(1)
        channel.put(2)
        channel.close()
        with pytest.raises(Closed):
            channel.put(3)
        with pytest.raises(Closed):
            channel.reserve()
        assert [channel.get(), channel.get()] == [1, 2]
        with pytest.raises(Closed):
            channel.get()


def test_item_that_was_waited_for_is_still_there_or_a_newer_one():
    channel = Channel(1, freshest=True)
    thread = in_thread(channel.wait)
    channel.put("old")
    assert joined(thread) is None
    channel.put("new")
    channel.close()
    channel.wait()
    assert not channel.is_over
    assert channel.get() == "new"
    assert channel.is_over
    with pytest.raises(Closed):
        channel.wait()


def test_cancelled_channel_gives_nothing():
    channel = Channel(2)
    channel.put(1)
    channel.cancel()
    with pytest.raises(Closed):
        channel.get()


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_ending_wakes_whoever_waits(end):
    empty, full = Channel(1), Channel(1)
    full.put(0)
    threads = [in_thread(empty.get), in_thread(full.put, 1), in_thread(full.reserve)]
    for channel in (empty, full):
        getattr(channel, end)()
    assert [type(joined(thread)) for thread in threads] == [Closed] * 3


def test_get_gives_up_after_its_timeout():
    with pytest.raises(TimeoutError):
        Channel(1).get(timeout=0.01)


def test_reserve_waits_for_room_which_reserved_places_take():
    channel = Channel(2)
    assert [channel.reserve(), channel.reserve()] == [0, 1]
    thread = in_thread(channel.reserve)
    channel.fill(0, "first")
    thread.join(0.05)
    assert thread.is_alive()
    assert channel.get() == "first"
    assert joined(thread) == 2


def test_items_come_out_in_the_order_of_their_places():
    channel = Channel(3)
    places = [channel.reserve() for _ in range(3)]
    taken = in_thread(lambda: [channel.get(WAIT) for _ in range(3)])
    for place in reversed(places):
        channel.fill(place, place)
    assert joined(taken) == places


def test_closed_channel_waits_for_the_places_before_its_end():
    channel = Channel(3)
    first, second, third = (channel.reserve() for _ in range(3))
    channel.close(at=second)
    channel.fill(third, "too late")
    taken = in_thread(channel.get)
    taken.join(0.05)
    assert taken.is_alive()
    channel.fill(first, "in time")
    assert joined(taken) == "in time"
    assert type(joined(in_thread(channel.get))) is Closed


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_channel_closed_twice_ends_at_the_lower_place_for_its_reason(order):
    channel = Channel(3)
    failures = {place: ValueError(place) for place in (1, 2)}
    for place in (channel.reserve() for _ in range(3)):
        if place not in failures:
            channel.fill(place, place)
    for place in order:
        channel.close(at=place, reason=failures[place])
    channel.close()
    assert channel.get() == 0
    with pytest.raises(Closed) as caught:
        channel.get()
    assert caught.value.reason is failures[1]


def test_cancelled_channel_waits_for_no_place():
    channel = Channel(2)
    place = channel.reserve()
    taken = in_thread(channel.get)
    channel.cancel()
    assert type(joined(taken)) is Closed
    channel.fill(place, "too late")
    with pytest.raises(Closed):
        channel.get()


def test_nothing_is_lost_or_reordered_between_two_threads():
    channel = Channel(2)

    def produce():
        for i in range(2000):
            channel.put(i)
        channel.close()

    producer = in_thread(produce)
    received = []
    with pytest.raises(Closed):
        while True:
            received.append(channel.get(WAIT))
    joined(producer)
    assert received == list(range(2000))


def test_depth_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Channel(0)


def test_place_of_a_handed_over_item_is_free_once_it_is_done():
    channel: Channel[int] = Channel(1, handover=True)
    channel.put(0)
    assert channel.get() == 0
    places: list[int] = []
    thread = threading.Thread(target=lambda: places.append(channel.reserve()), daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    channel.done()
    thread.join(WAIT)
    assert places == [1]
