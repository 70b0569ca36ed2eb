"""FreeRTOS heap_2: one array, best fit, neighbours never joined. See `links` for the layout of a block.

The free list is ordered by size and ends at the variable `xEnd`. Before V10.5 nothing in a block says that it is
allocated: it is allocated where it is not on the list. There, too, the first block began an alignment further on where
the array happened to be aligned, so both beginnings are tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import HeapPlace, HeapWalk
from heaptrail.ram.heaps.links import LinkWalker, follow_free_list
from heaptrail.ram.heaps.places import BUILD_ADVICE, alignments, array_place, given_place, pointer_at
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory

_ARRAY = "ucHeap"


class Heap2:
    """FreeRTOS heap_2, with an allocated bit (V10.5) or without."""

    name: ClassVar[str] = "heap_2"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """`xStart`, `xEnd` and the array."""
        return all(firmware.variable(name) is not None for name in ("xStart", "xEnd", _ARRAY))

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """The array `ucHeap`, or what the user gave."""
        del memory
        return array_place(firmware, _ARRAY) if heap is None else given_place(firmware, heap)

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """The array from its first aligned byte on, as far as its aligned size goes."""
        head, tail = firmware.variable("xStart"), firmware.variable("xEnd")
        if head is None or tail is None:
            raise EvidenceError(f"{firmware.name} has no xStart and xEnd, as heap_2 has", try_this=BUILD_ADVICE)
        word = memory.word_bytes
        first = pointer_at(firmware, memory, head)
        if first == 0:  # nothing was ever allocated
            return HeapWalk(layout=self.name, place=place, live=(), free=place.arenas)
        start, end = place.arenas[0]
        if first != tail.address and not start <= first < end:
            raise EvidenceError(
                f"xStart at {format_address(head.address)} leads to {format_address(first)}, which is not in "
                f"{place.name} ({format_address(start)} to {format_address(end)}): the ELF and the image do not belong "
                f"together",
                try_this=BUILD_ADVICE,
            )
        size = memory.word(tail.address + word)  # xEnd's size is that of the whole heap
        listed, broken = follow_free_list(memory, head.address, canary=0, last=tail.address, arenas=place.arenas)
        best = None
        starts = [(align, at) for align in alignments(firmware) for at in _beginnings(start, align)]
        for align, aligned in starts:
            stop = min(aligned + size, end) if size is not None and 0 < size <= end - start else end
            header = -(-2 * word // align) * align
            flagged = self._flagged(memory, aligned, frozenset(listed))
            walker = LinkWalker(memory, header_bytes=header, canary=0, flagged=flagged, free_blocks=frozenset(listed))
            found = walker.walk(aligned, stop)
            lost = sum(last - begin for begin, last in found.untrusted)
            if best is None or lost < best[0]:
                best = (lost, found, header)
            if not lost:
                break
        assert best is not None, "there is at least one alignment"
        _, blocks, header = best
        return HeapWalk(
            layout=self.name,
            place=place,
            live=blocks.live,
            free=blocks.free,
            corrupt=tuple(sorted((*broken, *blocks.corrupt), key=lambda item: item.address)),
            untrusted=blocks.untrusted,
            total_bytes=sum(b.size_bytes for b in blocks.live) + sum(last - begin for begin, last in blocks.free),
            header_bytes=header,
        )

    @staticmethod
    def _flagged(memory: Memory, first: int, listed: frozenset[int]) -> bool:
        """Whether the first block that is not on the free list carries the allocated bit."""
        word = memory.word_bytes
        bit = 1 << (8 * word - 1)
        at = first
        while (size := memory.word(at + word)) is not None:
            if size & bit:
                return True
            if at not in listed or size < 2 * word:
                return False
            at += size
        return False


def _beginnings(start: int, align: int) -> tuple[int, ...]:
    """Where the kernel may have put the first block: at the first aligned byte, or (before V10.5) behind it."""
    return tuple(dict.fromkeys((-(-start // align) * align, (start + align) // align * align)))
