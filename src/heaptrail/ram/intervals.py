"""Stretches of addresses, `(first, end)` with `end` exclusive: joined, cut and asked."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Interval = tuple[int, int]


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The same addresses as sorted intervals that neither overlap nor touch; empty ones are dropped."""
    result: list[Interval] = []
    for first, end in sorted(pair for pair in intervals if pair[1] > pair[0]):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((first, end))
    return result


def without(intervals: Iterable[Interval], removed: Iterable[Interval]) -> list[Interval]:
    """What is in `intervals` and not in `removed`, sorted."""
    holes = joined(removed)
    result: list[Interval] = []
    for first, end in joined(intervals):
        at = first
        index = max(bisect_right(holes, (first, 1 << 65)) - 1, 0)
        while index < len(holes) and holes[index][0] < end:
            hole_first, hole_end = holes[index]
            if hole_first > at:
                result.append((at, hole_first))
            at = max(at, hole_end)
            index += 1
        if at < end:
            result.append((at, end))
    return result


def within(intervals: Iterable[Interval], bounds: Iterable[Interval]) -> list[Interval]:
    """What is in both, sorted."""
    mine = joined(intervals)
    return without(mine, without(mine, bounds))


def total(intervals: Iterable[Interval]) -> int:
    """How many addresses these are; they must not overlap."""
    return sum(end - first for first, end in intervals)


def holds(intervals: Sequence[Interval], address: int) -> bool:
    """Whether sorted `intervals` that do not overlap hold `address`."""
    index = bisect_right(intervals, (address, 1 << 65)) - 1
    return index >= 0 and address < intervals[index][1]
