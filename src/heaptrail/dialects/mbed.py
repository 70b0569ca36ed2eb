"""Mbed OS: the memory tracer's stream, and the statistics that its examples print.

Source: platform/source/mbed_mem_trace.cpp. One line for each call: `#m:RESULT;CALLER-SIZE` (malloc), `#c:RESULT;CALLER-
COUNT;SIZE` (calloc), `#r:RESULT;CALLER-POINTER;SIZE` (realloc), `#f:0x0;CALLER-POINTER` (free). The caller is a return
address with its thumb bit, often that of `operator new`. Releases before 5.7 also print the calls inside a calloc or
realloc; such a pair is one operation here.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.figures import Figures, Layout
from heaptrail.dialects.text import Place, place, problem
from heaptrail.model.observations import Event, HeapSample, RawFrame, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_BLOCK = r"((?:0[xX])?(?:[0-9a-fA-F]{8}|0{1,7})|\(nil\))"
_CALLER = r"((?:0[xX])?[0-9a-fA-F]{1,8}|\(nil\))"
_END = r"(?![0-9a-zA-Z;])"
_MALLOC = re.compile(rf"#m:{_BLOCK};{_CALLER}-(\d{{1,10}}){_END}")
_CALLOC = re.compile(rf"#c:{_BLOCK};{_CALLER}-(\d{{1,10}});(\d{{1,10}}){_END}")
_REALLOC = re.compile(rf"#r:{_BLOCK};{_CALLER}-{_BLOCK};(\d{{1,10}}){_END}")
_FREE = re.compile(rf"#f:{_BLOCK};{_CALLER}-{_BLOCK}{_END}")
_CALLS = {"m": _MALLOC, "c": _CALLOC, "r": _REALLOC, "f": _FREE}
_BEGINS = re.compile(r"#([mcrf]):(?=0[xX]|[0-9a-fA-F]{8}\b|\(nil\)|$)")

_NAMED = Layout(
    figures={
        "used_bytes": re.compile(
            r"(?:\*{4} current_size|\bCurrent heap(?: size)?"
            r"|\bheap current size|\bBytes allocated currently)\s*:\s*(\d{1,10})\b"
        ),
        "max_used_bytes": re.compile(
            r"(?:\*{4} max_size|\bMax heap size"
            r"|\bheap max size|\bMax bytes allocated at a given time)\s*:\s*(\d{1,10})\b"
        ),
        "total_bytes": re.compile(
            r"(?:\*{4} reserved_size|\bReserved heap"
            r"|\bheap reserved size|\bCurrent number of bytes allocated for the heap)\s*:\s*(\d{1,10})\b"
        ),
        "used_blocks": re.compile(
            r"(?:\*{4} alloc_cnt|\bheap alloc cnt"
            r"|\bCurrent number of allocations)\s*:\s*(\d{1,10})\b"
        ),
    },
    least=2,
)
_UNNAMED = Layout(
    figures={
        "used_bytes": re.compile(r"^\s*Current size: (\d{1,10})\s*$"),
        "max_used_bytes": re.compile(r"^\s*Max size: (\d{1,10})\s*$"),
        "total_bytes": re.compile(r"^\s*Reserved size: (\d{1,10})\s*$"),
        "used_blocks": re.compile(r"^\s*Alloc count: (\d{1,10})\s*$"),
    },
    least=4,  # these words alone may be anyone's
)
_STATS_LINE = re.compile(r"\bHeap stats: (\d{1,10}) / (\d{1,10}) \(max=(\d{1,10})\)")
_SIZE_LINE = re.compile(r"\bHeap size: (\d{1,10}) ?/ ?(\d{1,10}) bytes\b")
_THREAD = re.compile(
    r"\bThread: 0x([0-9a-fA-F]{1,8})(?: \(\"([^\"]{0,31})\"\))?, Stack size: "
    r"(?:(\d{1,10}), Max stack: \d{1,10}|\d{1,10} ?/ ?(\d{1,10}))\b"
)


class Mbed:
    """Mbed OS: every malloc, calloc, realloc and free of the memory tracer; heap and stack statistics."""

    name: ClassVar[str] = "mbed"
    sample_line: ClassVar[str] = "#m:0x20003080;0x182f-50"
    firmware_options: ClassVar[str] = (
        "platform.memory-tracing-enabled and mbed_mem_trace_set_callback(mbed_mem_trace_default_callback) for the "
        "stream; platform.heap-stats-enabled for totals"
    )
    tells: ClassVar[str] = (
        "Each operation with its requested size and one caller; bytes in use, their maximum, the heap's size."
    )
    cannot_tell: ClassVar[str] = (
        "Task, stack and time of an operation; what was allocated before tracing; the allocator's own overhead."
    )
    commands: ClassVar[ConsoleCommands | None] = None
    triggers: ClassVar[tuple[bytes, ...]] = (
        *(f"#{call}:{digit}".encode() for call in "mcrf" for digit in "0123"),
        b"**** current_size",
        b"**** max_size",
        b"**** reserved_size",
        b"**** alloc_cnt",
        b"Current heap",
        b"Max heap size",
        b"heap max size",
        b"Reserved heap",
        b"heap reserved size",
        b"heap alloc cnt",
        b"heap current size",
        b"Bytes allocated currently",
        b"Max bytes allocated at",
        b"Current number of ",
        b"Current size: ",
        b"Max size: ",
        b"Reserved size: ",
        b"Alloc count: ",
        b"Heap stats: ",
        b"Heap size: ",
        b", Stack size: ",
    )

    def __init__(self, limits: Limits) -> None:
        del limits  # nothing is kept from line to line but the last few operations
        self._statistics = Figures(self.name, _NAMED, _UNNAMED)
        self._seen = False
        self._recent: deque[tuple[str, int, int]] = deque(maxlen=3)
        self._threads_seen = False
        self._told: set[str] = set()

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 0

    @property
    def due(self) -> int | None:
        """The line at which an open sample is over."""
        return self._statistics.due

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        found = self._statistics.tick(line)
        if "#" in line.text:
            found += self._operations(line)
        match = _THREAD.search(line.text)
        if match is not None:
            self._threads_seen = True
            return [*found, _thread(line, match)]
        sample = self._one_line(line)
        if sample is not None:
            return [*found, sample]
        return found + (self._statistics.read(line) or [])

    def _one_line(self, line: Line) -> HeapSample | None:
        match = _STATS_LINE.search(line.text)
        most = None if match is None else int(match[3])
        if match is None and self._threads_seen:
            # The documentation's example prints used and reserved bytes behind the threads' stacks; alone they may be
            # anything.
            match = _SIZE_LINE.search(line.text)
        if match is None:
            return None
        where = place(line, self.name)
        return HeapSample(used_bytes=int(match[1]), total_bytes=int(match[2]), max_used_bytes=most, **where)

    def _operations(self, line: Line) -> list[AnyObservation]:
        found: list[AnyObservation] = []
        for begin in _BEGINS.finditer(line.text):
            match = _CALLS[begin[1]].match(line.text, begin.start())
            if match is None:
                if not self._seen:
                    continue
                text = "an operation of the memory trace is torn and left out"
                found.append(problem(place(line, self.name), "torn_record", text))
                self._recent.clear()
                continue
            self._seen = True
            where = place(line, self.name)
            result, caller = _address(match[1]), _address(match[2])
            frames = (RawFrame(pc=caller, kind="return"),) if caller else ()
            if begin[1] == "f":
                found += self._free(where, _address(match[3]), frames)
            elif begin[1] == "r":
                found += self._realloc(where, result, _address(match[3]), int(match[4]), frames)
            else:
                size = int(match[3]) * (int(match[4]) if begin[1] == "c" else 1)
                found += self._alloc(where, begin[1], result, size, frames)
        return found

    def _alloc(
        self, where: Place, call: str, result: int, size: int, frames: tuple[RawFrame, ...]
    ) -> list[AnyObservation]:
        if result == 0:
            return (
                [] if size == 0 else [problem(where, "alloc_failed", f"an allocation of {size:,} bytes failed", frames)]
            )
        nested = call == "c" and bool(self._recent) and self._recent[-1] == ("m", result, size)
        self._recent.append((call, result, size))
        if nested:
            return self._tell_nested(where)
        return [Event(op="alloc", address=result, size_bytes=size, frames=frames, **where)]

    def _free(self, where: Place, pointer: int, frames: tuple[RawFrame, ...]) -> list[AnyObservation]:
        if pointer == 0:
            return []  # free(NULL) does nothing
        self._recent.append(("f", pointer, 0))
        return [Event(op="free", address=pointer, frames=frames, **where)]

    def _realloc(
        self, where: Place, result: int, pointer: int, size: int, frames: tuple[RawFrame, ...]
    ) -> list[AnyObservation]:
        """The block moves with the result, also onto its own place; a failure leaves it where it was."""
        if pointer == 0:
            return self._alloc(where, "r", result, size, frames)
        if result == 0 and size:
            text = f"a reallocation to {size:,} bytes failed; the block stays as it was"
            return [problem(where, "alloc_failed", text, frames)]
        if result == 0:
            found: list[AnyObservation] = []
            if "realloc_zero" not in self._told:
                self._told.add("realloc_zero")
                text = "realloc to 0 bytes frees the block or not, depending on the library; its blocks are undecided"
                found.append(problem(where, "realloc_zero", text, frames))
            return [*found, Event(op="realloc", address=pointer, size_bytes=0, frames=frames, **where)]
        nested = {("m", result, size), ("f", pointer, 0)} <= set(self._recent)
        self._recent.append(("r", result, size))
        if nested:
            return self._tell_nested(where)
        return [Event(op="realloc", address=pointer, new_address=result, size_bytes=size, frames=frames, **where)]

    def _tell_nested(self, where: Place) -> list[AnyObservation]:
        if "nested" in self._told:
            return []
        self._told.add("nested")
        text = "the tracer prints a calloc or realloc twice, as the calls inside it and as itself; it is counted once"
        return [problem(where, "duplicate_entries", text)]

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        return self._statistics.close()

    def footprint(self) -> FootprintRule | None:
        """None: the C library decides, and no line shows it (heap statistics add 8 bytes to each block)."""
        return None


def _address(digits: str) -> int:
    return 0 if digits == "(nil)" else int(digits, 16)


def _thread(line: Line, match: re.Match[str]) -> Task:
    """A thread's row. Mbed knows most threads by the address of their control block only."""
    number, name, stack, reserved = match.groups()
    return Task(
        name=name or f"0x{number.lower()}",
        id=int(number, 16),
        stack_size_bytes=int(stack or reserved),
        **place(line, "mbed"),
    )
