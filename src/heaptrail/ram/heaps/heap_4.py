"""FreeRTOS heap_4: one array, first fit, neighbours joined. See `links` for the layout of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import Corruption, HeapPlace, HeapWalk
from heaptrail.ram.heaps.links import LinkedBlocks, LinkWalker, follow_free_list
from heaptrail.ram.heaps.places import BUILD_ADVICE, alignments, array_place, given_place, pointer_at
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.intervals import Interval
    from heaptrail.ram.memory import Memory

_ARRAY = "ucHeap"


class Heap4:
    """FreeRTOS heap_4, with configENABLE_HEAP_PROTECTOR or without."""

    name: ClassVar[str] = "heap_4"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """`xStart`, `pxEnd` and the array."""
        return all(firmware.variable(name) is not None for name in ("xStart", "pxEnd", _ARRAY))

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """The array `ucHeap`, or what the user gave."""
        del memory
        return array_place(firmware, _ARRAY) if heap is None else given_place(firmware, heap)

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """All arenas, up to the end marker that `pxEnd` names; heap_5's regions are chained by theirs."""
        end_symbol, head = firmware.variable("pxEnd"), firmware.variable("xStart")
        if end_symbol is None or head is None:
            raise EvidenceError(f"{firmware.name} has no pxEnd and xStart, as {self.name} has", try_this=BUILD_ADVICE)
        last = pointer_at(firmware, memory, end_symbol)
        if last == 0:  # nothing was ever allocated
            return HeapWalk(layout=self.name, place=place, live=(), free=place.arenas)
        if not any(first <= last < end for first, end in place.arenas):
            shown = ", ".join(f"{format_address(first)} to {format_address(end)}" for first, end in place.arenas)
            raise EvidenceError(
                f"pxEnd at {format_address(end_symbol.address)} holds {format_address(last)}, which is not in "
                f"{place.name} ({shown}): the ELF and the image do not belong together",
                try_this=BUILD_ADVICE,
            )
        canary = _counter(firmware, memory, "xHeapCanary") or 0
        listed, broken = follow_free_list(memory, head.address, canary=canary, last=last, arenas=place.arenas)
        found, header = self._blocks(firmware, memory, place, last=last, canary=canary, listed=frozenset(listed))
        free_total = _counter(firmware, memory, "xFreeBytesRemaining")
        corrupt = [*broken, *(item for blocks in found for item in blocks.corrupt)]
        corrupt += _over_total(free_total, place)
        live = tuple(block for blocks in found for block in blocks.live)
        free = tuple(block for blocks in found for block in blocks.free)
        return HeapWalk(
            layout=self.name,
            place=place,
            live=live,
            free=free,
            corrupt=tuple(sorted(corrupt, key=lambda item: item.address)),
            untrusted=tuple(interval for blocks in found for interval in blocks.untrusted),
            total_bytes=sum(block.size_bytes for block in live) + sum(end - first for first, end in free),
            header_bytes=header,
            min_free_bytes=_counter(firmware, memory, "xMinimumEverFreeBytesRemaining"),
            allocations=_counter(firmware, memory, "xNumberOfSuccessfulAllocations"),
            frees=_counter(firmware, memory, "xNumberOfSuccessfulFrees"),
        )

    def _blocks(
        self, firmware: Firmware, memory: Memory, place: HeapPlace, *, last: int, canary: int, listed: frozenset[int]
    ) -> tuple[list[LinkedBlocks], int]:
        """The blocks of all arenas by the alignment whose walk is the soundest, and that walk's header size."""
        best: tuple[int, list[LinkedBlocks], int] | None = None
        for align in alignments(firmware):
            header = -(-2 * memory.word_bytes // align) * align
            walker = LinkWalker(memory, header_bytes=header, canary=canary, flagged=True, free_blocks=listed)
            found = [walker.walk(first, end) for first, end in self._arenas(memory, place, last, align)]
            lost = sum(end - first for blocks in found for first, end in blocks.untrusted)
            if not lost and _fits(found, header, align):
                return found, header
            if best is None or lost < best[0]:
                best = (lost, found, header)
        assert best is not None, "there is at least one alignment"
        return best[1], best[2]

    def _arenas(self, memory: Memory, place: HeapPlace, last: int, align: int) -> list[Interval]:
        """`(first header, end marker)` of each arena."""
        del memory
        ((first, _),) = place.arenas[:1]
        return [(-(-first // align) * align, last)]


def _fits(found: list[LinkedBlocks], header: int, align: int) -> bool:
    """Whether every block keeps the alignment; with the true one all do, with a coarser one soon one does not."""
    sizes = [block.size_bytes for blocks in found for block in blocks.live]
    sizes += [end - first for blocks in found for first, end in blocks.free]
    return all(size % align == 0 for size in sizes[:-1]) and header % align == 0


def _counter(firmware: Firmware, memory: Memory, name: str) -> int | None:
    symbol = firmware.variable(name)
    return None if symbol is None else memory.word(symbol.address)


def _over_total(free_total: int | None, place: HeapPlace) -> list[Corruption]:
    size = sum(end - first for first, end in place.arenas)
    if free_total is None or free_total <= size:
        return []
    text = f"xFreeBytesRemaining is {free_total:,}, more than the heap's {size:,} bytes"
    return [Corruption(place.arenas[0][0], text)]
