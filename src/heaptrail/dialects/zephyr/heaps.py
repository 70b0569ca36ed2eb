"""Zephyr's heap figures: `kernel heap`, the sys_heap sample's line, and sys_heap_print_info with its chunk dump.

Source: subsys/shell/modules/kernel_service/heap.c, samples/basic/sys_heap, lib/heap/heap_info.c. The chunk dump counts
in units of 8 bytes (4 for small heaps of old trees) and names no owner. The totals behind it say how many bytes the
heap has, so they say what a unit is; without them the sizes stay unknown and the dump is left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.dumps import Dumps
from heaptrail.dialects.text import HEX, Place, place, problem
from heaptrail.model.observations import HeapSample

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation

_TITLE = re.compile(r"(?:^|[\s>])(\w[\w -]{0,23}?) heap statistics\s*:\s*$")
_FIGURE = re.compile(r"(?<!\. )\b(max\. allocated|allocated|free)\s*:\s+(\d{1,12})\b")
_ONE_LINE = re.compile(
    rf"(?:address {HEX} )?\ballocated (\d{{1,12}}), free (\d{{1,12}}), max allocated (\d{{1,12}}), "
    r"heap size (\d{1,12})\s*$"
)
_INFO = re.compile(rf"\bHeap at {HEX} contains (\d{{1,9}}) units in (\d{{1,3}}) buckets")
_BUCKET = re.compile(r"^(?:.*[\]>])?\s*\d{1,2}\s+\d{1,9}\s+\d{1,9}\s+\d{1,9}\s+(\d{1,12})\s*$")
_CHUNK = re.compile(r"\bchunk\s+(\d{1,9}): \[([*.-])\] size=(\d{1,9})\s+left=(\d{1,9})\s+right=(\d{1,9})\s*$")
_TOTALS = re.compile(r"\b(\d{1,12}) free bytes, (\d{1,12}) allocated bytes, overhead = (\d{1,12}) bytes\b")
_TABLE_LINES = 24
_INFO_LINES = 400
"""So many lines of other tasks may fall between two lines of a dump before it is given up."""


class HeapFigures:
    """Reads the three lines of `kernel heap`, or the same after a title that names the heap."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._where: Place | None = None
        self._figures: dict[str, int] = {}
        self._last_line = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 8 if self._where is not None or self._name is not None else 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A line of figures; None when it is none."""
        text = line.text
        if (match := _ONE_LINE.search(text)) is not None:
            return [self._sample_line(line, match)]
        if (match := _TITLE.search(text)) is not None:
            self.close()
            self._name = match[1]
            self._last_line = line.number
            return []
        if line.number - self._last_line > _TABLE_LINES:
            self.close()
        figures = _FIGURE.findall(text)
        if not figures or (self._where is None and figures[0][0] != "free"):
            return None
        found: list[AnyObservation] = []
        for label, digits in figures:
            found += self._figure(line, label, int(digits))
        return found

    def _sample_line(self, line: Line, match: re.Match[str]) -> HeapSample:
        used, free, highest, total = map(int, match.groups()[1:])
        return HeapSample(
            heap=None if match[1] is None else f"0x{match[1].lower()}",
            total_bytes=total,
            free_bytes=free,
            used_bytes=used,
            max_used_bytes=highest,
            **place(line, "zephyr"),
        )

    def _figure(self, line: Line, label: str, value: int) -> list[AnyObservation]:
        if label == "free":
            self._where = place(line, "zephyr")
            self._figures = {}
        if self._where is None:
            return []
        self._last_line = line.number
        self._figures[label] = value
        if label != "max. allocated":
            return []
        where, figures, name = self._where, self._figures, self._name
        self.close()
        if tuple(figures) != ("free", "allocated", "max. allocated") or figures["allocated"] > value:
            return [problem(where, "torn_record", "the heap statistics lack a line or contradict themselves")]
        return [
            HeapSample(
                heap=name,
                free_bytes=figures["free"],
                used_bytes=figures["allocated"],
                max_used_bytes=value,
                **where,
            )
        ]

    def close(self) -> None:
        """The figures are over."""
        self._name = None
        self._where = None
        self._figures = {}


class HeapInfo:
    """Reads sys_heap_print_info. The chunks in use are kept until the totals tell what a unit is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._dumps = Dumps("zephyr", limits)
        self._forget()

    def _forget(self) -> None:
        self._where: Place | None = None
        self._base = 0
        self._units = 0
        self._largest_bytes: int | None = None
        self._chunks: list[tuple[Place, int, int]] = []
        self._omitted = 0
        self._next: int | None = None
        self._dumped = False
        self._whole = True
        self._last_line = 0

    @property
    def wants(self) -> int:
        """Lines to be fed whatever they hold."""
        return 32 if self._where is not None else 0

    def read(self, line: Line) -> list[AnyObservation] | None:
        """A line of the dump; None when it is none."""
        text = line.text
        if (match := _INFO.search(text)) is not None:
            found = self.close()
            self._where = place(line, "zephyr")
            self._base, self._units = int(match[1], 16), int(match[2])
            self._last_line = line.number
            return found
        if self._where is None:
            return None
        if line.number - self._last_line > _INFO_LINES:
            return self.close()
        return self._body(line)

    def _body(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if (match := _CHUNK.search(text)) is not None:
            self._last_line = line.number
            return self._chunk(line, match)
        if (match := _TOTALS.search(text)) is not None:
            return self._totals(line, *map(int, match.groups()))
        if not self._dumped and (match := _BUCKET.match(text)) is not None:
            self._last_line = line.number
            self._largest_bytes = max(int(match[1]), self._largest_bytes or 0)
            return []
        return None

    def _chunk(self, line: Line, match: re.Match[str]) -> list[AnyObservation]:
        number, units, right = int(match[1]), int(match[3]), int(match[5])
        self._whole &= number == (self._next if self._dumped else 0)
        self._dumped = True
        self._next = right
        # Chunk 0 holds the heap's own tables and the last one marks the end; neither was asked for.
        if match[2] != "*" or number == 0 or number >= self._units:
            return []
        if len(self._chunks) < self._limits.records_per_dump:
            self._chunks.append((place(line, "zephyr"), number, units))
        else:
            self._omitted += 1
        return []

    def _totals(self, line: Line, free: int, allocated: int, overhead: int) -> list[AnyObservation]:
        where = self._where
        assert where is not None
        sample = HeapSample(
            heap=f"0x{self._base:08x}",
            free_bytes=free,
            used_bytes=allocated,
            largest_free_bytes=self._largest_bytes,
            **where,
        )
        unit = (free + allocated + overhead) // self._units if self._units else 0
        return [sample, *self._give_out(place(line, "zephyr"), unit if unit in (4, 8) else None)]

    def _give_out(self, where: Place, unit_bytes: int | None) -> list[AnyObservation]:
        begun, chunks, omitted = self._where, self._chunks, self._omitted
        whole = self._whole and not omitted and self._next in (self._units, 0)
        base, dumped = self._base, self._dumped
        self._forget()
        if not dumped or begun is None:
            return []
        if unit_bytes is None:
            text = "the chunk dump counts in units and its totals are missing, so its sizes are unknown; it is left out"
            return [problem(begun, "unknown_unit", text)]
        self._dumps.open(begun)
        found: list[AnyObservation] = []
        for place_of, number, units in chunks:
            found += self._dumps.add(
                place_of, address=base + number * unit_bytes, size_bytes=units * unit_bytes, size_kind="block"
            )
        if omitted:
            found.append(problem(where, "too_many", f"the dump has {omitted:,} more chunks; they are left out"))
        if not whole:
            found.append(problem(begun, "missing_records", "the chunk dump has gaps: lines are missing"))
        return found + self._dumps.close(complete=whole)

    def close(self) -> list[AnyObservation]:
        """The dump is over, without its totals."""
        return [] if self._where is None else self._give_out(self._where, None)
