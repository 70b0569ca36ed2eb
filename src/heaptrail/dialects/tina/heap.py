"""The heap totals of Tina RTOS: `free`, `top`, and the three lines of a crash dump.

Source: the firmware's own format strings (`==> Round [%d] <==`, `Total Heap Size : %8ld Bytes    (%5ld KB)` and so on);
with several heaps each table is headed `sram Heap:` and begins with `Total Size`. Copying squeezes the blanks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects.text import Place, place, problem
from heaptrail.model.observations import HeapSample

if TYPE_CHECKING:
    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation, TracerState

_FIGURE = re.compile(
    r"(Total\s*(?:Heap\s*)?Size|Min\s*Free|Free)\s*:\s*(\d{1,18})\s*Bytes\b"
    r"(?:\s*\(\s*(\d{1,18})\s*KB\s*\)|\s*\(\s*([\d.]+)\s*%)?"
)
_HEAP_NAME = re.compile(r"(?:^|\s)(?!Total\b)([A-Za-z]\w{0,15})\s+Heap\s*:\s*$")
_FEWEST_FIGURES = 2
"""`Free: 20480 Bytes` alone, without its KB column, is said of cards and flash as well."""
_TABLE_LINES = 16
"""A table is three lines; so many lines of other tasks may fall in between before it is given up."""


class HeapTables:
    """Puts the lines of a table together. A figure whose KB column contradicts it is torn and left out."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._where: Place | None = None
        self._last_line = 0
        self._by_percent = False
        self._figures: dict[str, int] = {}
        self._surely = False
        self._tracer: TracerState | None = None

    @property
    def waits(self) -> bool:
        """Whether a table is open, or announced by its heap's name."""
        return self._where is not None or self._name is not None

    def heading(self, line: Line) -> list[AnyObservation] | None:
        """`==> Round [1] <==` or `sram Heap:`; None when the line is neither."""
        if "Round [" in line.text:
            found = self.close()
            self._name = None
            return found
        match = _HEAP_NAME.search(line.text) if "Heap" in line.text else None
        if match is None:
            return None
        found = self.close()
        self._name = match[1]
        self._last_line = line.number
        return found

    def figure(self, line: Line, tracer: TracerState | None) -> list[AnyObservation] | None:
        """One of the three lines; None when the line is none of them."""
        match = _FIGURE.search(line.text) if "Bytes" in line.text else None
        if match is None:
            return None
        label, digits, kib, percent = match.groups()
        which = "total" if label.startswith("Total") else "min" if label.startswith("Min") else "free"
        found: list[AnyObservation] = []
        if which == "total" or which in self._figures or line.number - self._last_line > _TABLE_LINES:
            found += self.close(keep_name="Heap" not in label)
        if self._where is None:
            self._where = place(line, "tina")
            self._tracer = tracer
            self._by_percent = percent is not None
            self._surely = False
        self._surely |= kib is not None or percent is not None or "Heap" in label
        self._last_line = line.number
        value = int(digits)
        if kib is not None and abs((value >> 10) - int(kib)) > 1:  # the firmware prints bytes >> 10
            self._figures[which] = -1
            text = (
                f"the heap table says {digits} Bytes and {kib} KB for {label}: digits were lost, the figure is left out"
            )
            found.append(problem(place(line, "tina"), "torn_record", text))
        else:
            self._figures[which] = value
        if which == "min":
            found += self.close()
        return found

    def close(self, *, keep_name: bool = False) -> list[AnyObservation]:
        """The table that is open, if any."""
        where, name, figures = self._where, self._name, self._figures
        self._where, self._figures = None, {}
        if not keep_name:
            self._name = None
        if where is None:
            return []
        if keep_name:  # a table without a heading of its own follows the one that is closed here
            self._name = None
        if len(figures) < _FEWEST_FIGURES and not self._surely:
            return []
        found: list[AnyObservation] = []
        expected = ("total", "free") if self._by_percent else ("total", "free", "min")
        missing = [_WORDS[which] for which in expected if which not in figures]
        if missing:
            text = f"the heap table at line {where['line']} lacks its line {' and '.join(missing)}"
            found.append(problem(where, "torn_record", text))
        total, free, low = (_known(figures.get(which)) for which in ("total", "free", "min"))
        if free is not None and ((total is not None and free > total) or (low is not None and low > free)):
            text = (
                f"the heap table at line {where['line']} contradicts itself: total {total}, free {free}, min free {low}"
            )
            found.append(problem(where, "torn_record", f"{text}; it is left out"))
        elif free is not None or low is not None:
            found.append(
                HeapSample(
                    heap=name, total_bytes=total, free_bytes=free, min_free_bytes=low, tracer=self._tracer, **where
                )
            )
        return found


_WORDS = {"total": "`Total Size`", "free": "`Free`", "min": "`Min Free`"}


def _known(value: int | None) -> int | None:
    return None if value is None or value < 0 else value
