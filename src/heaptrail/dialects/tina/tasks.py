"""The task tables of Tina RTOS: vTaskList behind `free`, and the rows of `top`.

Source: FreeRTOS tasks.c, vTaskList (name, state, priority, high-water mark, number, with tabs between), with the
vendor's two stack pointers behind it (configDEBUG_TRACE_TASK_MOREINFO). The mark is in words of the stack's type:
4 bytes on the M33, 8 on the C906. Names are padded with blanks, hold blanks themselves (`Tmr Svc`), and are cut to
15 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import NAME_CHARACTERS, place, problem
from heaptrail.model.observations import Task

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

_HEADER = re.compile(r"^\s*(\d*)\s*(?:Name\s+State\s+Pri\s+HWM\s+Idx|Task\s+State\s+Priority\s+Stack)\b")
_ROW = re.compile(
    r"^\s*(?P<name>\S(?:.*?\S)?)\s+(?P<state>[XRBSD])\s+(?P<priority>\d{1,10})\s+(?P<words>\d{1,10})\s+(?P<id>\d{1,10})"
    r"(?P<rest>(?:\s+(?:0[xX]){1,2}[0-9a-fA-F]+|\s+-?\d{1,3}){0,3})\s*$"
)
_ROW_BEGINS = re.compile(r"^\s*\S.{0,40}?\s[XRBSD]\s+\d")
_TOP_ROW = re.compile(
    r"^\s*(?P<id>\d{1,10})\s+0x[0-9a-fA-F]+\s+(?P<state>\w{1,9})\s+(?P<priority>\d{1,10})\s+0x[0-9a-fA-F]+\s+\d+"
    r"\s+[\d.]+%\s+\d+\s+[\d.]+%\s+(?P<name>\S(?:.*\S)?)\s*$"
)
_MISSES = 8
"""So many lines of other tasks in a row may fall into the table before it is over."""


class TaskTables:
    """Reads rows after a table's heading."""

    def __init__(self) -> None:
        self._left = 0
        self._page_offset: int | None = None
        self._top = False

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def heading(self, line: Line) -> bool:
        """Whether a table begins with this line."""
        match = _HEADER.match(line.text)
        if match is None:
            if "KiB Mem" not in line.text:
                return False
            self._top = True
        else:
            self._top = False
            # A web page's line numbers, copied along: `13Name State …`, and each row is one higher.
            self._page_offset = int(match[1]) - line.number if match[1] and len(match[1]) < 8 else None
        self._left = _MISSES
        return True

    def row(self, line: Line) -> list[AnyObservation]:
        """The row on this line, if it is one."""
        if self._left == 0:
            return []
        self._left -= 1
        text = line.text
        if self._page_offset is not None:
            text = text.lstrip().removeprefix(str(line.number + self._page_offset))
        match = (_TOP_ROW if self._top else _ROW).match(text)
        if match is None:
            if not self._top and _ROW_BEGINS.match(text):
                return [problem(place(line, "tina"), "torn_record", "a row of the task table is torn and left out")]
            return []
        self._left = _MISSES
        name = match["name"]
        if len(name) > NAME_CHARACTERS:
            return [problem(place(line, "tina"), "torn_record", "a row of the task table holds another line")]
        return [
            Task(
                name=name,
                state=match["state"],
                priority=int(match["priority"]),
                stack_free_min_words=None if self._top else int(match["words"]),
                id=int(match["id"]),
                **place(line, "tina"),
            )
        ]

    def close(self) -> None:
        """The table is over."""
        self._left = 0
        self._page_offset = None
