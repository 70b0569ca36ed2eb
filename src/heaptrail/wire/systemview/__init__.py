"""SystemView recordings of ESP-IDF's host-side heap trace (`.svdat`), as a `Stream` or as observations.

No I/O, no clock, no symbols. The heap module's events carry the block's address, the size that was asked for and the
return addresses of the callers; which task they belong to is told by the switches around them.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from heaptrail.errors import FormatError
from heaptrail.model.observations import Event, Mark, Problem, RawFrame, Task
from heaptrail.model.stream import Events, Kind, MarkKind, StackDefinition, Stream, StreamCounts, TaskDefinition
from heaptrail.units import plural
from heaptrail.wire.lives import lifetimes_of
from heaptrail.wire.systemview.packets import looks_like_recording
from heaptrail.wire.systemview.recording import Moment, Recording, read_recording

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from heaptrail.model.observations import AnyObservation

__all__ = ["looks_like_recording", "observations_of", "read_recording", "stream_of"]

_MOST_STACKS = 0xFFFF
_MOST_TASKS = 0x7FFF
_TRY_TRACE = (
    "in the firmware heap_trace_init_tohost() and heap_trace_start(HEAP_TRACE_ALL), and record from before they are "
    "called (ESP-IDF's guide, Heap Memory Debugging, host-based mode)"
)


def stream_of(recording: Recording, cycle_mark: re.Pattern[str] | None = None, *, frames_per_block: int = 64) -> Stream:
    """A recording in columns, as the analysis of whole lives takes it.

    Args:
        recording: What was read.
        cycle_mark: Ends a cycle where it is found in a line that the firmware sent to the host, or in `mark N start`
            and `mark N stop`, the firmware's own marks.
        frames_per_block: Callers kept for each event.

    Raises:
        FormatError: There is no heap event in it.
    """
    if not any(moment.what != "mark" for moment in recording.moments):
        raise FormatError(
            f"{recording.names[0]} holds no allocation and no free in {plural(recording.packets, 'packet')}",
            try_this=_TRY_TRACE,
        )
    columns = _Columns(frames_per_block)
    for moment in recording.moments:
        columns.add(moment, cycle_mark)
    events = columns.events()
    counts = StreamCounts(
        bytes_read=sum(recording.sizes),
        frames=recording.packets,
        damaged_frames=recording.damaged,
        lost_events=recording.dropped + recording.damaged_bytes // _LEAST_BYTES,
        dropped_events=recording.dropped,
        restarts=recording.runs - 1,
        cut_events=recording.omitted,
    )
    problems = [*_problems(recording), *columns.problems(cycle_mark)]
    return Stream(
        events=events,
        lifetimes=lifetimes_of(events),
        stacks=columns.stacks,
        tasks=columns.tasks,
        counts=counts,
        problems=tuple(problems),
        ticks_per_s=recording.ticks_per_s,
        pointer_bytes=4,
    )


_LEAST_BYTES = 8
"""A heap event is no shorter, so damage hides at most one for each of so many bytes."""


class _Columns:
    """Moments, put into columns one by one."""

    def __init__(self, frames_per_block: int) -> None:
        self._frames = frames_per_block
        self.stacks: dict[tuple[int, int], StackDefinition] = {}
        self.tasks: dict[tuple[int, int], TaskDefinition] = {}
        self._stack_numbers: dict[tuple[int, tuple[int, ...]], int] = {}
        self._task_numbers: dict[tuple[int, str], int] = {}
        self._kind, self._run = array("B"), array("i")
        self._time, self._birth, self._size = array("q"), array("q"), array("q")
        self._address, self._stack, self._task = array("Q"), array("H"), array("h")
        self._births = 0
        self._last_run = 0
        self._zero = self._now = 0
        self._marks = self._nameless = 0

    def add(self, moment: Moment, cycle_mark: re.Pattern[str] | None) -> None:
        if moment.run != self._last_run:  # ticks of the column go on where the run before ended
            self._last_run, self._births, self._zero = moment.run, 0, self._now
        self._now = self._zero + moment.ticks
        if moment.what == "mark":
            if cycle_mark is not None and cycle_mark.search(moment.text):
                self._marks += 1
                self._put(Kind.MARK, moment, size=self._marks, task=MarkKind.CYCLE)
            return
        if moment.address == 0:
            if moment.what == "alloc":
                self._put(Kind.FAILED, moment, size=moment.size_bytes, task=self._task_of(moment))
            return
        allocated = moment.what == "alloc"
        self._births += allocated
        kind = Kind.ALLOC if allocated else Kind.FREE_AT
        self._put(kind, moment, size=moment.size_bytes, task=self._task_of(moment))

    def _put(self, kind: Kind, moment: Moment, *, size: int, task: int) -> None:
        self._kind.append(kind)
        self._run.append(moment.run)
        self._time.append(self._now)
        self._birth.append(self._births)
        self._size.append(size)
        self._address.append(moment.address)
        self._stack.append(self._stack_of(moment) if kind != Kind.MARK else 0)
        self._task.append(task)

    def _stack_of(self, moment: Moment) -> int:
        if not moment.callers:
            return 0
        key = (moment.run, moment.callers)
        number = self._stack_numbers.get(key)
        if number is None:
            if len(self._stack_numbers) >= _MOST_STACKS:
                self._nameless += 1
                return 0
            number = self._stack_numbers[key] = len(self._stack_numbers) + 1
            frames = tuple(RawFrame(pc=pc, kind="return") for pc in moment.callers[: self._frames])
            cut = len(moment.callers) > self._frames
            self.stacks[moment.run, number] = StackDefinition(frames, moment.size_bytes, -1, cut)
        return number

    def _task_of(self, moment: Moment) -> int:
        if moment.task is None:
            return -1
        key = (moment.run, moment.task)
        number = self._task_numbers.get(key)
        if number is None:
            if len(self._task_numbers) >= _MOST_TASKS:
                return -1
            number = self._task_numbers[key] = len(self._task_numbers)
            self.tasks[moment.run, number] = TaskDefinition(moment.task, number)
        return number

    def events(self) -> Events:
        """The columns as arrays."""

        def made(values: array[Any], kind: type[np.generic]) -> NDArray[Any]:
            return np.array(values, dtype=kind)

        return Events(
            kind=made(self._kind, np.uint8),
            run=made(self._run, np.int32),
            time=made(self._time, np.int64),
            birth=made(self._birth, np.int64),
            age=np.zeros(len(self._kind), dtype=np.uint32),
            address=made(self._address, np.uint64),
            size=made(self._size, np.int64),
            stack=made(self._stack, np.uint16),
            task=made(self._task, np.int16),
        )

    def problems(self, cycle_mark: re.Pattern[str] | None) -> Iterator[Problem]:
        """What was lost on the way into columns."""
        if self._nameless:
            text = f"there are more than {_MOST_STACKS:,} call stacks; {plural(self._nameless, 'event')} lost theirs"
            yield Problem(what="too_many", text=text, line=1)
        if cycle_mark is not None and not self._marks:
            text = f"no line sent to the host matches the cycle mark {cycle_mark.pattern!r}, so no cycles are known"
            yield Problem(what="missing_marks", text=text, line=1)


def _problems(recording: Recording) -> Iterator[Problem]:
    if recording.dropped:
        text = (
            f"the device dropped {plural(recording.dropped, 'packet')}, since its buffer was full: allocations and "
            f"frees may be among them"
        )
        yield Problem(what="missing_records", text=text, line=1)
    if recording.damaged:
        text = f"{recording.damaged_bytes:,} bytes in {plural(recording.damaged, 'place')} are no packets, not read"
        yield Problem(what="corrupt", text=text, line=1)
    if recording.cut_files:
        yield Problem(what="cut_capture", text="the recording ends within a packet", line=1)
    if recording.runs > 1:
        text = f"recording was started {recording.runs} times; the last is judged"
        yield Problem(what="unexpected_reset", text=text, line=1)
    if recording.omitted:
        text = f"{plural(recording.omitted, 'event')} beyond the limit, not kept"
        yield Problem(what="too_many", text=text, line=1)


def observations_of(recording: Recording, *, frames_per_block: int = 64) -> Iterator[AnyObservation]:
    """What a recording says, one by one; `line` is the number of the event among allocations, frees and marks."""
    ticks = recording.ticks_per_s
    run = 0
    for moment in recording.moments:
        t_s = None if ticks is None else round(moment.ticks / ticks, 9)
        where: dict[str, Any] = {"line": moment.number, "boot": moment.run + 1, "t_s": t_s, "dialect": "systemview"}
        if moment.run != run:
            run = moment.run
            yield Mark(what="boot", label="recording started", **where)
        if moment.what == "mark":
            yield Mark(what="step", label=moment.text, **where)
            continue
        frames = tuple(RawFrame(pc=pc, kind="return") for pc in moment.callers[:frames_per_block])
        size = None if moment.what == "free" else moment.size_bytes
        yield Event(op=moment.what, address=moment.address, size_bytes=size, task=moment.task, frames=frames, **where)
    last = len(recording.moments)
    for told in recording.tasks.values():
        yield Task(
            name=told.name,
            id=told.id,
            priority=told.priority,
            stack_size_bytes=told.stack_bytes,
            line=last,
            boot=run + 1,
            dialect="systemview",
        )
    yield from _problems(recording)
