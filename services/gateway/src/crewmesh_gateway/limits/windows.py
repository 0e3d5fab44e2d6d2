"""Counting over a window of time that slides, in small buckets.

A window of a minute is thirty buckets of two seconds, one of a second ten of a tenth. What is counted is the current
bucket and as many whole ones before it: at least the window, at most one bucket more. So never more than the limit is
admitted in any window, and a caller waits at most one bucket longer than an exact record of every request would make
it wait. Only buckets in which something happened exist.

Every count is this replica's own and, in the buckets it has heard of, that of the others: ``collect`` hands out what
others have not been told yet, ``learn`` takes in what all of them counted together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import ceil


class Shape:
    """How long a window is, and how finely it slides."""

    __slots__ = ("buckets", "per_second", "seconds", "width")

    def __init__(self, *, seconds: int, buckets: int) -> None:
        self.seconds = seconds
        self.buckets = buckets
        self.width = seconds / buckets
        self.per_second = buckets / seconds

    def bucket_at(self, now: float) -> int:
        return int(now * self.per_second)


MINUTE = Shape(seconds=60, buckets=30)
SECOND = Shape(seconds=1, buckets=10)


class _Bucket:
    __slots__ = ("count", "index", "untold")

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.count = count
        self.untold = 0


_NEVER = sys.maxsize
_NOTHING_YET = _Bucket(-1, 0)


class Window:
    """One caller's requests within one window. ``bucket`` is the present one in every method; time never goes back."""

    __slots__ = ("_buckets", "_heard_at", "_kept", "_last", "_oldest", "_total", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._kept = shape.buckets
        # A list, for there are few: a deque is a thousand bytes when it holds one.
        self._buckets: list[_Bucket] = []
        # The last of them, or one of long ago; and the name of the first.
        self._last = _NOTHING_YET
        self._oldest = _NEVER
        self._total = 0
        # When the others' counts were heard last.
        self._heard_at = 0.0

    def total(self, bucket: int) -> int:
        if self._oldest < bucket - self._kept:
            self._forget(bucket - self._kept)
        return self._total

    def add(self, bucket: int) -> None:
        """Only after ``total`` was asked for the same bucket."""
        last = self._last
        if last.index < bucket:
            last = self._last = _Bucket(bucket, 0)
            if not self._buckets:
                self._oldest = bucket
            self._buckets.append(last)
        last.count += 1
        last.untold += 1
        self._total += 1

    @property
    def known(self) -> int:
        """As counted last; what left the window since then is still in it."""
        return self._total

    def seconds_unchanged(self, bucket: int) -> int:
        """Until the oldest requests leave the window; before that, no more room comes."""
        return ceil((self._oldest + self._kept + 1 - bucket) * self.shape.width) if self._buckets else 0

    def seconds_until_below(self, limit: int, now: float) -> float:
        """Until there is room for one more request, should none come until then."""
        left = self._total
        for bucket in self._buckets:
            left -= bucket.count
            if left < limit:
                return self._leaves(bucket) - now
        return 0.0

    def collect(self) -> Iterator[tuple[int, int]]:
        """Each bucket with what the others do not know of it. It is handed out once: lost news is not told again,
        for a count that arrived twice would refuse somebody without reason."""
        for bucket in self._buckets:
            if bucket.untold:
                told, bucket.untold = bucket.untold, 0
                yield bucket.index, told

    def to_hear(self, now: float, *, late: float) -> range:
        """The buckets to ask the others about: since the last time (counts come ``late``), or the whole window."""
        bucket = self.shape.bucket_at(now)
        first = max(self.shape.bucket_at(self._heard_at - late), bucket - self._kept)
        self._heard_at = now
        return range(first, bucket + 1)

    def learn(self, index: int, everybodys: int) -> None:
        """What all replicas together counted in one bucket. What is known already is never taken back."""
        bucket = self._find(index)
        count = everybodys if bucket is None else everybodys + bucket.untold
        if bucket is None and count:
            bucket = self._insert(index)
        if bucket is not None and count > bucket.count:
            self._total += count - bucket.count
            bucket.count = count

    def _leaves(self, bucket: _Bucket) -> float:
        return (bucket.index + self.shape.buckets + 1) * self.shape.width

    def _find(self, index: int) -> _Bucket | None:
        return next((bucket for bucket in reversed(self._buckets) if bucket.index == index), None)

    def _insert(self, index: int) -> _Bucket:
        new = _Bucket(index, 0)
        place = sum(1 for bucket in self._buckets if bucket.index < index)
        self._buckets.insert(place, new)
        self._oldest, self._last = self._buckets[0].index, self._buckets[-1]
        return new

    def _forget(self, before: int) -> None:
        buckets = self._buckets
        over = sum(1 for bucket in buckets if bucket.index < before)
        self._total -= sum(bucket.count for bucket in buckets[:over])
        del buckets[:over]
        self._oldest = buckets[0].index if buckets else _NEVER
