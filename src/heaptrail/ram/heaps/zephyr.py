"""Zephyr's sys_heap, which k_malloc, k_heap and the C library's malloc share.

A heap is an array of units of 8 bytes; a chunk is known by its first unit, and begins with two fields: the size of its
left neighbour, and its own size with a bit that says whether it is used, both in units (in the first releases, up to
2.4, the other way round). Fields are 32 bits in a big heap, 16 bits in a small one (less than 32,768 units on a 32-bit
CPU), as lib/heap/heap.h documents. Chunk 0 is the heap's own structure, whose third 32-bit word is the last chunk's
number; a chunk of size 0 with the used bit ends the heap.

Heaps are found through the list of `k_heap`s that the linker gathers, the C library's `z_malloc_heap`, or the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from heaptrail.errors import EvidenceError, UsageError
from heaptrail.ram.heaps import Corruption, HeapPlace, HeapWalk, LiveBlock
from heaptrail.ram.heaps.chunks import Chunk, walk_chunks
from heaptrail.ram.heaps.links import all_blocks
from heaptrail.ram.heaps.places import BUILD_ADVICE, given_place
from heaptrail.ram.memory import Window
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import DataSymbol, Firmware
    from heaptrail.ram.heaps.links import LinkedBlocks
    from heaptrail.ram.memory import Memory

_UNIT = 8
_LAST_AT = 8
_SMALL_UNITS = 0x7FFF
_NAMES = ("_system_heap", "z_malloc_heap")
_LIST = ("_k_heap_list_start", "_k_heap_list_end")
_ALLOC = "sys_heap_alloc"


class _ZephyrChunks:
    """The chunks of one heap. Layout by what chunk 0 says of itself: used, of some size, without a left neighbour."""

    def __init__(self, window: Window, last: int) -> None:
        self._window, self._heap, self._last = window, window.first, last
        first_half, second_half = window.number(window.first, 2), window.number(window.first + 2, 2)
        new_small = first_half == 0 and bool((second_half or 0) & 1)
        new_big = window.number(window.first, 4) == 0 and bool((window.number(window.first + 4, 4) or 0) & 1)
        old = not new_small and not new_big
        small = new_small or (old and window.word_bytes == 4 and last <= _SMALL_UNITS)
        self.field = 2 if small else 4
        self._left_at, self._size_at = (self.field, 0) if old else (0, self.field)
        self.sound = not old or bool((window.number(window.first, self.field) or 0) & 1)

    def start(self) -> int:
        """The first chunk behind the heap's own."""
        return self._heap + _UNIT * ((self._window.number(self._heap + self._size_at, self.field) or 0) >> 1)

    def _left(self, at: int) -> int | None:
        return self._window.number(at + self._left_at, self.field)

    def chunk(self, at: int) -> Chunk | str | None:
        """The chunk at `at`, if it and its right neighbour agree on its size."""
        raw = self._window.number(at + self._size_at, self.field)
        where = f"the chunk at {format_address(at)}"
        if raw is None:
            return f"the image does not hold the heap from {format_address(at)} on"
        size, end = (raw >> 1) * _UNIT, self._heap + self._last * _UNIT
        if size == 0:
            return f"{where} has the size 0, which only the last one at {format_address(end)} has"
        if at + size > end:
            return (
                f"{where} has {size:,} bytes, which end at {format_address(at + size)}; the heap ends at "
                f"{format_address(end)}"
            )
        left = self._left(at + size)
        if left is not None and left * _UNIT != size:
            return (
                f"{where} has {size:,} bytes, the one behind it says that its left neighbour has {left * _UNIT:,}: one "
                f"of them is overwritten"
            )
        header = 2 * self.field
        block = LiveBlock(at + header, at + size, size) if raw & 1 else None
        return Chunk(at, at + size, block)

    def before(self, at: int) -> int | None:
        """Where the left neighbour begins."""
        left = self._left(at)
        return at - left * _UNIT if left else None


class ZephyrHeap:
    """Zephyr's sys_heap, with small chunks or big ones, all heaps of the image."""

    name: ClassVar[str] = "zephyr"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """Its malloc."""
        return firmware.function(_ALLOC) is not None

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """Every heap that a k_heap or a sys_heap variable leads to."""
        if heap is not None and "+" in heap:
            return given_place(firmware, heap)
        symbols = _heaps(firmware) if heap is None else [_named(firmware, name.strip()) for name in heap.split(",")]
        names, arenas = [], []
        for symbol in symbols:
            at = memory.word(symbol.address)  # of both structures the heap's address is the first member
            last = memory.number(at + _LAST_AT, 4) if at else None
            if not at or last is None:
                continue
            names.append(symbol.name)
            arenas.append((at, at + (last + 1) * _UNIT))
        if not arenas:
            what = f"({', '.join(symbol.name for symbol in symbols)}) " if symbols else ""
            raise EvidenceError(
                f"no heap of {firmware.name} {what}leads to memory in the image",
                try_this="--heap with the name of a k_heap or sys_heap variable, or with a heap's memory as "
                f"0xSTART+0xSIZE; and {BUILD_ADVICE}",
            )
        pairs = sorted(zip(arenas, names, strict=True))
        return HeapPlace(", ".join(name for _, name in pairs), tuple(arena for arena, _ in pairs))

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """Every heap, chunk by chunk."""
        del firmware
        found: list[LinkedBlocks] = []
        corrupt: list[Corruption] = []
        untrusted, header = [], 8
        for begin, end in place.arenas:
            first = -(-begin // _UNIT) * _UNIT
            last = memory.number(first + _LAST_AT, 4) or 0
            chunks = _ZephyrChunks(Window(memory, first, end), last)
            start = chunks.start()
            if not chunks.sound or not first < start <= first + last * _UNIT <= end:
                text = (
                    f"the heap at {format_address(first)} says that it has {last:,} units and begins at "
                    f"{format_address(start)}, which do not fit into its {end - first:,} bytes"
                )
                corrupt.append(Corruption(first, text))
                untrusted.append((first, end))
                continue
            header = 2 * chunks.field
            found.append(walk_chunks(chunks, start, first + last * _UNIT))
        blocks = all_blocks(found)
        return HeapWalk(
            layout=self.name,
            place=place,
            live=blocks.live,
            free=blocks.free,
            corrupt=(*corrupt, *blocks.corrupt),
            untrusted=(*untrusted, *blocks.untrusted),
            total_bytes=sum(b.size_bytes for b in blocks.live) + sum(end - first for first, end in blocks.free),
            header_bytes=header,
        )


def _heaps(firmware: Firmware) -> list[DataSymbol]:
    """The variables of all heaps that are known by name or in the linker's list."""
    found = {symbol.address: symbol for name in _NAMES if (symbol := firmware.variable(name)) is not None}
    first, end = (firmware.variable(name) for name in _LIST)
    if first is not None and end is not None:
        inside = [s for s in firmware.variables() if first.address <= s.address < end.address]
        found |= {symbol.address: symbol for symbol in inside}
    return [found[address] for address in sorted(found)]


def _named(firmware: Firmware, name: str) -> DataSymbol:
    symbol = firmware.variable(name)
    if symbol is None:
        raise UsageError(
            f"--heap {name}: {firmware.name} has no variable of this name",
            try_this="the name of a k_heap or sys_heap variable, or 0xSTART+0xSIZE",
        )
    return symbol
