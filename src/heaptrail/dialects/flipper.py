"""Flipper Zero (furi on FreeRTOS): the console's `free`, `top` and `ps`, and the log line at an application's end.

Source: furi/core/thread.c, memmgr_heap.c, applications/services/cli and loader. Stack figures are bytes. A thread that
is not tracked has 0xFFFFFFFF heap bytes. An application's line comes some milliseconds after its end, so that timers
have freed what they hold; old firmware's heap balance takes in what others did meanwhile and is not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.figures import Figures, Layout
from heaptrail.dialects.text import place
from heaptrail.model.observations import HeapSample, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation

_FREE = Layout(
    figures={
        "free_bytes": re.compile(r"^\s*Free heap size: (\d{1,10})\s*$"),
        "total_bytes": re.compile(r"^\s*Total heap size: (\d{1,10})\s*$"),
        "min_free_bytes": re.compile(r"^\s*Minimum heap size: (\d{1,10})\s*$"),
        "largest_free_bytes": re.compile(r"^\s*Maximum heap block: (\d{1,10})\s*$"),
    },
    least=3,
    last="largest_free_bytes",
)
_POOL = Layout(
    figures={
        "free_bytes": re.compile(r"^\s*Pool free: (\d{1,10})\s*$"),
        "largest_free_bytes": re.compile(r"^\s*Maximum pool block: (\d{1,10})\s*$"),
    },
    least=2,
    last="largest_free_bytes",
    heap="pool",
)
_CRASH = Layout(
    figures={
        "total_bytes": re.compile(r"^\s*heap total: (\d{1,10})\s*$"),
        "free_bytes": re.compile(r"^\s*heap free: (\d{1,10})\s*$"),
        "min_free_bytes": re.compile(r"^\s*heap watermark: (\d{1,10})\s*$"),
    },
    least=3,
    last="min_free_bytes",
)
"""What furi_check prints when it gives up (furi/core/check.c)."""
_TOP = re.compile(
    r"\bHeap: total (?P<total>\d{1,10}), free (?P<free>\d{1,10}), minimum (?P<low>\d{1,10}), "
    r"max block (?P<largest>\d{1,10})\b"
)
_STOPPED = re.compile(r"\bApplication stopped\. Free heap: (\d{1,10})\b")
_BALANCE = re.compile(r"\[FuriThread\]\s*(\S.{0,30}?) allocation balance: (\d{1,10})\s*$")
_OLD_BALANCE = re.compile(
    r"\bApplication thread stopped\. Heap allocation balance: -?\d{1,10}\. Thread allocation balance: (\d{1,10})\."
)
_NAME = r"(?P<name>\S(?:.{0,30}?\S)?)"
_TOP_HEADER = re.compile(r"^\s*AppID\s+Name\s+State\s+Prio\s+Stack start\s+Stack\s+Stack Min\s+Heap\b")
_TOP_ROW = re.compile(
    rf"^\s*\S+\s+{_NAME}\s+(?P<state>Running|Ready|Blocked|Suspended|Deleted|Invalid)\s+(?P<priority>\d{{1,3}})\s+"
    r"0x(?P<start>[0-9a-fA-F]{1,8})\s+(?P<stack>\d{1,10})\s+(?P<low>\d{1,10})\s+(?P<heap>-?\d{1,10})\s+[\d.]+\s*$"
)
_PS_HEADER = re.compile(r"^\s*(AppID\s+)?Name\s+Stack start\s+(Heap\s+)?Stack(?: alloc)?\s+Stack (?:min )?free\s*$")
_PS_ROW = re.compile(
    rf"^\s*{_NAME}\s+0x(?P<start>[0-9a-fA-F]{{1,8}})\s+(?:(?P<heap>-?\d{{1,10}})\s+)?(?P<stack>\d{{1,10}})\s+(?P<low>\d{{1,10}})\s*$"
)
_UNTRACKED = (-1, 0xFFFF_FFFF)
_ROW_LINES = 8
"""So many lines of other tasks in a row may fall into a table before it is over."""


class Flipper:
    """Flipper Zero: heap of `free` and `top`, threads, what an application leaves behind."""

    name: ClassVar[str] = "flipper"
    sample_line: ClassVar[str] = "[I][Loader] Application stopped. Free heap: 135080"
    firmware_options: ClassVar[str] = (
        "none for totals; Settings, System, Heap Trace (Main, Tree or All) for bytes by thread"
    )
    tells: ClassVar[str] = (
        "Free, smallest-ever and largest free bytes; bytes that an application's thread did not free."
    )
    cannot_tell: ClassVar[str] = "Single blocks and where they were allocated."
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(sample="free", prompt=r">:")
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"Free heap size: ",
        b"Total heap size: ",
        b"Minimum heap size: ",
        b"Maximum heap block: ",
        b"Pool free: ",
        b"Maximum pool block: ",
        b"Heap: total ",
        b"heap total: ",
        b"heap free: ",
        b"heap watermark: ",
        b"Application stopped. Free heap",
        b" allocation balance: ",
        b"Stack start",
    )

    def __init__(self, limits: Limits) -> None:
        del limits  # nothing is kept beyond one table's row count
        self._figures = Figures(self.name, _FREE, _POOL, _CRASH)
        self._rows: re.Pattern[str] | None = None
        self._has_app = False
        self._left = 0

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
        for read in (self._alone, self._table, self._figures.read):
            taken = read(line)
            if taken is not None:
                return found + taken
        return found

    def _alone(self, line: Line) -> list[AnyObservation] | None:
        """Lines that stand for themselves."""
        where = place(line, self.name)
        match = _TOP.search(line.text)
        if match is not None:
            total, free, low, largest = (int(match[name]) for name in ("total", "free", "low", "largest"))
            return [
                HeapSample(total_bytes=total, free_bytes=free, min_free_bytes=low, largest_free_bytes=largest, **where)
            ]
        match = _STOPPED.search(line.text)
        if match is not None:
            return [HeapSample(free_bytes=int(match[1]), **where)]
        match = _OLD_BALANCE.search(line.text)
        if match is not None:
            return [Task(name="Application thread", heap_bytes=int(match[1]), **where)]
        match = _BALANCE.search(line.text)
        return None if match is None else [Task(name=match[1], heap_bytes=int(match[2]), **where)]

    def _table(self, line: Line) -> list[AnyObservation] | None:
        header = _PS_HEADER.match(line.text)
        if header is not None or _TOP_HEADER.match(line.text):
            self._rows = _TOP_ROW if header is None else _PS_ROW
            self._has_app = header is not None and header[1] is not None
            self._left = _ROW_LINES
            return []
        if self._rows is None or self._left == 0:
            return None
        self._left -= 1
        match = self._rows.match(line.text)
        if match is None:
            return None
        self._left = _ROW_LINES
        columns = match.groupdict()
        name = columns["name"]
        if self._has_app:  # `ps` with the application's id in front of the name
            name = name.split(maxsplit=1)[-1]
        heap = None if columns["heap"] is None else int(columns["heap"])
        priority = columns.get("priority")
        return [
            Task(
                name=name,
                state=columns.get("state"),
                priority=None if priority is None else int(priority),
                stack_size_bytes=int(columns["stack"]),
                stack_free_min_bytes=int(columns["low"]),
                heap_bytes=None if heap in _UNTRACKED else heap,
                **place(line, self.name),
            )
        ]

    def finish(self) -> Iterable[AnyObservation]:
        """What is still open at the end of the log."""
        self._left = 0
        return self._figures.close()

    def footprint(self) -> FootprintRule | None:
        """None: sizes of blocks are not printed."""
        return None
