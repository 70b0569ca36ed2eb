"""The live blocks of Bluedroid, ESP-IDF's Bluetooth host, as its own allocator lists them.

Source: components/bt/common/osi/allocator.c (`osi_mem_dbg_show`): `--> p ADDRESS, s SIZE, f FUNCTION, l LINE` for each
block and `--> count N` behind them. The place is a name and a line, no address, so the blocks have no frames.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.model.observations import Block, Dump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_BLOCK = re.compile(rf"--> p {HEX}, s (\d{{1,10}}), f \w{{1,64}}, l \d{{1,6}}\s*$")
_COUNT = re.compile(r"--> count (\d{1,9})\b")
_LINES = 64
"""A block so far behind the last one belongs to another listing."""


class OsiListing:
    """One listing at a time; it says behind its blocks how many there are."""

    def __init__(self, limits: Limits, dumps: Iterator[int]) -> None:
        self._limits = limits
        self._dumps = dumps
        self._where: Place | None = None
        self._number = 0
        self._blocks = 0
        self._last_line = 0

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: a listing that was not continued for long enough is over."""
        where = self._where
        is_over = where is not None and (where["boot"] != line.boot or line.number - self._last_line > _LINES)
        return self.close() if is_over else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of a listing."""
        match = _COUNT.search(line.text)
        if match is not None:
            return self.close(int(match[1])) if self._where is not None else None
        match = _BLOCK.search(line.text)
        if match is None:
            return None
        where = place(line, "espidf")
        if self._where is None:
            self._where = where
            self._number = next(self._dumps)
        self._last_line = line.number
        self._blocks += 1
        if self._blocks > self._limits.records_per_dump:
            return []
        address, size = int(match[1], 16), int(match[2])
        return [Block(dump=self._number, address=address, size_bytes=size, size_kind="requested", **where)]

    def close(self, declared: int | None = None) -> list[AnyObservation]:
        """End the listing that is open, if any; `declared` is how many blocks it says it has."""
        where, self._where = self._where, None
        blocks, self._blocks = self._blocks, 0
        if where is None:
            return []
        found: list[AnyObservation] = []
        kept = min(blocks, self._limits.records_per_dump)
        if kept < blocks:
            found.append(
                problem(where, "too_many", f"the listing has more than {kept:,} records; the rest is left out")
            )
        if declared is not None and declared > blocks:
            text = f"the listing lacks {declared - blocks:,} of the {declared:,} blocks that it counts"
            found.append(problem(where, "missing_records", text))
        complete = None if declared is None else declared == kept
        return [*found, Dump(dump=self._number, declared_blocks=declared, complete=complete, **where)]
