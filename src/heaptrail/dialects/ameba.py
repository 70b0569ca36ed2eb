"""Realtek Ameba (FreeRTOS): heap status, leak trace, bytes by task, and the stream of allocations.

Source: heap_trace.c and the heap's own file in the SDK for RTL8721 and its kin. The trace is fed by traceMALLOC, so
sizes are those of the allocator's blocks, header included. A freed record (mode All) is printed without a line end, so
the next one stands on the same line. A full buffer drops new blocks and does not say so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.dumps import Dumps, return_frames
from heaptrail.dialects.figures import Figures, Layout
from heaptrail.dialects.text import HEX, NAME_CHARACTERS, Place, place, problem
from heaptrail.model.observations import Event, HeapSample, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_STATUS = Layout(
    figures={
        "allocations": re.compile(r"Total Number Of Successful Allocations:\s*(\d{1,10})\b"),
        "frees": re.compile(r"Total Number Of Successful Frees:\s*(\d{1,10})\b"),
        "free_bytes": re.compile(r"Current Available Heap Space:\s*(\d{1,10}) bytes"),
        "min_free_bytes": re.compile(r"Minimum Ever Free Space Remaining:\s*(\d{1,10}) bytes"),
        "free_blocks": re.compile(r"Number Of Free Blocks:\s*(\d{1,10})\b"),
        "largest_free_bytes": re.compile(r"Size Of Largest Free Block:\s*(\d{1,10}) bytes"),
    },
    last="largest_free_bytes",
)
_AT_FAILURE = Layout(
    figures={
        "free_bytes": re.compile(r"\bAvailHeap: (\d{1,10})\b"),
        "largest_free_bytes": re.compile(r"\bMaxFreeBlock: (\d{1,10})\b"),
        "allocations": re.compile(r"\bAllocs: (\d{1,10}), Frees:"),
        "frees": re.compile(r"\bAllocs: \d{1,10}, Frees: (\d{1,10})\b"),
        "min_free_bytes": re.compile(r"\bMinEverFree: (\d{1,10})\b"),
    },
    least=2,
    last="min_free_bytes",
)
_HEADER = re.compile(r"Heap Trace Log Count: (\d{1,9}) records \(log buffer capacity: \d{1,9}\)")
_RECORD = re.compile(
    rf"(?<![\w.])(\d{{1,10}}) bytes \(@ {HEX}\) allocated, caller ba[ck]+trace:"
    r"((?:\s+0[xX][0-9a-fA-F]{8}(?![0-9a-zA-Z]))*)"
)
_RECORD_BEGINS = re.compile(r"\d bytes \(@ ")
_SUMMARY = re.compile(r"={7,} Heap Trace Summary ={7,}")
_LIVE = re.compile(r"\b(\d{1,12}) bytes (?:'leaked'|alive) in trace \((\d{1,9}) allocations\)")
_COUNTS = re.compile(r"\brecords: (\d{1,9}) \((\d{1,9}) capacity, (\d{1,9}) high water mark\)")
_STREAM = re.compile(rf"\[trace_(malloc|free)\] pvAddress:{HEX}, uiSize:{HEX}")
_TASK = re.compile(r"\b(Deleted )?Task: (.{1,64}?), task heap usage: 0x([0-9a-fA-F]{1,8})\b")
_FAILED = re.compile(
    r"Malloc failed\. Core:\[[^\]]{0,16}\], Task:\[([^\]]{0,31})\](?:, \[free heap size: (\d{1,10})\])?"
    r"(?:, \[xWantedSize:(\d{1,10})\])?"
)


class Ameba:
    """Realtek Ameba: FreeRTOS heap status, leak trace with callers, bytes by task, allocation stream."""

    name: ClassVar[str] = "ameba"
    sample_line: ClassVar[str] = "48 bytes (@ 0x20010008) allocated, caller bakctrace: 0x0e01a2b4 0x0e01b000"
    firmware_options: ClassVar[str] = (
        "CONFIG_HEAP_TRACE for the trace and bytes by task, CONFIG_HEAP_TRACE_MALLOC_FREE_LOG for the stream; "
        "heap_get_stats() needs none"
    )
    tells: ClassVar[str] = "Free, smallest-ever and largest free bytes, live blocks with callers, bytes by task."
    cannot_tell: ClassVar[str] = (
        "What was asked for (sizes are the allocator's), the task of a block, whether the buffer overflowed."
    )
    commands: ClassVar[ConsoleCommands | None] = None
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"Total Number Of Successful",
        b"Current Available Heap Space",
        b"Minimum Ever Free Space",
        b"Number Of Free Blocks",
        b"Size Of Largest Free Block",
        b"AvailHeap: ",
        b"MinEverFree: ",
        b"Heap Trace Log Count",
        b") allocated, caller ba",
        b"= Heap Trace Summary =",
        b"bytes 'leaked' in trace",
        b"bytes alive in trace",
        b"high water mark)",
        b"[trace_malloc] ",
        b"[trace_free] ",
        b"task heap usage: 0x",
        b"Malloc failed. Core:",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = Dumps(self.name, limits)
        self._figures = Figures(self.name, _STATUS, _AT_FAILURE)
        self._forget()

    def _forget(self) -> None:
        self._declared: int | None = None
        self._live: tuple[int, int] | None = None
        self._whole = True
        self._was_full = False
        self._in_summary = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 0

    @property
    def due(self) -> int | None:
        """The line at which an open sample is over."""
        return self._figures.due

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        found = self._figures.tick(line)
        where = self._dumps.where
        if where is not None and where["boot"] != line.boot:
            found += self._close()
        for read in (self._trace, self._stream, self._figures.read):
            taken = read(line)
            if taken is not None:
                return found + taken
        return found

    def _trace(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        match = _HEADER.search(text)
        if match is not None:
            found = self._close()
            self._dumps.open(place(line, self.name))
            self._declared = int(match[1])
            return found
        records = list(_RECORD.finditer(text))
        if records:
            return self._blocks(line, records)
        if _SUMMARY.search(text):
            self._in_summary = True
            if self._dumps.where is None:
                self._dumps.open(place(line, self.name))
            return []
        return None if self._dumps.where is None else self._tail(line)

    def _blocks(self, line: Line, records: list[re.Match[str]]) -> list[AnyObservation]:
        """The records on one line. All but the last were freed, else a line end would follow them."""
        found = self._close() if self._in_summary else []
        where = place(line, self.name)
        if self._dumps.where is None:
            self._dumps.open(where)
        for at, match in enumerate(records):
            is_last = at + 1 == len(records)
            rest = line.text[match.end() : None if is_last else records[at + 1].start()].strip()
            if _SUMMARY.search(rest):
                self._in_summary, is_last, rest = True, False, ""
            address = int(match[2], 16)
            found += self._dumps.add(
                where,
                address=address,
                size_bytes=int(match[1]),
                size_kind="block",
                freed=not is_last,
                frames=return_frames(match[3], self._limits),
            )
            if rest:
                self._whole = False
                text = f"the callers of the block at 0x{address:08x} are torn; its stack is kept up to there"
                found.append(problem(where, "torn_record", text))
        return found

    def _tail(self, line: Line) -> list[AnyObservation] | None:
        """The lines behind the records of an open dump."""
        match = _LIVE.search(line.text)
        if match is not None:
            self._in_summary = True
            self._live = (int(match[1]), int(match[2]))
            return []
        match = _COUNTS.search(line.text)
        if match is not None:
            self._was_full = int(match[2]) == int(match[3])
            if self._declared is None:
                self._declared = int(match[1])
            return self._close()
        if "heap trace linked list is corrupt" in line.text:
            text = "the tracer found its own list of records corrupt; records are missing"
        elif _RECORD_BEGINS.search(line.text):
            text = "a record of the heap trace is torn and left out"
        else:
            return None
        self._whole = False
        what = "torn_record" if "torn" in text else "corrupt"
        return [problem(place(line, self.name), what, text)]

    def _close(self) -> list[AnyObservation]:
        """End the dump that is open, if any."""
        where = self._dumps.where
        if where is None:
            return []
        found: list[AnyObservation] = []
        lacking = (self._declared or 0) - self._dumps.blocks
        if lacking > 0:
            self._whole = False
            text = f"the heap trace says that it has {lacking:,} more records than can be read here"
            found.append(problem(where, "missing_records", text))
        if self._was_full:
            text = "the heap trace's buffer was full, and then drops new blocks without saying so: some may be missing"
            found.append(problem(where, "overflow", text))
        is_known = self._declared is not None and self._live is not None and not self._was_full
        size, blocks = self._live if self._live is not None else (None, self._declared)
        complete = False if not self._whole else True if is_known else None
        found += self._dumps.close(complete=complete, declared_blocks=blocks, declared_bytes=size)
        self._forget()
        return found

    def _stream(self, line: Line) -> list[AnyObservation] | None:
        """Lines that stand for themselves: the stream, tasks, failures."""
        where = place(line, self.name)
        match = _STREAM.search(line.text)
        if match is not None:
            return _operation(where, match[1], int(match[2], 16), int(match[3], 16))
        match = _TASK.search(line.text)
        if match is not None:
            name = match[2]
            if len(name) > NAME_CHARACTERS:
                return [problem(where, "torn_record", "a row of the tasks' heap usage holds another line")]
            state = "Deleted" if match[1] else None
            return [Task(name=name, state=state, heap_bytes=int(match[3], 16), **where)]
        match = _FAILED.search(line.text)
        if match is None:
            return None
        size = f"an allocation of {int(match[3]):,} bytes" if match[3] else "an allocation"
        found: list[AnyObservation] = [problem(where, "alloc_failed", f"{size} failed in task {match[1] or 'unknown'}")]
        if match[2]:
            found.append(HeapSample(free_bytes=int(match[2]), **where))
        return found

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        return self._close() + self._figures.close()

    def footprint(self) -> FootprintRule | None:
        """None: the sizes are blocks already, so nothing is to be added."""
        return None


def _operation(where: Place, call: str, address: int, size_bytes: int) -> list[AnyObservation]:
    if call == "free":
        return [Event(op="free", address=address, size_bytes=size_bytes, **where)]
    if address == 0:
        return [problem(where, "alloc_failed", f"an allocation of {size_bytes:,} bytes failed")]
    return [Event(op="alloc", address=address, size_bytes=size_bytes, **where)]
