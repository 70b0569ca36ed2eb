"""Heap figures printed one a line, as firmware prints an allocator's statistics: near another, they are one sample."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.dialects.literal import literal_of
from heaptrail.dialects.text import Place, place
from heaptrail.model.observations import HeapSample
from heaptrail.units import whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heaptrail.dialects import Line
    from heaptrail.model.observations import AnyObservation

    _Search = tuple[str, str, re.Pattern[str]]

_LINES = 16
"""So many lines of other tasks may fall between two figures of one sample."""


class Layout(NamedTuple):
    """Which lines belong together.

    Args:
        figures: Field of `HeapSample` to the pattern of its line; group 1 is the number, decimal or `0x…`.
        least: With fewer figures than this the words are a coincidence, and nothing is said.
        any_of: Without one of these the rest says nothing about the heap's size.
        last: The field that ends a sample, where one does.
        heap: The sample's heap.
    """

    figures: Mapping[str, re.Pattern[str]]
    least: int = 1
    any_of: frozenset[str] = frozenset()
    last: str | None = None
    heap: str | None = None


class Figures:
    """Collects figures. One that comes again, or one of another layout, begins a new sample.

    Args:
        dialect: Its name.
        layouts: The first whose figure is on a line takes it.

    Attributes:
        due: The line at which a sample is given out if no figure comes before, None while none is open.
    """

    def __init__(self, dialect: str, *layouts: Layout) -> None:
        self._dialect = dialect
        self._layouts = [(layout, _searches(layout)) for layout in layouts]
        self._layout = layouts[0]
        self._where: Place | None = None
        self._found: dict[str, int] = {}
        self.due: int | None = None

    def tick(self, line: Line) -> list[AnyObservation]:
        """This line was reached: what was not continued for long enough is over."""
        if self._where is None or self.due is None:
            return []
        return self.close() if line.number >= self.due or self._where["boot"] != line.boot else []

    def read(self, line: Line) -> list[AnyObservation] | None:
        """What this line completes; None when it holds no figure."""
        read = ((layout, _figures(searches, line.text)) for layout, searches in self._layouts)
        layout, figures = next((each for each in read if each[1]), (self._layout, {}))
        if not figures:
            return None
        repeats = layout is not self._layout or not self._found.keys().isdisjoint(figures)
        found = self.close() if repeats else []
        self._layout = layout
        if self._where is None:
            self._where = place(line, self._dialect)
        self._found.update(figures)
        self.due = line.number + _LINES
        return found + (self.close() if layout.last in figures else [])

    def close(self) -> list[AnyObservation]:
        """The sample that is open, if any."""
        where, figures = self._where, self._found
        self._where, self._found, self.due = None, {}, None
        if where is None or len(figures) < self._layout.least:
            return []
        if self._layout.any_of and self._layout.any_of.isdisjoint(figures):
            return []
        return [
            HeapSample(
                heap=self._layout.heap,
                total_bytes=figures.get("total_bytes"),
                free_bytes=figures.get("free_bytes"),
                used_bytes=figures.get("used_bytes"),
                min_free_bytes=figures.get("min_free_bytes"),
                max_used_bytes=figures.get("max_used_bytes"),
                largest_free_bytes=figures.get("largest_free_bytes"),
                free_blocks=figures.get("free_blocks"),
                used_blocks=figures.get("used_blocks"),
                allocations=figures.get("allocations"),
                frees=figures.get("frees"),
                **where,
            )
        ]


def _searches(layout: Layout) -> list[_Search]:
    """Each field's pattern with a literal of it, which is looked for first: that takes a tenth of the time."""
    literals = {
        field: "" if pattern.flags & re.IGNORECASE else literal_of(pattern.pattern) or ""
        for field, pattern in layout.figures.items()
    }
    return [(field, literals[field], pattern) for field, pattern in layout.figures.items()]


def _figures(searches: list[_Search], text: str) -> dict[str, int]:
    figures = {}
    for field, literal, pattern in searches:
        match = pattern.search(text) if literal in text else None
        if match is not None:
            figures[field] = whole(match[1])
    return figures
