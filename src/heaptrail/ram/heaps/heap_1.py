"""FreeRTOS heap_1: one array handed out from its beginning, nothing ever given back.

It keeps no headers, so that blocks cannot be told apart and none can be called lost: what can be said is how much is
handed out (`xNextFreeByte`), and from several images whether that still grows. Memory that grows after start-up is
lost by design there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import HeapPlace, HeapWalk
from heaptrail.ram.heaps.places import BUILD_ADVICE, array_place, given_place, pointer_at
from heaptrail.units import format_bytes

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory

_ARRAY = "ucHeap"
_NEXT = "xNextFreeByte"


class Heap1:
    """FreeRTOS heap_1: how much is handed out, not to whom."""

    name: ClassVar[str] = "heap_1"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """The array and the count of bytes handed out."""
        return all(firmware.variable(name) is not None for name in (_ARRAY, _NEXT))

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """The array `ucHeap`, or what the user gave."""
        del memory
        return array_place(firmware, _ARRAY) if heap is None else given_place(firmware, heap)

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """The used part, which may hold anything, and the free one."""
        symbol = firmware.variable(_NEXT)
        if symbol is None:
            raise EvidenceError(f"{firmware.name} has no {_NEXT}, as heap_1 has", try_this=BUILD_ADVICE)
        first, end = place.arenas[0]
        used = pointer_at(firmware, memory, symbol)
        if used > end - first:
            raise EvidenceError(
                f"{_NEXT} is {used:,}, more than the {end - first:,} bytes of {place.name}: the ELF and the image do "
                f"not belong together",
                try_this=BUILD_ADVICE,
            )
        border = first + used
        note = (
            f"heap_1 keeps no record of its blocks: {format_bytes(used)} of {format_bytes(end - first)} are handed "
            f"out, nothing is ever given back, and no block can be told from its neighbours"
        )
        return HeapWalk(
            layout=self.name,
            place=place,
            live=(),
            free=((border, end),) if border < end else (),
            untrusted=((first, border),) if used else (),
            total_bytes=end - first,
            blocks_known=False,
            notes=(note,),
        )
