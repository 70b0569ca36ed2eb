"""Zephyr's threads: thread analyzer, `kernel threads`, `kernel stacks`, and heap bytes by thread.

Source: subsys/debug/thread_analyzer.c, include/zephyr/debug/stack.h, subsys/shell/modules/kernel_service, and
lib/heap/heap_stats.c (sys_heap_stats_log). Stack figures are bytes; `unused` is the least that was ever free.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import NAME_CHARACTERS, place, problem
from heaptrail.model.observations import Task

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

_STACK = re.compile(
    r"(?:^|[\s>\]])(?P<name>\S(?:.{0,90}?\S)?)\s*:\s+(?:STACK: )?unused\s+(?P<unused>\d{1,9})\s+usage\s+\d{1,9} / "
    r"(?P<size>\d{1,9}) \(\s*(?P<percent>\d{1,3}) %\)(?:; CPU:\s+(?P<cpu>\d{1,3}) %)?"
)
_LOG_PREFIX = re.compile(r"^.*<(?:inf|dbg|wrn|err)> \w+:\s*")
_REAL_SIZE = re.compile(r"\s*\(real size\s+\d+\)$")
_POINTED = re.compile(r"^\*?0x[0-9a-fA-F]{1,16} (?:\((.+)\)|(\S.*))$")
_THREAD = re.compile(r"^\s*(?:\*\s*)?(?:0x)?[0-9a-fA-F]{8,16} (\S.{0,30}?)\s*$")
_OPTIONS = re.compile(r"^\s*options: 0x[0-9a-f]+, priority: (-?\d{1,4})\b")
_STATE = re.compile(r"^\s*state: ([\w+]+)(?:,|\s*$)")
_THREAD_STACK = re.compile(r"^\s*stack size (\d{1,9}), unused (\d{1,9}), usage \d{1,9} / \d{1,9} \((\d{1,3}) %\)")
_HEAP_BYTES = re.compile(r"\bthread (0x[0-9a-fA-F]{1,16})(?: \((.{1,31})\))?: (\d{1,12}) bytes allocated\s*$")
_CONTEXT_BYTES = re.compile(r"(?:^|\s)(ISR context|pre-scheduler boot):\s+(\d{1,12}) bytes allocated\s*$")
_UNTRACKED = re.compile(r"overflow \(untracked threads\):\s+(\d{1,12}) bytes allocated\s*$|no per-thread stats \(")
_LIST_MISSES = 24


class Threads:
    """Reads all of them; only `kernel threads` spreads one thread over several lines."""

    def __init__(self) -> None:
        self._left = 0
        self._name: str | None = None
        self._priority: int | None = None
        self._state: str | None = None

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A line about a thread; None when it is none."""
        text = line.text
        if "since last call" in text:
            self._left = _LIST_MISSES
            return []
        if " bytes allocated" in text or "no per-thread stats" in text:
            return self._heap_bytes(line)
        if (match := _STACK.search(_LOG_PREFIX.sub("", text))) is not None:
            return self._stack(line, match)
        return self._listed(line) if self._left else None

    def _stack(self, line: Line, match: re.Match[str]) -> list[AnyObservation] | None:
        name = _REAL_SIZE.sub("", match["name"])
        if (pointed := _POINTED.match(name)) is not None:
            name = (pointed[1] or pointed[2]).strip()
        if name.endswith("PRIV_STACK"):  # the user-mode thread above it has two stacks
            return []
        if len(name) > NAME_CHARACTERS:
            return [problem(place(line, "zephyr"), "torn_record", "a line about a stack holds another line")]
        return [
            Task(
                name=name,
                stack_free_min_bytes=int(match["unused"]),
                stack_size_bytes=int(match["size"]),
                stack_used_max_percent=float(match["percent"]),
                cpu_percent=None if match["cpu"] is None else float(match["cpu"]),
                **place(line, "zephyr"),
            )
        ]

    def _listed(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        self._left -= 1
        if (match := _OPTIONS.match(text)) is not None:
            self._priority = int(match[1])
        elif (match := _STATE.match(text)) is not None:
            self._state = match[1]
        elif (match := _THREAD_STACK.match(text)) is not None:
            return self._whole(line, match)
        elif (match := _THREAD.match(text)) is not None:
            self._name, self._priority, self._state = match[1], None, None
        else:
            return None
        self._left = _LIST_MISSES
        return []

    def _whole(self, line: Line, match: re.Match[str]) -> list[AnyObservation]:
        name, self._name = self._name, None
        self._left = _LIST_MISSES
        if name is None:
            return [problem(place(line, "zephyr"), "torn_record", "a thread's first line is missing; it is left out")]
        return [
            Task(
                name=name,
                state=self._state,
                priority=self._priority,
                stack_size_bytes=int(match[1]),
                stack_free_min_bytes=int(match[2]),
                stack_used_max_percent=float(match[3]),
                **place(line, "zephyr"),
            )
        ]

    def _heap_bytes(self, line: Line) -> list[AnyObservation] | None:
        where = place(line, "zephyr")
        if (match := _HEAP_BYTES.search(line.text)) is not None:
            return [Task(name=match[2] or match[1], heap_bytes=int(match[3]), **where)]
        if (match := _CONTEXT_BYTES.search(line.text)) is not None:
            return [Task(name=match[1], heap_bytes=int(match[2]), **where)]
        if (match := _UNTRACKED.search(line.text)) is not None:
            what = f"{int(match[1]):,} B" if match[1] else "the heap"
            text = f"the table of threads was full: {what} cannot be told by thread"
            return [problem(where, "overflow", text)]
        return None

    def close(self) -> None:
        """The list is over."""
        self._left = 0
        self._name = None
