"""Zephyr: heap statistics, heap dumps, threads, network buffers, and the heaptrace tracer.

Source: zephyr's lib/heap, subsys/shell, subsys/debug, subsys/net/lib/shell. heaptrace prints what the heap listener
hands it: the bytes that the caller can use, which is the request rounded up, without the chunk's header.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.dumps import LONGEST_LINE, Dumps, return_frames
from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.dialects.zephyr.heaps import HeapFigures, HeapInfo
from heaptrail.dialects.zephyr.net import Network
from heaptrail.dialects.zephyr.threads import Threads
from heaptrail.model.evidence import FootprintRule

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation, RawFrame

_DUMP_EDGE = re.compile(r"=+ heaptrace dump (?:by (?P<by>.{1,60}?) )?(?P<edge>begin|end) =+")
_RECORD = re.compile(
    rf"(?:\[heaptrace\] |^)ptr={HEX} size=(\d{{1,12}}) heap=\S+ alloc_tid={HEX} "
    r"alloc_thread=(.{0,31}?) alloc_cpu=\d+ alloc_ms=\d+\s*$"
)
_RECORD_BEGINS = re.compile(r"(?:\[heaptrace\] |^)ptr=0?")
_BACKTRACE = re.compile(r"(?:\[heaptrace\]|^)\s+backtrace:((?:\s+0x[0-9a-fA-F]{1,16})*)\s*$")
_OUTSTANDING = re.compile(r"(?:^|[\s\]])outstanding_blocks=(\d{1,9}) outstanding_bytes=(\d{1,15})\s*$")
_FILTER = re.compile(r"(?:\[heaptrace\] |^)filter set: ((?:tid|name|cpu)=\S.*?)\s*$")
_TRACE_WORDS = ("heaptrace", "ptr=", "backtrace:", "outstanding_blocks=", "filter set:")
"""Where a terminal's stamp stands in front, `[heaptrace]` was taken for a tag behind it and is gone."""
_DUMP_LINES = 400


class _Record:
    """A record whose backtrace may still come."""

    def __init__(self, line: Line, match: re.Match[str]) -> None:
        self.where = place(line, "zephyr")
        self.address = int(match[1], 16)
        self.size_bytes = int(match[2])
        self.task = match[4].strip() or None
        self.task_id = int(match[3], 16)
        self.frames: tuple[RawFrame, ...] = ()


class Zephyr:
    """Zephyr: kernel heap, heap dumps, thread analyzer, heaptrace."""

    name: ClassVar[str] = "zephyr"
    sample_line: ClassVar[str] = " main                : STACK: unused 1336 usage 712 / 2048 (34 %); CPU: 0 %"
    firmware_options: ClassVar[str] = "SYS_HEAP_RUNTIME_STATS, SYS_HEAP_THREAD_STATS, THREAD_ANALYZER, HEAPTRACE"
    tells: ClassVar[str] = "heap totals, threads with stack reserve and heap bytes, chunks, and blocks under heaptrace"
    cannot_tell: ClassVar[str] = "owners in a chunk dump, sizes in `net allocs`, blocks without heaptrace's driver"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="kernel heap",
        arm="heaptrace reset",
        peek="heaptrace dump all",
        collect="heaptrace dump all",
        prompt=r"(?:uart|rtt|[\w-]+):~\$",
        help=r"Please press the <Tab> button to see all available commands",
        needs="the heaptrace driver (CONFIG_HEAPTRACE with its backtraces); `kernel heap` takes SYS_HEAP_RUNTIME_STATS",
    )
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"max. allocated",
        b"free: ",
        b"heap statistics:",
        b"max allocated ",
        b" units in ",
        b"unused ",
        b"since last call",
        b" bytes allocated",
        b"no per-thread stats",
        b"heaptrace",
        b"Avail",
        b"Function alloc",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._figures = HeapFigures()
        self._info = HeapInfo(limits)
        self._threads = Threads()
        self._net = Network(limits)
        self._dumps = Dumps("zephyr", limits)
        self._began: Place | None = None
        self._record: _Record | None = None
        self._whole = True
        self._last_line = 0

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return max(self._figures.wants, self._info.wants, self._threads.wants, self._net.wants)

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        if len(line.text) > LONGEST_LINE:
            return []
        for reader in (self._trace, self._info.read, self._figures.read, self._net.read, self._threads.read):
            if (read := reader(line)) is not None:
                return read
        return []

    def _trace(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if not any(word in text for word in _TRACE_WORDS):
            return None
        where = place(line, "zephyr")
        if self._began is not None and line.number - self._last_line > _DUMP_LINES:
            return self._close_trace() + (self._trace(line) or [])
        self._last_line = line.number
        if (match := _DUMP_EDGE.search(text)) is not None:
            found = self._close_trace()
            if match["edge"] == "begin":
                self._began = where
                if match["by"]:
                    found.append(problem(where, "filter_active", f"the dump is of {match['by']} only"))
            return found
        if (match := _FILTER.search(text)) is not None:
            return [problem(where, "filter_active", f"only allocations of {match[1]} are recorded")]
        if (match := _OUTSTANDING.search(text)) is not None and self._began is not None:
            return self._close_trace(int(match[1]), int(match[2]))
        return self._traced(line)

    def _traced(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if (match := _RECORD.search(text)) is not None:
            found = self._close_record()
            self._began = self._began or place(line, "zephyr")
            self._record = _Record(line, match)
            return found
        if self._began is None:
            return None
        if (match := _BACKTRACE.search(text)) is not None:
            if self._record is not None:
                self._record.frames = return_frames(match[1], self._limits)
            return self._close_record()
        if _RECORD_BEGINS.search(text):
            self._whole = False
            text = "a record of the dump is torn; it and its frames are left out"
            return [*self._close_record(), problem(place(line, "zephyr"), "torn_record", text)]
        return None

    def _close_record(self) -> list[AnyObservation]:
        record, self._record = self._record, None
        if record is None or self._began is None:
            return []
        if self._dumps.where is None:
            self._dumps.open(self._began)
        return self._dumps.add(
            record.where,
            address=record.address,
            size_bytes=record.size_bytes,
            size_kind="requested",
            task=record.task,
            task_id=record.task_id,
            frames=record.frames,
        )

    def _close_trace(self, blocks: int | None = None, size_bytes: int | None = None) -> list[AnyObservation]:
        found = self._close_record()
        began, self._began = self._began, None
        whole, self._whole = self._whole, True
        if began is None or (self._dumps.where is None and blocks is None):
            return found
        if self._dumps.where is None:
            self._dumps.open(began)
        complete = whole and (blocks, size_bytes) == (self._dumps.blocks, self._dumps.size_bytes)
        if blocks is None:
            found.append(problem(began, "missing_records", "the dump ends without its totals"))
        elif not complete:
            have = f"{self._dumps.blocks:,} of {self._dumps.size_bytes:,} B"
            text = f"the dump declares {blocks:,} blocks of {size_bytes:,} B and shows {have}"
            found.append(problem(began, "missing_records", text))
        return found + self._dumps.close(complete=complete, declared_blocks=blocks, declared_bytes=size_bytes)

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset."""
        found = self._close_trace() + self._info.close() + self._net.close()
        self._figures.close()
        self._threads.close()
        return found

    def footprint(self) -> FootprintRule | None:
        """A chunk is a multiple of 8 bytes with a header of 4 (small heap) or 8 (big heap).

        heaptrace's sizes are 4 or 8 below a multiple of 8, so adding 4 and rounding up gives the chunk in both.
        """
        basis = "sys_heap: chunks are multiples of 8 bytes, 4 or 8 of them the header"
        return FootprintRule(header_bytes=4, align_bytes=8, basis=basis)
