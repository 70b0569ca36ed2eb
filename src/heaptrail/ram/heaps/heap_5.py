"""FreeRTOS heap_5: heap_4 over several regions, given to vPortDefineHeapRegions as a table.

Each region ends with a marker of size 0 whose link leads to the next region's first block; `pxEnd` names the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps.heap_4 import Heap4
from heaptrail.ram.heaps.places import given_place, region_table

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.heaps import HeapPlace
    from heaptrail.ram.intervals import Interval
    from heaptrail.ram.memory import Memory

_TABLES = ("xHeapRegions", "xHeapRegion", "heapRegions", "heap_regions")
"""Names that the kernel's manual and vendors' start-up code give the table; another one is given with --heap."""


class Heap5(Heap4):
    """FreeRTOS heap_5, its regions from the table of the firmware or from the user."""

    name: ClassVar[str] = "heap_5"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """`xStart` and `pxEnd`, but no array."""
        return all(firmware.variable(name) is not None for name in ("xStart", "pxEnd"))

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """The regions of the table, which `heap` may name, or the user's ranges."""
        for name in (heap,) if heap is not None else _TABLES:
            assert name is not None
            found = region_table(firmware, memory, name) if "+" not in name else None
            if found is not None:
                return found
        if heap is not None:
            return given_place(firmware, heap)
        raise EvidenceError(
            f"{firmware.name} uses heap_5, and no table of its regions was found under its usual names",
            try_this="--heap with the name of the HeapRegion_t array, or with the regions as 0xSTART+0xSIZE,…",
        )

    def _arenas(self, memory: Memory, place: HeapPlace, last: int, align: int) -> list[Interval]:
        word = memory.word_bytes
        header = -(-2 * word // align) * align
        arenas = []
        for first, end in place.arenas:
            start = -(-first // align) * align
            if start <= last < end:
                arenas.append((start, last))
                continue
            # The kernel puts the marker at the end of the region, lowered to the alignment: the size that is left
            # after aligning the start is kept, so the end may be a few bytes lower than the table says.
            marker = (end - header) // align * align
            arenas.append((start, marker))
        return arenas
