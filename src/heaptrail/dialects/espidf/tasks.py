"""ESP-IDF's heap task tracking: bytes by task, tasks that are gone included, and their blocks.

Source: components/heap/heap_task_info.c (`heap_caps_print_all_task_stat_overview` and its siblings) and the lines of
the example `heap_task_tracking`; and arduino-esp32's printRunningTasks(), which shows stacks only. A deleted task that
still has bytes is a suspect; its row says DELETED. Block sizes are the allocator's. Where a terminal garbles the
table's frame, `|` stands for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import HEX, NAME_CHARACTERS, Place, place, problem
from heaptrail.model.observations import Block, Dump, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_OVERVIEW = re.compile(r"\b(ALIVE|DELETED)\s*: (.{1,64}?), CURRENT MEMORY USAGE (\d{1,10})\b")
_ROW = re.compile(r"[│|]\s*([^│|]{1,64}?)\s*[│|]\s*(ALIVE|DELETED)\s*[│|]\s*(\d{1,10})\s*[│|]")
_EXAMPLE = re.compile(
    r"\bTask: (.{1,64}?)(?: 0x([0-9a-fA-F]{1,8}))? -> (?:MALLOC_)?CAP_\w+: (\d{1,10})\b(?:.* Highwater (\d{1,10})\s*$)?"
)
_ARDUINO_HEADING = re.compile(r"\bNum\s+Name\s+Load\s+Prio\s+Free\s+Core\s+State\s*$")
_ARDUINO_ROW = re.compile(
    r"^\s*(?P<id>\d{1,5})\s+(?P<name>\S.{0,40}?)\s+(?P<load>\d{1,3})%\s+(?P<priority>\d{1,3})\s+(?P<free>\d{1,9})\s+"
    r"(?:\d|\*)\s+(?P<state>Running|Ready|Blocked|Suspended|Deleted|Invalid)\s*$"
)
_ARDUINO_LINES = 8
_ALLOC = re.compile(rf"\bALLOC {HEX}, SIZE (\d{{1,10}})\b")
_OVERVIEW_LINES = 64
"""Blocks so far behind the last line of an overview belong to another."""


class Tracking:
    """Rows of tasks as they come; the blocks of one overview are one dump."""

    def __init__(self, limits: Limits, dumps: Iterator[int]) -> None:
        self._limits = limits
        self._dumps = dumps
        self._where: Place | None = None
        self._number = 0
        self._task: str | None = None
        self._seen: set[tuple[str, str]] = set()
        self._last_line = 0
        self._blocks = 0
        self._left = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold, inside Arduino's table."""
        return self._left

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: an overview that was not continued for long enough is over."""
        return self.close() if self._is_far(line) else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of task tracking."""
        text = line.text
        if _ARDUINO_HEADING.search(text):
            self._left = _ARDUINO_LINES
            return []
        if self._left and (row := self._arduino(line)) is not None:
            return row
        match = _OVERVIEW.search(text)
        if match is not None:
            key = (match[1], match[2])
            found = self.close() if key in self._seen else []
            if len(self._seen) < self._limits.tasks:
                self._seen.add(key)
            self._last_line = line.number
            self._task = match[2]
            return found + self._row(line, match[2], match[1], int(match[3]))
        match = _ROW.search(text)
        if match is not None:
            return self._row(line, match[1], match[2], int(match[3]))
        match = _EXAMPLE.search(text)
        if match is not None:
            return self._example(line, match)
        match = _ALLOC.search(text)
        return None if match is None else self._block(line, int(match[1], 16), int(match[2]))

    def _row(self, line: Line, name: str, state: str, heap_bytes: int) -> list[AnyObservation]:
        if len(name) > NAME_CHARACTERS:
            return [problem(place(line, "espidf"), "torn_record", "a row of the task tracking holds another line")]
        return [Task(name=name, state=state, heap_bytes=heap_bytes, **place(line, "espidf"))]

    def _example(self, line: Line, match: re.Match[str]) -> list[AnyObservation]:
        """A row of the example; of several kinds of memory the first is taken, which is what malloc gives."""
        name, handle, heap_bytes, mark = match.groups()
        if len(name) > NAME_CHARACTERS:
            return [problem(place(line, "espidf"), "torn_record", "a row of the task tracking holds another line")]
        return [
            Task(
                name=name,
                heap_bytes=int(heap_bytes),
                id=int(handle, 16) or None if handle else None,
                stack_free_min_bytes=int(mark) if mark and handle and int(handle, 16) else None,
                **place(line, "espidf"),
            )
        ]

    def _arduino(self, line: Line) -> list[AnyObservation] | None:
        """A row of Arduino's printRunningTasks(), where `Free` is the least that was ever free of the stack."""
        self._left -= 1
        match = _ARDUINO_ROW.match(line.text)
        if match is None:
            return None
        self._left = _ARDUINO_LINES
        if len(match["name"]) > NAME_CHARACTERS:
            return [problem(place(line, "espidf"), "torn_record", "a row of the task table holds another line")]
        return [
            Task(
                name=match["name"],
                state=match["state"],
                priority=int(match["priority"]),
                stack_free_min_bytes=int(match["free"]),
                cpu_percent=float(match["load"]),
                id=int(match["id"]),
                **place(line, "espidf"),
            )
        ]

    def _is_far(self, line: Line) -> bool:
        where = self._where
        return where is not None and (where["boot"] != line.boot or line.number - self._last_line > _OVERVIEW_LINES)

    def _block(self, line: Line, address: int, size_bytes: int) -> list[AnyObservation]:
        self._last_line = line.number
        where = place(line, "espidf")
        if self._where is None:
            self._where = where
            self._number = next(self._dumps)
        self._blocks += 1
        if self._blocks > self._limits.records_per_dump:
            if self._blocks > self._limits.records_per_dump + 1:
                return []
            text = f"the dump has more than {self._limits.records_per_dump:,} records; the rest is left out"
            return [problem(where, "too_many", text)]
        block = Block(
            dump=self._number, address=address, size_bytes=size_bytes, size_kind="block", task=self._task, **where
        )
        return [block]

    def close(self) -> list[AnyObservation]:
        """End the overview that is open, if any; it does not say how many blocks it has."""
        where, self._where = self._where, None
        is_cut = self._blocks > self._limits.records_per_dump
        self._blocks = 0
        self._task = None
        self._left = 0
        self._seen.clear()
        return [] if where is None else [Dump(dump=self._number, complete=False if is_cut else None, **where)]
