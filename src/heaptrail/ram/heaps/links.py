"""Walking blocks that begin with a link and a size: FreeRTOS heap_2, heap_4 and heap_5.

The layout as portable/MemMang of the FreeRTOS kernel documents it: before each block a `BlockLink_t` of two words, the
next free block and the block's size with this header in it. The top bit of the size is set while a block is allocated
(heap_4 and heap_5 of all versions, heap_2 since V10.5), and its link is then null. With configENABLE_HEAP_PROTECTOR
links are kept XOR-ed with a canary.

Blocks are followed by their sizes. The free list is checked on its own and not needed: the kernel marks a block free
before it suspends the scheduler, so a stopped target may hold a block that is neither allocated nor on the list.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from heaptrail.ram.heaps import Corruption, LiveBlock
from heaptrail.ram.intervals import Interval
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.memory import Memory

MAX_CORRUPT = 64
"""Corruptions reported one by one; a heap with more is rubble, and the rest of it is left unwalked."""


class LinkedBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk over one arena found; see `HeapWalk` for the fields."""

    live: tuple[LiveBlock, ...]
    free: tuple[Interval, ...]
    corrupt: tuple[Corruption, ...]
    untrusted: tuple[Interval, ...]


def all_blocks(found: Sequence[LinkedBlocks]) -> LinkedBlocks:
    """The walks over several arenas as one, in their order."""
    return LinkedBlocks(
        live=tuple(block for one in found for block in one.live),
        free=tuple(interval for one in found for interval in one.free),
        corrupt=tuple(item for one in found for item in one.corrupt),
        untrusted=tuple(interval for one in found for interval in one.untrusted),
    )


class LinkWalker:
    """Walks arenas of one heap.

    Args:
        memory: The image.
        header_bytes: The header's size, rounded up to the alignment.
        canary: What links are XOR-ed with, 0 without the protector.
        flagged: Whether the top bit of the size says that a block is allocated; else `free_blocks` alone says.
        free_blocks: Blocks on the free list, by address.
    """

    def __init__(
        self, memory: Memory, *, header_bytes: int, canary: int, flagged: bool, free_blocks: frozenset[int]
    ) -> None:
        self._memory = memory
        self._word = memory.word_bytes
        self._header = header_bytes
        self._canary = canary
        self._flagged = flagged
        self._free_blocks = free_blocks
        self._free_sorted = sorted(free_blocks)
        self._bit = 1 << (8 * self._word - 1)
        self._link = struct.Struct(memory.order + ("QQ" if self._word == 8 else "II"))

    def walk(self, first: int, end: int) -> LinkedBlocks:
        """Every block from `first` on; the last one ends at `end`."""
        live: list[LiveBlock] = []
        free: list[Interval] = []
        corrupt: list[Corruption] = []
        untrusted: list[Interval] = []
        at = first
        for part in self._memory.parts(first, end):
            if part.address > at:
                corrupt.append(self._missing(at, part.address))
                untrusted.append((at, part.address))
                at = self._resume(at, part.address) or part.address
            while at + self._header <= part.end and at < end and len(corrupt) < MAX_CORRUPT:
                link, raw = self._link.unpack_from(part.data, at - part.address)
                size, allocated = raw & ~self._bit if self._flagged else raw, self._allocated(at, raw)
                wrong = self._wrong(at, link, size, end, allocated=allocated)
                if wrong is not None:
                    corrupt.append(Corruption(at, wrong))
                    onward = self._resume(at, end) or end
                    untrusted.append((at, onward))
                    at = onward
                    continue
                if allocated:
                    live.append(LiveBlock(at + self._header, at + size, size))
                else:
                    free.append((at, at + size))
                at += size
        if at < end:
            corrupt.append(self._missing(at, end) if len(corrupt) < MAX_CORRUPT else rubble(at))
            untrusted.append((at, end))
        return LinkedBlocks(live=tuple(live), free=tuple(free), corrupt=tuple(corrupt), untrusted=tuple(untrusted))

    def _allocated(self, at: int, raw_size: int) -> bool:
        return bool(raw_size & self._bit) if self._flagged else at not in self._free_blocks

    def _wrong(self, at: int, link: int, size: int, end: int, *, allocated: bool) -> str | None:
        """What is wrong with a header, None for a sound one."""
        where = f"the block header at {format_address(at)}"
        if size < self._header:
            return f"{where} has the size {size:,}, at least {self._header} bytes were expected"
        if size % self._word:
            return f"{where} has the size {size:,}, a multiple of {self._word} was expected"
        if at + size > end:
            return (
                f"{where} has the size {size:,}, which ends at {format_address(at + size)}; the heap ends at "
                f"{format_address(end)}"
            )
        plain = link ^ self._canary
        # Stopped within malloc, a block may be marked while its link still leads to the next free one.
        if allocated and self._flagged and plain not in (0, end) and plain not in self._free_blocks:
            return (
                f"{where} is marked allocated and links to {format_address(plain)}; an allocated block's link is null"
                + (" (XOR-ed with the heap's canary)" if self._canary else "")
            )
        return None

    def _resume(self, at: int, end: int) -> int | None:
        """The next place behind `at` that the free list says is a header, None without one."""
        return next((block for block in self._free_sorted if at < block < end), None)

    def _missing(self, first: int, end: int) -> Corruption:
        text = f"the image does not hold the heap from {format_address(first)} to {format_address(end)}"
        return Corruption(first, text)


def rubble(at: int) -> Corruption:
    """What is said of the rest of a heap that is too corrupt to be walked."""
    return Corruption(at, f"the heap from {format_address(at)} on was left unwalked: too much of it is corrupt")


def follow_free_list(
    memory: Memory, head: int, *, canary: int, last: int, arenas: tuple[Interval, ...]
) -> tuple[list[int], list[Corruption]]:
    """The blocks on a free list, in list order, and what is wrong with it.

    Args:
        memory: The image.
        head: Address of the list's head, a link of its own.
        canary: As for `LinkWalker`.
        last: The end marker's address.
        arenas: Where blocks may be.
    """
    blocks: list[int] = []
    seen: set[int] = set()
    at = head
    while True:
        raw = memory.word(at)
        if raw is None:
            return blocks, [Corruption(at, f"the free list leads to {format_address(at)}, which is not in the image")]
        following = raw ^ canary
        if following in (last, 0):
            return blocks, []
        if following in seen:
            text = f"the free list comes back to {format_address(following)} from {format_address(at)}: a cycle"
            return blocks, [Corruption(at, text)]
        if not any(first <= following < end for first, end in arenas) or following % memory.word_bytes:
            text = (
                f"the free list's link at {format_address(at)} leads to {format_address(following)}, an address of a "
                f"block in the heap was expected"
            )
            return blocks, [Corruption(at, text)]
        seen.add(following)
        blocks.append(following)
        at = following
