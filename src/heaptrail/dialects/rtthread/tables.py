"""RT-Thread's tables: heap totals (`free`, `list_mem`), memheaps (`list_memheap`) and threads (`ps`, `list_thread`).

Source: src/mem.c, src/memheap.c, components/finsh/cmd.c and their histories. Heap figures are decimal bytes. In the
thread table `sp` (the part of the stack in use now) and `stack size` are hexadecimal bytes; `max used` is a percentage,
in very old versions hexadecimal bytes, and then `pri` is hexadecimal, too. With several cores a column `cpu` stands
before `pri`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import NAME_CHARACTERS, PROMPT, Place, place, problem
from heaptrail.model.observations import HeapSample, Task

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

_OLD_TOTALS = re.compile(r"\b(total memory|used memory|maximum allocated memory)\s*:\s*(\d{1,12})")
_NEW_TOTAL = re.compile(r"^(?:.*[\]>])?\s*(total|used|maximum|available)\s*:\s*(\d{1,12})\s*$")
_FIELDS = {
    "total memory": "total",
    "used memory": "used",
    "maximum allocated memory": "maximum",
}
_ORDER = ("total", "used", "maximum", "available")
_TABLE_LINES = 24
_MEMHEAP_HEADING = re.compile(r"\bmemheap\s+pool size\s+max used size\s+available size\b")
_MEMHEAP_ROW = re.compile(r"^(?:.*\])?\s*(\S.{0,30}?)\s+(\d{1,12})\s+(\d{1,12})\s+(\d{1,12})\s*$")
_THREAD_HEADING = re.compile(
    r"(?:^|\s)thread\s+(cpu\s+)?pri\s+status\s+sp\s+stack size\s+max used\s+left tick\s+error\b"
)
_OTHER_THREADS = re.compile(r"\bPID\s+CMD\b")
_THREAD_ROW = re.compile(
    r"^(?:.*\])?\s*(?P<name>\S.{0,60}?)\s+(?P<pri>0x[0-9a-f]{2}|\d{1,3})\s+(?P<state>[a-z]{2,9})\s+0x[0-9a-f]{1,16}\s+0x(?P<size>[0-9a-f]{1,16})\s+"
    r"(?:(?P<percent>\d{1,3})%|0x[0-9a-f]{1,16})\s+0x[0-9a-f]{1,16}\s+(?:-?\d{1,3}|[A-Z]\w*|-)(?:\s.*)?$"
)
_CPU = re.compile(r"^(.*\S)\s+(?:\d{1,2}|N/A)$")
_MISSES = 12
"""So many lines of other tasks in a row may fall into a table before it is over."""


class HeapTotals:
    """Puts the lines of `free` together. One that lacks its total, its use or its maximum is none."""

    def __init__(self) -> None:
        self._where: Place | None = None
        self._figures: dict[str, int] = {}
        self._last_line = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 8 if self._where is not None else 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A line of totals; None when it is none."""
        text = line.text
        found: list[AnyObservation] = []
        if self._where is not None and (line.number - self._last_line > _TABLE_LINES or PROMPT.match(text)):
            found = self.close()
        old = _OLD_TOTALS.findall(text)
        if old:
            for label, digits in old:
                found += self._figure(line, _FIELDS[label], int(digits))
            return found + (self.close() if "maximum" in self._figures else [])
        match = _NEW_TOTAL.match(text)
        if match is None or (self._where is None and match[1] != "total"):
            return found or None
        found += self._figure(line, match[1], int(match[2]))
        return found + (self.close() if match[1] == "available" else [])

    def _figure(self, line: Line, which: str, value: int) -> list[AnyObservation]:
        found: list[AnyObservation] = []
        if which == "total" or which in self._figures:
            found = self.close()
        if self._where is None:
            self._where = place(line, "rtthread")
        self._last_line = line.number
        self._figures[which] = value
        return found

    def close(self) -> list[AnyObservation]:
        """The totals that are open, if they are whole."""
        where, figures = self._where, self._figures
        self._where, self._figures = None, {}
        if where is None or tuple(figures) not in (_ORDER, _ORDER[:3]):
            return []
        total, used, highest, free = (figures.get(which) for which in _ORDER)
        assert total is not None
        assert used is not None
        assert highest is not None
        if max(used, highest, free or 0) > total or used > highest:
            text = f"the heap totals contradict themselves: total {total}, used {used}, maximum {highest}; left out"
            return [problem(where, "torn_record", text)]
        return [HeapSample(total_bytes=total, used_bytes=used, max_used_bytes=highest, free_bytes=free, **where)]


class Tables:
    """Reads the rows of memheaps and threads after their headings."""

    def __init__(self) -> None:
        self._left = 0
        self._kind = ""

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A row; None when the line is none."""
        if _MEMHEAP_HEADING.search(line.text):
            self._kind, self._left = "memheap", _MISSES
            return []
        if (match := _THREAD_HEADING.search(line.text)) is not None:
            # A table of processes puts other names in front; which is the thread's cannot be told from a row.
            self._left = 0 if _OTHER_THREADS.search(line.text) else _MISSES
            self._kind = "cpu" if match[1] else "thread"
            return []
        if self._left == 0:
            return None
        self._left -= 1
        found = self._memheap(line) if self._kind == "memheap" else self._thread(line)
        if found is not None:
            self._left = _MISSES
        return found

    def _memheap(self, line: Line) -> list[AnyObservation] | None:
        match = _MEMHEAP_ROW.match(line.text)
        if match is None:
            return None
        total, highest, free = int(match[2]), int(match[3]), int(match[4])
        if max(highest, free) > total:
            return [
                problem(place(line, "rtthread"), "torn_record", f"the row of the heap {match[1]} contradicts itself")
            ]
        where = place(line, "rtthread")
        return [HeapSample(heap=match[1], total_bytes=total, max_used_bytes=highest, free_bytes=free, **where)]

    def _thread(self, line: Line) -> list[AnyObservation] | None:
        match = _THREAD_ROW.match(line.text)
        if match is None:
            return None
        name = match["name"]
        if self._kind == "cpu":
            core = _CPU.match(name)
            name = name if core is None else core[1]
        if len(name) > NAME_CHARACTERS:
            return [problem(place(line, "rtthread"), "torn_record", "a row of the thread table holds another line")]
        return [
            Task(
                name=name,
                state=match["state"],
                priority=int(match["pri"], 16 if match["pri"].startswith("0x") else 10),
                stack_size_bytes=int(match["size"], 16),
                stack_used_max_percent=None if match["percent"] is None else float(match["percent"]),
                **place(line, "rtthread"),
            )
        ]

    def close(self) -> None:
        """The table is over."""
        self._left = 0
