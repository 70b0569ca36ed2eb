"""An event stream in columns: one row for each event, one row for each block's life. numpy arrays, never changed.

A stream of an hour has millions of events, so none of them is a record of its own; `heaptrail.wire` fills these
columns, `heaptrail.analysis.lifetimes` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.model.observations import Problem, RawFrame

Ints = NDArray[np.int64]


class Kind(IntEnum):
    """What an event is. `TIME` only moves the clock and is left out of the columns' meaning."""

    ALLOC = 0
    FREE = 1
    FREE_AT = 2
    TIME = 3
    MARK = 4
    FAILED = 5
    REALLOC = 6
    DOUBLE_FREE = 7


class MarkKind(IntEnum):
    """What a mark says; numbers from 16 up are the firmware's own."""

    CYCLE = 0
    WORKLOAD_START = 1
    WORKLOAD_STOP = 2
    TEARDOWN_DONE = 3


class Ending(IntEnum):
    """How a block's life ended, as far as the stream shows."""

    LIVE = 0
    FREED = 1
    UNSEEN = 2
    """It is gone (its address was handed out again, or the device restarted), but its free was not received."""


@dataclass(frozen=True, slots=True, eq=False)
class Events:
    """Events in the order sent. Every array has one entry for each event.

    Args:
        kind: See `Kind`.
        run: Runs of the device, from 0; numbers of stacks and tasks mean something within one run only.
        time: Ticks since the device's clock was 0, unwrapped over the stream.
        birth: Number of the last allocation so far (an allocation's own), unwrapped, apart for each run.
        age: Of the freed or moved block, in allocations; 0 where the kind has none.
        address: The address the event names; where it names none, the last one named.
        size: Requested bytes; -1 unknown (its stack's definition was lost); a mark's number; 0 where the kind has none.
        stack: Number of the stack, 0 for none.
        task: Number of the task, -1 unknown; a mark's kind.
    """

    kind: NDArray[np.uint8]
    run: NDArray[np.int32]
    time: Ints
    birth: Ints
    age: NDArray[np.uint32]
    address: NDArray[np.uint64]
    size: Ints
    stack: NDArray[np.uint16]
    task: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Lifetimes:
    """One row for each allocation, in the order born.

    Args:
        born, died: Positions in `Events`; `died` is -1 while it lives, and where the free was not received.
        ending: See `Ending`.
        size: Requested bytes in the end, -1 unknown.
        unmatched_frees: Frees of blocks whose allocation is not in the stream.
    """

    born: Ints
    died: Ints
    ending: NDArray[np.uint8]
    size: Ints
    address: NDArray[np.uint64]
    unmatched_frees: int


@dataclass(frozen=True, slots=True)
class StackDefinition:
    """A call stack as the device told it. `usual_task` is the task that was first seen at it."""

    frames: tuple[RawFrame, ...]
    usual_size_bytes: int
    usual_task: int
    cut: bool


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A task's name (empty where the device does not know it) and the system's number of it."""

    name: str
    id: int


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """What a stream is made of, and what is missing.

    Args:
        frames: Frames that passed their checksum, definitions and repetitions included.
        damaged_frames: Stretches between zeros that were no frame; what they held is among `lost_events`, if anything.
        foreign_bytes: Bytes of console text between frames.
        lost_events: Events that the frames' numbers say are missing, at least.
        dropped_events: The part of them that the device itself says it had no room for.
        restarts: Times that the device began anew.
        cut_events: Events beyond the limit, not kept.
    """

    bytes_read: int = 0
    frames: int = 0
    damaged_frames: int = 0
    foreign_bytes: int = 0
    lost_events: int = 0
    dropped_events: int = 0
    restarts: int = 0
    cut_events: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Everything that a stream said. Definitions are found by `(run, number)`."""

    events: Events
    lifetimes: Lifetimes
    stacks: Mapping[tuple[int, int], StackDefinition]
    tasks: Mapping[tuple[int, int], TaskDefinition]
    counts: StreamCounts
    problems: tuple[Problem, ...]
    ticks_per_s: int | None = None
    pointer_bytes: int | None = None
    build_id: str | None = None
