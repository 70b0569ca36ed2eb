"""Stock FreeRTOS: the task table of vTaskList and the allocator's statistics, as demos print them.

Source: FreeRTOS-Kernel tasks.c (a row is name, state, priority, stack mark and number behind tabs, SMP adds a mask in
hex), FreeRTOS+CLI's `task-stats`, ESP-IDF's `tasks` example (adds the core, -1 for none), and HeapStats_t of
portable.h, whose field names or plain words demos print one a line. The stack's mark is in words, but ESP-IDF's words
are bytes. vTaskList allocates while it runs, so the smallest free figure can move by the look. vTaskGetRunTimeStats
prints a name, a time in a unit of the port's own and a share of the CPU; a share above 100 is what remains where the
32-bit time has run over, and is left out. Tina RTOS prints the same rows behind its heap table; those are read there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects.figures import Figures, Layout
from heaptrail.dialects.text import NAME_CHARACTERS, place, problem
from heaptrail.model.observations import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import ConsoleCommands, Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_NUMBER = r"\s*[:=]\s*(0[xX][0-9a-fA-F]{1,16}|\d{1,12})\b"
_HAS_FREE = frozenset({"free_bytes", "min_free_bytes"})
_FIELDS = Layout(
    figures={
        "free_bytes": re.compile(rf"\b(?:xAvailableHeapSpaceInBytes|xFreeBytesRemaining){_NUMBER}"),
        "min_free_bytes": re.compile(rf"\bxMinimumEverFreeBytesRemaining{_NUMBER}"),
        "largest_free_bytes": re.compile(rf"\bxSizeOfLargestFreeBlockInBytes{_NUMBER}"),
        "free_blocks": re.compile(rf"\bxNumberOfFreeBlocks{_NUMBER}"),
        "allocations": re.compile(rf"\bxNumberOfSuccessfulAllocations{_NUMBER}"),
        "frees": re.compile(rf"\bxNumberOfSuccessfulFrees{_NUMBER}"),
    },
    any_of=_HAS_FREE,
)
_WORDS = Layout(
    figures={
        "free_bytes": re.compile(r"\b(?:Available heap space|free heap space)\s*:?\s*(\d{1,12})\b"),
        "min_free_bytes": re.compile(r"\b(?:Minimum Ever Free Bytes Remaining|min free heap ever)\s*:?\s*(\d{1,12})\b"),
        "largest_free_bytes": re.compile(r"\b(?:Largest Free Block|largest free block {2})\s*:?\s*(\d{1,12})\b"),
        "free_blocks": re.compile(r"\b(?:Number of Free Blocks|free block count)\s*:?\s*(\d{1,12})\b"),
        "allocations": re.compile(r"\b(?:Number of Successful Allocations|successful malloc)\s*:?\s*(\d{1,12})\b"),
        "frees": re.compile(r"\b(?:Number of Successful Frees|successful free)\s*:?\s*(\d{1,12})\b"),
    },
    least=2,
    any_of=_HAS_FREE,
)
_CALLS = Layout(
    figures={
        "free_bytes": re.compile(rf"\bxPortGetFreeHeapSize(?:\(\))?{_NUMBER}"),
        "min_free_bytes": re.compile(rf"\bxPortGetMinimumEverFreeHeapSize(?:\(\))?{_NUMBER}"),
    },
)
_HEADER = re.compile(r"^\s*(?:Task(?: Name)?|Name)\s+Stat(?:e|us)\s+Prio?(?:rity)?\s+(?:Stack|HWM)\b\s*(\S*)")
_TINA = re.compile(
    r"List Task MIN Free Stack|^\s*\d*\s*Name\s+State\s+Pri\s+HWM\s+Idx\b|\bMin\s*Free\s*:\s*\d+\s*Bytes"
)
_RUN_TIME = re.compile(r"^\s*Task\s+Abs Time\s+% ?Time")
_RUN_TIME_ROW = re.compile(
    r"^\s*(?P<name>\S(?:.{0,62}?\S)?)(?:\s*\t\s*|\s{2,}|\s)(?P<time>\d{1,20})\s+(?:(?P<percent>\d{1,10})|<\s?1)%\s*$"
)
_RUN_TIME_TABBED = re.compile(r"\S *\t+\d{1,20}\t\t(?:\d{1,10}|<1)%\s*$")
_NAME = r"(?P<name>\S(?:.{0,62}?\S)?)"
_ROW = re.compile(
    rf"^\s*{_NAME}\s+(?P<state>[XRBSD])\s+(?P<priority>\d{{1,3}})\s+(?P<mark>\d{{1,10}})\s+(?P<id>\d{{1,10}})"
    r"(?:\s+(?:(?P<core>-?\d{1,2})|(?P<mask>0x[0-9a-fA-F]{1,8})))?\s*$"
)
_TABBED = re.compile(r"\S *\t+[XRBSD]\t+\d+\t+\d+\t+\d+(?:\t+(?:-?\d{1,2}|0x[0-9a-fA-F]{1,8}))?\s*$")
_ROW_BEGINS = re.compile(r"^\s*\S.{0,40}?\s[XRBSD]\s+\d")
_TINA_LINES = 16
_WHOLE_PERCENT = 100
_ROW_LINES = 8
"""So many lines of other tasks in a row may fall into a table before it is over."""


class FreeRtos:
    """Stock FreeRTOS: vTaskList's table, HeapStats_t as demos print it, free heap by function name."""

    name: ClassVar[str] = "freertos"
    sample_line: ClassVar[str] = "xAvailableHeapSpaceInBytes: 41216"
    firmware_options: ClassVar[str] = (
        "configUSE_TRACE_FACILITY and configUSE_STATS_FORMATTING_FUNCTIONS for the table; heap_4 or heap_5 for totals"
    )
    tells: ClassVar[str] = (
        "Free, smallest-ever and largest free bytes, counts of allocations and frees, stack marks, CPU shares."
    )
    cannot_tell: ClassVar[str] = "Which block, which task, which line of code: the stock kernel records none of it."
    commands: ClassVar[ConsoleCommands | None] = None
    companions: ClassVar[tuple[str, ...]] = ("firmware", "heaptrail")
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"xAvailableHeapSpaceInBytes",
        b"xFreeBytesRemaining",
        b"xMinimumEverFreeBytesRemaining",
        b"xSizeOfLargestFreeBlockInBytes",
        b"xNumberOfFreeBlocks",
        b"xNumberOfSuccessful",
        b"Available heap space",
        b"free heap space",
        b"Minimum Ever Free Bytes",
        b"min free heap ever",
        b"Largest Free Block",
        b"largest free block ",
        b"Number of Free Blocks",
        b"free block count",
        b"Number of Successful ",
        b"successful malloc",
        b"successful free",
        b"xPortGetFreeHeapSize",
        b"xPortGetMinimumEverFreeHeapSize",
        b"vApplicationMallocFailedHook",
        b"List Task MIN Free Stack",
        b"Min Free",
        b"Priority",
        b"HWM",
        b"\tX\t",
        b"\tR\t",
        b"\tB\t",
        b"\tS\t",
        b"\tD\t",
        b"Abs Time",
        b"\t\t",
    )

    def __init__(self, limits: Limits) -> None:
        del limits  # nothing is kept from line to line but one sample and a count
        self._figures = Figures(self.name, _FIELDS, _WORDS, _CALLS)
        self._left = 0
        self._tina_until = 0
        self._in_bytes = False
        self._run_time = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    @property
    def due(self) -> int | None:
        """The line at which an open sample is over."""
        return self._figures.due

    def feed(self, line: Line) -> Iterable[AnyObservation]:
        """What this line completes."""
        found = self._figures.tick(line)
        if "vApplicationMallocFailedHook" in line.text:
            text = "an allocation failed: the kernel's hook for that was called"
            return [*found, problem(place(line, self.name), "alloc_failed", text)]
        for read in (self._table, self._figures.read):
            taken = read(line)
            if taken is not None:
                return found + taken
        return found

    def _table(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if self._heading(line):
            return []
        if self._run_time or _RUN_TIME_TABBED.search(text):
            return self._share(line)
        tabbed = _TABBED.search(text) is not None
        if not tabbed and self._left == 0:
            return None
        self._left = max(0, self._left - 1)
        match = _ROW.match(text)
        if match is None:
            if self._left and _ROW_BEGINS.match(text):
                return [problem(place(line, self.name), "torn_record", "a row of the task table is torn and left out")]
            return None
        return self._row(line, match, is_alone=self._left == 0)

    def _heading(self, line: Line) -> bool:
        """Whether this line is a table's heading, or a row of another reader's table."""
        text = line.text
        header = _HEADER.match(text)
        if _TINA.search(text):
            self._left, self._tina_until = 0, line.number + _TINA_LINES
        elif line.number <= self._tina_until:
            if header or _ROW_BEGINS.match(text):
                self._tina_until = line.number + _ROW_LINES
        elif _RUN_TIME.match(text):
            self._left, self._run_time = _ROW_LINES, True
        elif header is not None:
            self._left, self._run_time = _ROW_LINES, False
            self._in_bytes = header[1].startswith("Task#")  # ESP-IDF's own heading
        else:
            return False
        return True

    def _share(self, line: Line) -> list[AnyObservation] | None:
        """A row of the run-time statistics."""
        self._left = max(0, self._left - 1)
        self._run_time = self._left > 0
        match = _RUN_TIME_ROW.match(line.text)
        if match is None or len(match["name"]) > NAME_CHARACTERS:
            return None
        self._left, self._run_time = _ROW_LINES, True
        share = None if match["percent"] is None else int(match["percent"])
        percent = float(share) if share is not None and share <= _WHOLE_PERCENT else None
        return [Task(name=match["name"], cpu_percent=percent, **place(line, self.name))]

    def _row(self, line: Line, match: re.Match[str], *, is_alone: bool) -> list[AnyObservation]:
        if is_alone:
            self._in_bytes = False
        self._left = _ROW_LINES
        if match["core"] is not None:  # a core's number in decimal is ESP-IDF's, whose stacks count in bytes
            self._in_bytes = True
        elif match["mask"] is not None:
            self._in_bytes = False
        if len(match["name"]) > NAME_CHARACTERS:
            return [problem(place(line, self.name), "torn_record", "a row of the task table holds another line")]
        mark = int(match["mark"])
        return [
            Task(
                name=match["name"],
                state=match["state"],
                priority=int(match["priority"]),
                stack_free_min_words=None if self._in_bytes else mark,
                stack_free_min_bytes=mark if self._in_bytes else None,
                id=int(match["id"]),
                **place(line, self.name),
            )
        ]

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        self._left = self._tina_until = 0
        self._run_time = False
        return self._figures.close()

    def footprint(self) -> FootprintRule | None:
        """None: no block's size is printed, so the rule (8 or 16 bytes of header in heap_4) has nothing to apply to."""
        return None
