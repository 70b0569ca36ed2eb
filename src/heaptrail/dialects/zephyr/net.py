"""Zephyr's network memory: pools of packets and buffers (`net mem`), and each buffer with who took it (`net allocs`).

Source: zephyr's subsys/net/lib/shell/mem.c and allocs.c (CONFIG_NET_DEBUG_NET_PKT_ALLOC). Both count in pieces. The
second names a function and a line of its source for each buffer, but no size and no address of code, so the buffers
are told in a sentence, by place.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from heaptrail.dialects.text import PROMPT, Place, place, problem
from heaptrail.model.observations import HeapSample
from heaptrail.units import plural

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_POOLS = re.compile(r"\bAddress\s+Total\s+Avail\s+Name\s*$")
_POOL = re.compile(r"^(?:.*[\]>])?\s*0x[0-9a-fA-F]{1,16}\s+(\d{1,9})\s+(-?\d{1,9})\s+([A-Z][\w ()-]{0,40}?)\s*$")
_ALLOCS = re.compile(r"\bmemory\s+Status\s+Pool\s+Function alloc -> freed\b")
_ALLOC = re.compile(
    r"^(?:.*[\]>])?\s*0x[0-9a-fA-F]{1,16}(?:/\d{1,4})?\s+(?P<status>used|free|avail)\s+(?P<pool>[A-Z]\w{1,11})\s+"
    r"(?P<where>\w{1,80}\(\):\d{1,6})(?:\s+->\s+\w{1,80}\(\):\d{1,6})?\s*$"
)
_MISSES = 8
_ROW_LINES = 24
"""So many lines of other tasks in a row may fall into the list of buffers."""
_SHOWN = 6


class Network:
    """Reads both tables after their headings."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = 0
        self._began: Place | None = None
        self._used: Counter[tuple[str, str]] = Counter()

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return self._left

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of these."""
        if _POOLS.search(line.text):
            found = self.close()
            self._left = _MISSES
            return found
        if _ALLOCS.search(line.text):
            found = self.close()
            self._began, self._left = place(line, "zephyr"), _ROW_LINES
            return found
        if self._left == 0:
            return None
        self._left -= 1
        read = self._pool(line) if self._began is None else self._alloc(line)
        if read is None and (self._left == 0 or PROMPT.match(line.text)):
            return self.close() or None
        return read

    def _pool(self, line: Line) -> list[AnyObservation] | None:
        match = _POOL.match(line.text)
        if match is None:
            return None
        self._left = _MISSES
        if not 0 <= int(match[2]) <= int(match[1]):
            text = f"the row of the pool {match[3]} contradicts itself: {match[2]} of {match[1]} available"
            return [problem(place(line, "zephyr"), "torn_record", text)]
        return [HeapSample(heap=f"net {match[3]}", free_blocks=int(match[2]), **place(line, "zephyr"))]

    def _alloc(self, line: Line) -> list[AnyObservation] | None:
        match = _ALLOC.match(line.text)
        if match is None:
            return None
        self._left = _ROW_LINES
        key = (match["where"], match["pool"])
        if match["status"] == "used" and (key in self._used or len(self._used) < self._limits.records_per_dump):
            self._used[key] += 1
        return []

    def close(self) -> list[AnyObservation]:
        """The table is over: the buffers in use, by place."""
        began, self._began, self._left = self._began, None, 0
        used, self._used = self._used, Counter()
        if began is None or not used:
            return []
        places = [f"{count} {pool} by {where}" for (where, pool), count in used.most_common(_SHOWN)]
        if len(used) > _SHOWN:
            places.append(f"and others by {plural(len(used) - _SHOWN, 'more place')}")
        text = f"`net allocs` lists {plural(used.total(), 'buffer')} in use, without their sizes: {', '.join(places)}"
        return [problem(began, "missing_sizes", text)]
