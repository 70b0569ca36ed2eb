"""Blocks by size and by how they begin, counted from image to image: growth is told apart within one size."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from heaptrail.ram.intervals import holds
from heaptrail.ram.memory import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.survey import Survey

_HEAD_BYTES = 16
_CLASSES_SHOWN = 3
_LEAST_GROWTH = 0.25
"""Blocks per cycle below which a class is not said to grow."""

ContentCounts = Counter[tuple[int, str]]
"""Live blocks by block size and content class."""


def content_counts(found: Survey, firmware: Firmware) -> ContentCounts:
    """How many blocks of each size begin how. Only the first 16 bytes of each are looked at."""
    counts: ContentCounts = Counter()
    memory, word = found.image.memory, firmware.word_bytes
    windows = [Window(memory, first, end) for first, end in found.heap.place.arenas]
    low = found.heap.live[0].address if found.heap.live else 0
    high = found.heap.live[-1].end if found.heap.live else 0
    for block in found.heap.live:
        window = next((w for w in windows if w.first <= block.address < w.end), None)
        data = window.bytes(block.address, min(_HEAD_BYTES, block.end - block.address)) if window is not None else b""
        first = int.from_bytes(data[:word], "little" if firmware.order == "<" else "big")
        counts[block.size_bytes, _class(data, first, firmware, heap=low <= first < high)] += 1
    return counts


def _class(data: bytes, first: int, firmware: Firmware, *, heap: bool) -> str:
    if not any(data):
        return "zeros"
    if heap:
        return "a pointer into the heap"
    if first and holds(firmware.readable_only, first):
        variable = firmware.variable_at(first)
        return f"a pointer to {variable.name}" if variable is not None else "a pointer to a constant"
    if first and holds(firmware.writable, first):
        return "a pointer to a variable"
    if len(data) >= 8 and all(0x20 <= byte < 0x7F for byte in data[:8]):
        return "text"
    return "other data"


def growth_by_content(counts: Sequence[ContentCounts], cycles: Sequence[int] | None) -> dict[int, str]:
    """For each block size that grows, a sentence on which of its contents do; for fewer than three images none."""
    if len(counts) < 3:
        return {}
    at = np.array(cycles if cycles is not None else range(len(counts)), dtype=float)
    if at[-1] == at[0]:
        return {}
    unit = "per cycle" if cycles is not None else "per image"
    slopes: dict[int, list[tuple[float, str]]] = {}
    for size, kind in {key for one in counts for key in one}:
        values = np.array([one[size, kind] for one in counts], dtype=float)
        slope = float(np.polyfit(at, values, 1)[0])
        if slope >= _LEAST_GROWTH:
            slopes.setdefault(size, []).append((slope, kind))
    return {
        size: "By content: "
        + ", ".join(f"{slope:+.3g} {unit} of 0x{size:x} that begin with {kind}" for slope, kind in found)
        + "."
        for size, grown in slopes.items()
        if (found := sorted(grown, reverse=True)[:_CLASSES_SHOWN])
    }
