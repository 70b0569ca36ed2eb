"""ESP-IDF's heap totals (`heap_caps_print_heap_info`), block listings (`heap_caps_dump`) and complaints.

Source: components/heap/heap_caps.c, multi_heap.c and multi_heap_poisoning.c. A region is two lines, and lines of other
tasks fall between them. The minimum of `Totals` is the sum of the regions' minima, which were never all reached at one
moment. Each region is a heap of its own here, named by its address; the totals are one named by the capabilities.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.model.observations import Block, Dump, HeapSample
from heaptrail.units import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_SUMMARY = re.compile(rf"Heap summary for capabilities {HEX}")
_REGION = re.compile(
    r"\bAt (?:0x)?([0-9a-fA-F]{8,16}) len (\d{1,10}) free (\d{1,10}) allocated (\d{1,10}) min_free (\d{1,10})\b"
)
_DETAIL = re.compile(
    r"\blargest_free_block (\d{1,10}) alloc_blocks (\d{1,10}) free_blocks (\d{1,10}) total_blocks \d{1,10}\b"
)
_TOTALS = re.compile(
    r"(?<!len )(?<![\w.])free (\d{1,10}) allocated (\d{1,10}) min_free (\d{1,10}) largest_free_block (\d{1,10})\b"
)
_SHOWING = re.compile(rf"Showing data for heap: {HEX}|\bHeap start {HEX} end 0x[0-9a-fA-F]{{8}}")
_BLOCK = re.compile(
    rf"\bBlock {HEX} data, size: (?P<size>\d{{1,10}}) bytes, Free: (?:(?P<free>Yes)|No)\b"
    rf"|\bBlock {HEX} data size (?P<hex>0x[0-9a-fA-F]{{8}}) bytes next block 0x[0-9a-fA-F]{{1,8}}"
    r"(?P<old_free>\.? FREE)?"
)
_CORRUPT = re.compile(r"CORRUPT HEAP: (.{1,160})")
_DOUBLE_FREE = re.compile(r"block already marked as free")
_ALLOC_FAILED = re.compile(
    r"failed to allocate (\d{1,10}) bytes with 0x[0-9a-fA-F]+ capabilities"
    r"|Mem alloc fail\. size (0x[0-9a-fA-F]{1,8}\b|\d{1,10})"
)
_DETAIL_LINES = 64
"""A detail line so far behind its region line, or a block so far behind the last, belongs to another."""


class Regions:
    """The two lines of a region put together, and the totals behind them."""

    def __init__(self) -> None:
        self._caps: str | None = None
        self._region: HeapSample | None = None

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of a summary."""
        text = line.text
        match = _SUMMARY.search(text)
        if match is not None:
            found = self.close()
            self._caps = match[1].lower().rjust(8, "0")
            return found
        match = _REGION.search(text)
        if match is not None:
            found = self.close()
            start, length, free, used, low = match.groups()
            self._region = HeapSample(
                heap=f"0x{start.lower()}",
                total_bytes=int(length),
                free_bytes=int(free),
                used_bytes=int(used),
                min_free_bytes=int(low),
                **place(line, "espidf"),
            )
            return found
        match = _DETAIL.search(text)
        if match is not None:
            return self._detail(line, *map(int, match.groups()))
        match = _TOTALS.search(text)
        return None if match is None else self._totals(line, *map(int, match.groups()))

    def _detail(self, line: Line, largest: int, used_blocks: int, free_blocks: int) -> list[AnyObservation]:
        region = self._region
        if region is None or line.number - region.line > _DETAIL_LINES or region.boot != line.boot:
            text = "the line that names the region of these block counts is lost; they are left out"
            return [*self.close(), problem(place(line, "espidf"), "torn_record", text)]
        self._region = None
        counts = {"largest_free_bytes": largest, "used_blocks": used_blocks, "free_blocks": free_blocks}
        return [msgspec.structs.replace(region, **counts)]

    def _totals(self, line: Line, free: int, used: int, low: int, largest: int) -> list[AnyObservation]:
        found = self.close()
        caps, self._caps = self._caps, None
        found.append(
            HeapSample(
                heap="totals" if caps is None else f"caps 0x{caps}",
                free_bytes=free,
                used_bytes=used,
                min_free_bytes=low,
                largest_free_bytes=largest,
                **place(line, "espidf"),
            )
        )
        return found

    def close(self) -> list[AnyObservation]:
        """The region whose second line did not come, if any."""
        region, self._region = self._region, None
        return [] if region is None else [region]


class BlockListing:
    """`heap_caps_dump_all`: every block of every heap, without callers or tasks.

    The sizes are the allocator's (rounded up, its header left out). Heaps printed one behind the other are one dump.
    """

    def __init__(self, limits: Limits, dumps: Iterator[int]) -> None:
        self._limits = limits
        self._dumps = dumps
        self._where: Place | None = None
        self._number = 0
        self._heaps: set[int] = set()
        self._last_line = 0
        self._blocks = 0

    def tick(self, line: Line) -> list[AnyObservation]:
        """A line has passed: a listing that was not continued for long enough is over."""
        where = self._where
        is_over = where is not None and (where["boot"] != line.boot or line.number - self._last_line > _DETAIL_LINES)
        return self.close() if is_over else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it is none of a listing."""
        match = _SHOWING.search(line.text)
        if match is not None:
            heap = int(match[1] or match[2], 16)
            found = self.close() if heap in self._heaps else []
            self._heaps.add(heap)
            self._open(line)
            return found
        match = _BLOCK.search(line.text)
        if match is None:
            return None
        self._open(line)
        if match["free"] or match["old_free"]:
            return []
        self._blocks += 1
        where = place(line, "espidf")
        if self._blocks > self._limits.records_per_dump:
            if self._blocks > self._limits.records_per_dump + 1:
                return []
            text = f"the dump has more than {self._limits.records_per_dump:,} records; the rest is left out"
            return [problem(where, "too_many", text)]
        address = int(match[1] or match[4], 16)
        size = whole(match["size"] or match["hex"])
        return [Block(dump=self._number, address=address, size_bytes=size, size_kind="block", **where)]

    def _open(self, line: Line) -> None:
        self._last_line = line.number
        if self._where is None:
            self._where = place(line, "espidf")
            self._number = next(self._dumps)

    def close(self) -> list[AnyObservation]:
        """End the listing that is open, if any; it does not say how many blocks it has."""
        where, self._where = self._where, None
        self._heaps.clear()
        is_cut = self._blocks > self._limits.records_per_dump
        self._blocks = 0
        return [] if where is None else [Dump(dump=self._number, complete=False if is_cut else None, **where)]


def complaint(line: Line) -> list[AnyObservation] | None:
    """What the heap itself reports: corruption, a double free, a failed allocation; None when it is none of these."""
    where = place(line, "espidf")
    match = _CORRUPT.search(line.text)
    if match is not None:
        return [problem(where, "corrupt", f"the heap reports corruption: {match[1].strip()}")]
    if _DOUBLE_FREE.search(line.text):
        return [problem(where, "double_free", "the allocator stopped: a block was freed that is free already")]
    match = _ALLOC_FAILED.search(line.text)
    if match is None:
        return None
    size = whole(match[1] or match[2])
    return [problem(where, "alloc_failed", f"an allocation of {size:,} bytes failed")]
