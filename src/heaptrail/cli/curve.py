"""A curve in characters: each cell of a terminal holds 2 x 4 dots (Unicode's Braille patterns, U+2800 to U+28FF)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot in its cell, by row and column."""
_EMPTY = 0x2800


def dotted_curve(points: Sequence[tuple[float, float]], columns: int, rows: int) -> list[str]:
    """The points as lines of text, the highest value at the top; of the points in one column of dots all are shown.

    Args:
        points: (x, y), x never falling.
        columns: Width in characters, at least 1.
        rows: Height in lines, at least 1.
    """
    cells = [[0] * columns for _ in range(rows)]
    if points:
        first, last = points[0][0], points[-1][0]
        low, high = min(y for _, y in points), max(y for _, y in points)
        width, height = 2 * columns - 1, 4 * rows - 1
        for x, y in points:
            column = round((x - first) / (last - first) * width) if last > first else 0
            row = round((high - y) / (high - low) * height) if high > low else height // 2
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
    return ["".join(chr(_EMPTY + cell) for cell in line) for line in cells]
