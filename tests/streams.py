"""Event streams made by hand, one event after the other: a frame's number is the stack's, 0x1000 times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heaptrail.model.observations import RawFrame
from heaptrail.model.stream import Events, Kind, MarkKind, StackDefinition, Stream, StreamCounts, TaskDefinition
from heaptrail.wire.lives import lifetimes_of

FREER = 9


class Row(NamedTuple):
    kind: Kind
    address: int = 0
    size: int = 0
    stack: int = 0
    task: int = 0


def stream(rows: list[Row], *, lost: int = 0, restarts: tuple[int, ...] = ()) -> Stream:
    """The stream of these rows; the device began anew before each row of `restarts`."""
    count = len(rows)
    kind = np.array([row.kind for row in rows], dtype=np.uint8)
    events = Events(
        kind=kind,
        run=np.searchsorted(np.array(restarts, dtype=np.int64), np.arange(count), side="right").astype(np.int32),
        time=np.arange(count),
        birth=np.cumsum(kind == Kind.ALLOC),
        age=np.zeros(count, dtype=np.uint32),
        address=np.array([row.address for row in rows], dtype=np.uint64),
        size=np.array([row.size for row in rows], dtype=np.int64),
        stack=np.array([row.stack for row in rows], dtype=np.uint16),
        task=np.array([row.task for row in rows], dtype=np.int16),
    )
    return Stream(
        events=events,
        lifetimes=lifetimes_of(events),
        stacks={
            (run, n): StackDefinition((RawFrame(0x1000 * n, "call"),), 0, 1, cut=False)
            for n in range(1, 20)
            for run in range(len(restarts) + 1)
        },
        tasks={(run, 1): TaskDefinition("Audio", 7) for run in range(len(restarts) + 1)},
        counts=StreamCounts(lost_events=lost, restarts=len(restarts)),
        problems=(),
    )


def alloc(address: int, stack: int) -> Row:
    return Row(Kind.ALLOC, address, 100, stack, 1)


def freed(address: int, stack: int = FREER) -> Row:
    return Row(Kind.FREE_AT, address, 0, stack, 1)


def cycle(number: int) -> Row:
    return Row(Kind.MARK, size=number, task=MarkKind.CYCLE)
