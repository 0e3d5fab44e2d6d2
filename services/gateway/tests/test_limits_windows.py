"""The sliding windows against an exact record of every request, over any course of time."""

from __future__ import annotations

from bisect import bisect_right
from copy import deepcopy

import pytest
from crewmesh_gateway.limits.neighbourhoods import neighbourhood
from crewmesh_gateway.limits.windows import MINUTE, SECOND, Shape, Window
from hypothesis import given
from hypothesis import strategies as st

_LIMIT = 7
# In steps that doubles hold exactly, so that the borders are where they are meant to be.
_STEPS = st.lists(st.integers(0, 400), max_size=200)


class Record:
    """Every admitted request, by its time."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def within(self, seconds: float, now: float) -> int:
        return len(self.times) - bisect_right(self.times, now - seconds)


@pytest.mark.parametrize("shape", [MINUTE, SECOND], ids=["minute", "second"])
@given(steps=_STEPS)
def test_never_more_than_the_limit_and_never_refused_much_longer_than_needed(shape: Shape, steps: list[int]) -> None:
    window, record, now = Window(shape), Record(), 1_800_000_000.0
    for step in steps:
        now += step * shape.width / 64
        bucket = shape.bucket_at(now)
        counted = window.total(bucket)
        assert record.within(shape.seconds, now) <= counted, "nothing within the window is overlooked"
        assert counted <= record.within(shape.seconds + shape.width * 1.001, now), "and one bucket more, at most"
        if counted < _LIMIT:
            window.add(bucket)
            record.times.append(now)
        else:
            wait = window.seconds_until_below(_LIMIT, now)
            assert 0 < wait <= shape.seconds + shape.width
            assert deepcopy(window).total(shape.bucket_at(now + wait + shape.width / 100)) < _LIMIT, "who waits gets in"


@given(
    requests=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 90)), max_size=150),
    exchanges=st.lists(st.integers(0, 149), max_size=40),
)
def test_replicas_that_told_each_other_count_the_same(requests: list[tuple[int, int]], exchanges: list[int]) -> None:
    windows = (Window(MINUTE), Window(MINUTE))
    held: dict[int, int] = {}
    now, record = 1_800_000_000.0, Record()
    for number, (replica, step) in enumerate(requests):
        now += step / 64
        windows[replica].total(MINUTE.bucket_at(now))
        windows[replica].add(MINUTE.bucket_at(now))
        record.times.append(now)
        if number in exchanges:
            _exchange(windows[replica], held, now)
    for window in (*windows, *windows):  # once to tell, once to hear what the other told after
        _exchange(window, held, now)
    bucket = MINUTE.bucket_at(now)
    counted = {window.total(bucket) for window in windows}
    assert len(counted) == 1
    assert record.within(60, now) <= counted.pop() <= record.within(62.001, now)


def _exchange(window: Window, held: dict[int, int], now: float) -> None:
    new = dict.fromkeys(window.to_hear(now, late=60), 0)
    new.update(window.collect())
    for index, more in new.items():
        held[index] = held.get(index, 0) + more
        window.learn(index, held[index])


def test_what_is_known_is_not_forgotten_when_valkey_forgets() -> None:
    window = Window(MINUTE)
    for _ in range(5):
        window.add(100)
    assert list(window.collect()) == [(100, 5)]
    window.learn(100, 12)
    window.learn(100, 0)
    assert window.total(100) == 12
    assert list(window.collect()) == [], "nothing is told twice"


def test_a_quiet_caller_holds_no_buckets() -> None:
    window = Window(SECOND)
    for bucket in range(1000):
        window.total(bucket)
        window.add(bucket)
    assert window.total(1000) == 10
    assert window.total(5000) == 0
    assert window.seconds_unchanged(5000) == 0


def test_whoever_has_one_address_of_ipv6_has_its_whole_network() -> None:
    assert neighbourhood("2001:db8:1:2:3:4:5:6") == neighbourhood("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert neighbourhood("2001:db8:1:3::1") != neighbourhood("2001:db8:1:2::1")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood(None) == neighbourhood("") == "unknown"
