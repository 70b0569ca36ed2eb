"""NuttX's tables: heaps (`free`), memory pools (/proc/mempool), and tasks (`ps`).

Source: fs/procfs/fs_procfsmeminfo.c, mm/mempool/mempool_procfs.c, nshlib/nsh_proccmds.c and their histories. The
heading says what the columns are: `free` has had four numbers, then six and seven with the heap's name in front,
then seven with the name behind. Rows `Page` and `Prog` print fewer. Figures are bytes, `nused` and `nfree` counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import place, problem
from heaptrail.model.observations import HeapSample, Task

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_FREE_HEADING = re.compile(
    r"(?:^|\s)(total\s+used\s+free(?:\s+maxused)?\s+(?:largest|maxfree)(?:\s+nused\s+nfree)?)(?:\s+name)?\s*$"
)
_FREE_ROW = re.compile(
    r"^(?:.*\])?\s*(?:(?P<first>[A-Za-z_]\w{0,31}):\s*)?(?P<figures>\d{1,12}(?:\s+\d{1,12}){3,6}|\d{1,60}(?:\s+\d{1,60}){2,6})"
    r"(?:\s+(?P<last>\S.{0,31}?))?\s*$"
)
_FIGURES = re.compile(rb"\d[ \t]+\d+[ \t]")
"""What every row of these tables holds."""
_LARGEST = 10**12
"""No heap has as many bytes: two figures have run into one another, or a negative one was printed without its sign."""
_LEAST_NODE_BYTES = 8
_PAGE = ("total", "used", "free", "largest")
_PROG = ("total", "used", "free", "largest", "nused", "nfree")
_POOL_HEADING = re.compile(r"(?:^|\s)total\s+bsize\s+nused\s+nfree\s+nifree\s+nwaiter\b")
_POOL_ROW = re.compile(
    r"^(?:.*\])?\s*(\S[^:]{0,31}):\s*(\d{1,12})\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s+\d{1,9}(?:\s+\d{1,9})?\s*$"
)
_PS_HEADING = re.compile(r"(?:^|\s)(PID\s.*\bPRI\s+(?:POLICY|SCHD)\s+TYPE\s.*\b(?:COMMAND|NAME))\s*$")
_ROW_BEGINS = re.compile(
    r"^\s*\d{1,6}\s+(?:(?:\d{1,6}|-+)\s+){1,4}(?:FIFO|RR|SPORADIC|OTHER)\s+(?:Kthread|[Pp]thread|Task)\s"
)
_ARGUMENT = re.compile(r"(?:\s+0x[0-9a-fA-F]+.*|\(.*)$")
_MISSES = 12
"""So many lines of other tasks in a row may fall into a table before it is over."""


class HeapTables:
    """Reads `free`, its older forms, and the pools."""

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()
        self._pools = False
        self._left = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A row; None when the line is none."""
        if "total" in line.text and (match := _FREE_HEADING.search(line.text)) is not None:
            self._columns, self._pools, self._left = tuple(match[1].split()), False, _MISSES
            return []
        if "nifree" in line.text and _POOL_HEADING.search(line.text) is not None:
            self._columns, self._pools, self._left = (), True, _MISSES
            return []
        if self._left == 0:
            return None
        self._left -= 1
        return self._pool(line) if self._pools else self._heap(line)

    def passes(self, raw: bytes) -> bool:
        """Whether a line is clearly no row; then it is counted as one of those that may fall in between."""
        if self._left == 0 or _FIGURES.search(raw) is not None or not raw.isascii() or b"\x1b" in raw:
            return False
        self._left -= 1
        return True

    def _heap(self, line: Line) -> list[AnyObservation] | None:
        match = _FREE_ROW.match(line.text)
        if match is None or (match["first"] is None) == (match["last"] is None):
            return None
        name = match["first"] or match["last"]
        figures = [int(figure) for figure in match["figures"].split()]
        columns = self._columns
        if len(figures) != len(columns):
            columns = _PAGE if name == "Page" and len(figures) == 4 else _PROG if name == "Prog" else ()
        self._left = _MISSES
        if len(figures) != len(columns):
            if not any(figure > _LARGEST for figure in figures):
                return None
            text = f"the columns of the heap {name} run into one another; its row is left out"
            return [problem(place(line, "nuttx"), "torn_record", text)]
        cells = dict(zip(columns, figures, strict=True))
        total, used, free = cells["total"], cells["used"], cells["free"]
        if (
            max(figures) > _LARGEST
            or abs(total - used - free) * 100 > total
            or cells.get("nused", 0) * _LEAST_NODE_BYTES > used
        ):  # both are walked at once, so only lost digits make a difference
            text = f"the row of the heap {name} contradicts itself: {used} used, {free} free of {total}; it is left out"
            return [problem(place(line, "nuttx"), "torn_record", text)]
        return [
            HeapSample(
                heap=name,
                total_bytes=total,
                used_bytes=used,
                free_bytes=free,
                max_used_bytes=cells.get("maxused"),
                largest_free_bytes=cells.get("maxfree", cells.get("largest")),
                used_blocks=cells.get("nused"),
                free_blocks=cells.get("nfree"),
                **place(line, "nuttx"),
            )
        ]

    def _pool(self, line: Line) -> list[AnyObservation] | None:
        match = _POOL_ROW.match(line.text)
        if match is None:
            return None
        self._left = _MISSES
        name, total, block, used, free, interrupt_free = match[1].strip(), *map(int, match.groups()[1:])
        if total != block * (used + free + interrupt_free):
            return [problem(place(line, "nuttx"), "torn_record", f"the row of the pool {name} contradicts itself")]
        return [HeapSample(heap=name, total_bytes=total, used_blocks=used, free_blocks=free, **place(line, "nuttx"))]

    def close(self) -> None:
        """The table is over."""
        self._left = 0


class TaskTable:
    """Reads `ps`. The names by number are kept for tables that print the number alone.

    Attributes:
        names: Name by number, of every task seen in this boot.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._row: re.Pattern[str] | None = None
        self._left = 0
        self._listed: set[int] = set()
        self._torn = False
        self.names: dict[int, str] = {}

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A row; None when the line is none."""
        if "PID" in line.text and (match := _PS_HEADING.search(line.text)) is not None:
            columns = match[1].split()
            known = all(columns.count(name) == 1 for name in ("PID", "PRI", "STATE"))
            twice = any(columns.count(name) > 1 for name in ("STACK", "FILLED", "HEAP"))
            self._listed, self._torn = set(), False
            self._row, self._left = (_ps_row(columns), _MISSES) if known and not twice else (None, 0)
            return []
        if self._left == 0 or self._row is None:
            return None
        self._left -= 1
        found = self._row.match(line.text)
        if found is None:
            if _ROW_BEGINS.match(line.text) is None:
                return None
            self._left, self._torn = _MISSES, True
            return [problem(place(line, "nuttx"), "torn_record", "a row of the task table is torn and left out")]
        self._left = _MISSES
        cells = found.groupdict()
        name = _ARGUMENT.sub("", cells["COMMAND"]).strip() or cells["COMMAND"]
        number = int(cells["PID"])
        if len(self.names) < self._limits.tasks or number in self.names:
            self.names[number] = name
            self._listed.add(number)
        return [
            Task(
                name=name,
                id=number,
                priority=int(cells["PRI"]),
                state=cells["STATE"],
                stack_size_bytes=_number(cells.get("STACK")),
                stack_used_max_percent=None if cells.get("FILLED") is None else float(cells["FILLED"]),
                cpu_percent=None if cells.get("LOAD") is None else float(cells["LOAD"]),
                heap_bytes=_number(cells.get("HEAP")),
                **place(line, "nuttx"),
            )
        ]

    def has_ended(self, number: int) -> bool:
        """Whether the last `ps` shows that the task is gone: it lacks one that was listed before or must be older.

        NuttX gives numbers out in rising order until 32,767.
        """
        if self._torn or number <= 0 or number in self._listed or not self._listed:
            return False
        return number in self.names or number < max(self._listed)

    def close(self) -> None:
        """The table is over."""
        self._left = 0

    def forget(self) -> None:
        """The device was reset."""
        self.close()
        self._listed.clear()
        self.names.clear()


_CELLS = {
    "PID": r"(?P<PID>\d{1,6})",
    "GROUP": r"(?:\d{1,6}|-+)",
    "PPID": r"(?:\d{1,6}|-+)",
    "TASK": r"(?:\d{1,6}|-+)",
    "CPU": r"(?:\d{1,3}|-+)",
    "PRI": r"(?P<PRI>\d{1,3})",
    "POLICY": r"[A-Z]\w+",
    "SCHD": r"[A-Z]\w+",
    "TYPE": r"\S+",
    "STATE": r"(?P<STATE>[A-Za-z]\w*)",
    "SIGMASK": r"[0-9a-fA-F]{8,32}",
    "HEAP": r"(?P<HEAP>\d{1,12})",
    "STACK": r"(?P<STACK>\d{1,9})",
    "USED": r"\d{1,9}",
    "FILLED": r"(?P<FILLED>\d{1,3}\.\d)%!?",
}
_BLANK_OFTEN = {
    "NPX": r"(?:\s+[NPX-]{1,3}(?=\s))?",
    "NP": r"(?:\s+[NP]{1,2}(?=\s))?",
    "EVENT": r"(?:\s+[A-Z]\w*(?: \w+)?)??",
}
"""Cells that are often empty."""


def _ps_row(columns: list[str]) -> re.Pattern[str]:
    pattern = r"^(?:.*\])?\s*"
    for index, column in enumerate(columns[:-1]):
        if column in _BLANK_OFTEN:
            pattern += _BLANK_OFTEN[column]
            continue
        cell = _CELLS.get(column, r"\S+")
        if column == "CPU" and "STATE" in columns[:index]:
            cell = r"(?P<LOAD>\d{1,3}\.\d)%"  # the load, not the core
        pattern += (r"\s+" if index else "") + cell
    return re.compile(pattern + r"\s+(?P<COMMAND>\S.*?)\s*$")


def _number(cell: str | None) -> int | None:
    return None if cell is None else int(cell)
