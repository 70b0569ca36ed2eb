"""How allocators lay out their blocks: one file per layout. A walk never raises for what an image holds.

What cannot be trusted is a `Corruption` with its address and what was expected there; the walk goes on where it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from heaptrail.ram.intervals import Interval

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory


class HeapPlace(msgspec.Struct, frozen=True):
    """Where a heap is: `name` for people (its symbol), `arenas` the memory that it hands out, in address order."""

    name: str
    arenas: tuple[tuple[int, int], ...]


class LiveBlock(msgspec.Struct, frozen=True):
    """An allocated block.

    Args:
        address: What malloc returned.
        end: Behind its last byte.
        size_bytes: What the allocator set aside, header included; the payload is at most `end - address`.
        shared_bytes: Of the payload's end, what lies in the header of the next block. The allocator's own links lead
            there, so a pointer into it does not hold this block.
        owner: The kernel's number, or the control block's address, of the task that allocated it, where the allocator
            keeps it; None elsewhere.
        frames: Return addresses, innermost first, where the allocator keeps a backtrace.
    """

    address: int
    end: int
    size_bytes: int
    shared_bytes: int = 0
    owner: int | None = None
    frames: tuple[int, ...] = ()


class Corruption(msgspec.Struct, frozen=True):
    """Something in the heap that cannot be: where, and a sentence that says what was found and what was expected."""

    address: int
    text: str


class HeapWalk(msgspec.Struct, frozen=True, kw_only=True):
    """A heap as it stood.

    Args:
        layout: The layout's name.
        place: Where it is.
        live: Allocated blocks by address.
        free: `(first, end)` of free blocks, headers included, by address.
        corrupt: What could not be trusted, by address.
        untrusted: Memory of the heap that was not walked; it is scanned for pointers, as any block may be in it.
        total_bytes: Of all blocks, live and free.
        min_free_bytes: The allocator's own low-water mark, None where it keeps none.
        allocations, frees: The allocator's own counters, None where it keeps none.
        header_bytes: In front of each payload, rounded as the allocator rounds it.
        blocks_known: Whether allocated memory can be told apart block by block; heap_1 cannot.
        notes: Sentences that a reader of the report must know about this heap.
    """

    layout: str
    place: HeapPlace
    live: tuple[LiveBlock, ...]
    free: tuple[Interval, ...]
    corrupt: tuple[Corruption, ...] = ()
    untrusted: tuple[Interval, ...] = ()
    total_bytes: int = 0
    min_free_bytes: int | None = None
    allocations: int | None = None
    frees: int | None = None
    header_bytes: int = 0
    blocks_known: bool = True
    notes: tuple[str, ...] = ()

    @property
    def free_bytes(self) -> int:
        """What the free blocks hold together."""
        return sum(end - first for first, end in self.free)

    @property
    def largest_free_bytes(self) -> int:
        """The largest free block, 0 where none is free."""
        return max((end - first for first, end in self.free), default=0)


class HeapLayout(Protocol):
    """One allocator's layout."""

    name: ClassVar[str]

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """Whether the ELF's symbols are those of this allocator."""
        ...

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """Where the heap is.

        Args:
            firmware: The ELF.
            memory: The image.
            heap: The user's `--heap`: a symbol, or `0xSTART+0xSIZE`, several joined by commas; None to find it.

        Raises:
            EvidenceError: It cannot be found, or ELF and image contradict each other.
        """
        ...

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """Every block from the first to the last.

        Raises:
            EvidenceError: ELF and image contradict each other.
        """
        ...
