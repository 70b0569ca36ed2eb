"""A SystemView recording: the packets of all its files in the order of time, with the task that each belongs to.

OpenOCD writes one file for each core, with what describes the system in both; or one for all. What began before the
recording did is unknown until the first switch of that core tells it.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from heaptrail.errors import UsageError
from heaptrail.wire.systemview import packets
from heaptrail.wire.systemview.packets import HEAP_EVENTS, Packet, PartReader, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BEGINNING_BYTES = 32
"""The sync bytes, the start with the device's clock, and the clock's rate."""
_NEGATIVE = 1 << 31
_INTERRUPT = re.compile(r"I#(\d{1,5})=(.{1,64})")


class Moment(NamedTuple):
    """One thing that happened. `number` counts them over all files, from 1; `task` is None where it is unknown.

    `run` counts the times that recording was started, from 0; `ticks` begin anew with each.
    """

    number: int
    run: int
    ticks: int
    what: Literal["alloc", "free", "mark"]
    task: str | None
    address: int = 0
    size_bytes: int = 0
    callers: tuple[int, ...] = ()
    text: str = ""


@dataclass(slots=True)
class _Core:
    """Who runs on a core. `unknown` are moments before its first switch."""

    task: int | None = None
    known: bool = False
    interrupts: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)


class Told(NamedTuple):
    """What the recording says of a task: its number, priority, and the size of its stack where it says that."""

    name: str
    id: int
    priority: int
    stack_bytes: int | None = None


@dataclass(slots=True)
class Recording:
    """What the files of a recording say.

    Args:
        names, sizes: Of the files, in order.
        moments: Allocations, frees and marks, in the order of time.
        tasks: By the system's number; the last word on each.
        ticks_per_s: None where the recording does not say it.
        dropped: Packets that the device had no room for, of any kind.
        damaged, damaged_bytes: Stretches that were no packets, and their size in all.
        cut_files: Files that end within a packet.
        packets: Packets read, of any kind.
        omitted: Moments beyond the limit, counted and not kept.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    moments: list[Moment] = field(default_factory=list)
    tasks: dict[int, Told] = field(default_factory=dict)
    ticks_per_s: int | None = None
    dropped: int = 0
    damaged: int = 0
    damaged_bytes: int = 0
    cut_files: int = 0
    packets: int = 0
    omitted: int = 0
    runs: int = 1


def read_recording(files: Sequence[tuple[str, bytes]], *, most_moments: int = 20_000_000) -> Recording:
    """Read the files of one recording.

    Args:
        files: Name and content of each, core 0 first.
        most_moments: So many are kept, the rest is counted.

    Raises:
        UsageError: The files are not of one recording.
    """
    readers: list[PartReader] = []
    starts: dict[bytes, str] = {}
    for core, (name, data) in enumerate(files):
        if (beginning := _beginning(data)) is not None:
            starts.setdefault(beginning, name)
        readers += [PartReader(data, part) for part in parts_of(data, core)]
    if len(starts) > 1:
        first, other, *_ = starts.values()
        raise UsageError(
            f"{other} and {first} are not of one recording: they do not begin alike",
            try_this="the files of one recording, one for each core; report on each recording by itself",
        )
    if len({data for _, data in files}) < len(files):
        raise UsageError(
            f"{files[-1][0]} holds the same as another file that was given", try_this="give each core's file once"
        )
    made = Recording(names=tuple(name for name, _ in files), sizes=tuple(len(data) for _, data in files))
    _Follower(made, most_moments).follow(heapq.merge(*map(_in_runs, readers), key=lambda each: each[:2]))
    for reader in readers:
        made.cut_files += sum(damage.cut for damage in reader.damage)
        made.damaged += sum(not damage.cut for damage in reader.damage)
        made.damaged_bytes += sum(damage.size for damage in reader.damage if not damage.cut)
    return made


def _beginning(data: bytes) -> bytes | None:
    """What the files of all cores share: the start and what describes the system; None where a file begins later."""
    start = data.find(packets.SYNC)
    first = data[start : start + _BEGINNING_BYTES].lstrip(b"\0")
    return first if start >= 0 and first[:1] == bytes([packets.TRACE_START]) else None


def _in_runs(reader: PartReader) -> Iterator[tuple[int, int, int | None, Packet]]:
    """Each packet with its run, its ticks in it, and the heap's first event as known then."""
    run, seen = 0, False
    for packet in reader:
        ticks = packet.ticks
        if packet.id == packets.TRACE_START:
            run, ticks = run + seen, 0
        seen = True
        offset = reader.heap_offset
        if offset is None and not reader.modules:
            offset = packets.FIRST_MODULE
        yield run, ticks, offset, packet


class _Follower:
    """Keeps who runs on each core, and collects the moments."""

    def __init__(self, made: Recording, most_moments: int) -> None:
        self._made = made
        self._most = most_moments
        self._cores: dict[int, _Core] = {}
        self._interrupts: dict[int, str] = {}
        self._stacks: dict[int, int] = {}

    def follow(self, stream: Iterator[tuple[int, int, int | None, Packet]]) -> None:
        made = self._made
        for run, ticks, offset, packet in stream:
            made.packets += 1
            if run >= made.runs:
                made.runs = run + 1
                self._cores.clear()
            number = packet.id
            if offset is not None and offset <= number < offset + HEAP_EVENTS:
                self._heap(run, ticks, packet, freed=number > offset)
            elif number in (packets.MARK_START, packets.MARK_STOP, packets.PRINT):
                self._mark(run, ticks, packet)
            else:
                self._system(packet)

    def _keep(self, packet: Packet, moment: Moment) -> None:
        made = self._made
        if len(made.moments) >= self._most:
            made.omitted += 1
            return
        core = self._cores.setdefault(packet.core, _Core())
        if not core.known and not core.interrupts:
            core.unknown.append(len(made.moments))
        made.moments.append(moment)

    def _heap(self, run: int, ticks: int, packet: Packet, *, freed: bool) -> None:
        address, *rest = packet.values
        size = 0 if freed else rest.pop(0)
        callers = tuple(pc for pc in rest if pc)
        number = len(self._made.moments) + 1
        who = self._who(packet.core)
        self._keep(packet, Moment(number, run, ticks, "free" if freed else "alloc", who, address, size, callers))

    def _mark(self, run: int, ticks: int, packet: Packet) -> None:
        text = packet.text
        if packet.id != packets.PRINT:
            text = f"mark {packet.values[0]} {'start' if packet.id == packets.MARK_START else 'stop'}"
        number = len(self._made.moments) + 1
        self._keep(packet, Moment(number, run, ticks, "mark", self._who(packet.core), text=text))

    def _who(self, number: int) -> str | None:
        core = self._cores.get(number)
        if core is None:
            return None
        if core.interrupts:
            which = core.interrupts[-1]
            return f"ISR {self._interrupts.get(which, which)}"
        if not core.known:
            return None
        if core.task is None:
            return f"IDLE{number}"
        return self._name(core.task)

    def _name(self, task: int) -> str:
        told = self._made.tasks.get(task)
        return told.name if told is not None and told.name else f"task {task:#x}"

    def _system(self, packet: Packet) -> None:
        made, values = self._made, packet.values
        match packet.id:
            case packets.TASK_INFO:
                told = made.tasks.get(values[0])
                stack = self._stacks.get(values[0]) if told is None else told.stack_bytes
                made.tasks[values[0]] = Told(packet.text, values[0], values[1], stack)
            case packets.STACK_INFO:
                size = values[2] if values[2] < _NEGATIVE else None  # ESP-IDF sends some as negative numbers
                if size is not None:
                    self._stacks[values[0]] = size
                if (told := made.tasks.get(values[0])) is not None:
                    made.tasks[values[0]] = told._replace(stack_bytes=size)
            case packets.INIT:
                made.ticks_per_s = values[0] or None
            case packets.OVERFLOW:
                made.dropped = max(made.dropped, values[0])  # the device counts on, and says it to every core's file
            case packets.SYSDESC:
                for described in packet.text.split(","):
                    if (match := _INTERRUPT.fullmatch(described)) is not None:
                        self._interrupts[int(match[1])] = match[2]
            case _:
                self._switch(packet)

    def _switch(self, packet: Packet) -> None:
        core = self._cores.setdefault(packet.core, _Core())
        match packet.id:
            case packets.ISR_ENTER:
                core.interrupts.append(packet.values[0])
            case packets.ISR_EXIT | packets.ISR_TO_SCHEDULER:
                if core.interrupts:
                    core.interrupts.pop()
            case packets.TASK_START_EXEC:
                core.interrupts.clear()
                self._runs(core, packet.values[0])
            case packets.IDLE:
                self._runs(core, None)
            case packets.TASK_STOP_EXEC:
                self._runs(core, None)
            case packets.TASK_STOP_READY if not core.known:
                self._was(core, packet.values[0])
                self._runs(core, None)
            case packets.TASK_STOP_READY if packet.values[0] == core.task and not core.interrupts:
                core.task = None
            case _:
                pass

    @staticmethod
    def _runs(core: _Core, task: int | None) -> None:
        core.task, core.known = task, True
        core.unknown.clear()

    def _was(self, core: _Core, task: int) -> None:
        """The first switch away tells who had run until then."""
        moments, name = self._made.moments, self._name(task)
        for at in core.unknown:
            moments[at] = moments[at]._replace(task=name)
