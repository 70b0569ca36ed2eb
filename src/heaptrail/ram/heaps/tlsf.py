"""TLSF, as Matthew Conte's implementation has it: one or more pools with a table of free lists in front.

Each block begins with its size (the header before it included in the block before), of which bit 0 says that it is
free and bit 1 that the one before it is; a pool ends with a block of size 0. A free block's address is kept in its
last word, which belongs to the block after it, and its neighbours in the free list in its first two.

Nothing names the control structure, as users hold it in a variable of their own. It is known by itself: a list that is
empty points at the structure's beginning, and the lists for blocks larger than the pool are always empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import HeapPlace, HeapWalk, LiveBlock
from heaptrail.ram.heaps.chunks import Chunk, walk_chunks
from heaptrail.ram.heaps.links import all_blocks
from heaptrail.ram.heaps.places import BUILD_ADVICE, given_place
from heaptrail.ram.intervals import holds
from heaptrail.ram.memory import Window
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory

_FREE, _BEFORE_FREE = 1, 2
_FIRST_LEVELS = {4: 24, 8: 25}
"""First-level lists of the implementation as published, by word size; there are 32 second-level ones in each."""
_SECOND_LEVELS = 32
_MAX_FREE = 1 << 20
_EMPTY_RUN = 32
"""Lists of one first level: there is always a level of blocks larger than the pool."""
_LARGEST_CONTROL = 16_384
_CHUNK_WORDS = 1 << 19
_FUNCTIONS = ("tlsf_malloc", "lv_tlsf_malloc")


class TlsfChunks:
    """The blocks of one pool.

    Args:
        window: The pool's memory.
        end: Behind the pool, as far as that is known.
        head_bytes: What a layer above puts in front of each payload.
    """

    def __init__(self, window: Window, end: int, head_bytes: int = 0) -> None:
        self._window, self._end, self._word = window, end, window.word_bytes
        self._head = head_bytes

    def chunk(self, at: int) -> Chunk | str | None:
        """The block whose size stands at `at`."""
        raw = self._window.word(at)
        if raw is None:
            return f"the image does not hold the heap from {format_address(at)} on"
        size = raw & ~(_FREE | _BEFORE_FREE)
        if size == 0:
            return None
        following = at + self._word + size
        wrong = self._wrong(at, size, following, free=bool(raw & _FREE))
        if wrong is not None:
            return wrong
        if raw & _FREE:
            return Chunk(at, following, None)
        payload = at + self._word + self._head
        # The next header's first field, the address of a free block before it, is this block's last word.
        return Chunk(at, following, LiveBlock(payload, following, size + self._word, shared_bytes=self._word))

    def _wrong(self, at: int, size: int, following: int, *, free: bool) -> str | None:
        where = f"the block header at {format_address(at)}"
        if size < 3 * self._word or size % 4:
            return f"{where} has the size {size:,}, a multiple of 4 of at least {3 * self._word} was expected"
        if following > self._end - self._word:
            return (
                f"{where} has the size {size:,}, which ends at {format_address(following)}; the pool ends at "
                f"{format_address(self._end)}"
            )
        behind = self._window.word(following)
        if behind is not None and bool(behind & _BEFORE_FREE) != free:
            said = "free" if free else "allocated"
            return f"{where} says {said}, the header behind it at {format_address(following)} does not"
        return None

    def before(self, at: int) -> int | None:
        """Where the block in front begins, which only a free one tells."""
        raw = self._window.word(at)
        link = self._window.word(at - self._word) if raw is not None and raw & _BEFORE_FREE else None
        return link + self._word if link is not None else None


def free_list(memory: Memory, control: int, table: tuple[int, int], pool: tuple[int, int]) -> list[int]:
    """Where the free lists of a control structure say that sizes of free blocks stand.

    Args:
        memory: The image.
        control: Its address: an empty list points at it.
        table: The memory with the heads of the lists; what points into no pool is no head.
        pool: Where blocks may be.
    """
    word = memory.word_bytes
    heads = Window(memory, *table)
    seen: set[int] = set()
    for at in range(table[0], heads.end - word + 1, word):
        block = heads.word(at)
        while block is not None and block != control and pool[0] - word <= block < pool[1] and len(seen) < _MAX_FREE:
            if block + word in seen or block % 4:
                break
            seen.add(block + word)
            block = memory.word(block + 2 * word)
    return sorted(seen)


class Tlsf:
    """TLSF with its control structure in front of its pool."""

    name: ClassVar[str] = "tlsf"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """Its malloc."""
        return any(firmware.function(name) is not None for name in _FUNCTIONS)

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """From each control structure to the end of its pool; further pools only as the user names them."""
        if heap is not None:
            return self._given(firmware, memory, heap)
        arenas = []
        for control in find_controls(memory):
            pool = control + _control_bytes(firmware)
            limit = _limit(firmware, memory, control)
            if pool < limit:
                arenas.append((control, _end_of_pool(memory, pool, limit)))
        if not arenas:
            raise EvidenceError(
                f"{firmware.name} uses TLSF, and the image holds no control structure of it (a table of free lists)",
                try_this="--heap with the memory that tlsf_create_with_pool was given, as 0xSTART+0xSIZE or by its "
                f"variable's name; and {BUILD_ADVICE}",
            )
        names = [firmware.variable_at(first) for first, _ in arenas]
        shown = ", ".join(
            symbol.name if symbol else f"tlsf at {format_address(first)}"
            for symbol, (first, _) in zip(names, arenas, strict=True)
        )
        return HeapPlace(shown, tuple(arenas))

    def _given(self, firmware: Firmware, memory: Memory, heap: str) -> HeapPlace:
        """What the user names: memory, or a variable that holds the control structure's address."""
        arenas = []
        for part in heap.split(","):
            symbol = firmware.variable(part.strip())
            pointed = memory.word(symbol.address) if symbol is not None and symbol.size == memory.word_bytes else None
            if pointed and _is_control(memory, pointed):
                pool = pointed + _control_bytes(firmware)
                arenas.append((pointed, _end_of_pool(memory, pool, _limit(firmware, memory, pointed))))
            else:
                arenas += given_place(firmware, part).arenas
        return HeapPlace(heap, tuple(sorted(arenas)))

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """Every pool, block by block."""
        word = memory.word_bytes
        found, notes = [], []
        for first, end in place.arenas:
            begin, posts = first, []
            if _is_control(memory, first):
                begin = first + _control_bytes(firmware)
                posts = free_list(memory, first, (first + 4 * word, begin), (begin, end))
                if not posts and any(_outside(memory, at, place) for at in range(first + 4 * word, begin, word)):
                    notes.append("free blocks lie in pools that are not known: name those with --heap")
            chunks = TlsfChunks(Window(memory, begin, end), end)
            found.append(walk_chunks(chunks, begin, end - word, posts))
        blocks = all_blocks(found)
        return HeapWalk(
            layout=self.name,
            place=place,
            live=blocks.live,
            free=blocks.free,
            corrupt=blocks.corrupt,
            untrusted=blocks.untrusted,
            total_bytes=sum(b.size_bytes for b in blocks.live) + sum(end - first for first, end in blocks.free),
            header_bytes=word,
            notes=tuple(dict.fromkeys(notes)),
        )


def find_controls(memory: Memory) -> list[int]:
    """Addresses of control structures, by the runs of empty lists in them that all point at their beginning."""
    word = memory.word_bytes
    kind = np.dtype(f"{memory.order}u{word}")
    found: set[int] = set()
    for piece in memory.pieces:
        skip = -piece.address % word
        words = np.frombuffer(piece.data, kind, count=max(len(piece.data) - skip, 0) // word, offset=skip)
        for start in range(0, len(words), _CHUNK_WORDS):
            chunk = words[start : start + _CHUNK_WORDS + _EMPTY_RUN]
            if len(chunk) <= _EMPTY_RUN:
                continue
            heads, middle, last = chunk[:-_EMPTY_RUN], chunk[_EMPTY_RUN // 2 :], chunk[_EMPTY_RUN:]
            hits = np.flatnonzero((heads == last) & (heads == middle[: len(heads)]) & (heads != 0))
            own = hits.astype(np.uint64) * np.uint64(word) + np.uint64(piece.address + skip + start * word)
            values = heads[hits].astype(np.uint64)
            near = (values < own) & (own - values < _LARGEST_CONTROL)
            found.update(np.unique(values[near]).tolist())
    return sorted(at for at in found if _is_control(memory, at))


def _is_control(memory: Memory, at: int) -> bool:
    """Whether a run of empty lists stands behind `at`."""
    window, word, run = Window(memory, at, at + _LARGEST_CONTROL), memory.word_bytes, 0
    for place in range(at + 4 * word, window.end - word + 1, word):
        run = run + 1 if window.word(place) == at else 0
        if run == _EMPTY_RUN:
            return True
    return False


def _control_bytes(firmware: Firmware) -> int:
    """The control structure's size: as DWARF tells, else as in the implementation as published."""
    layout = firmware.structs(("control_t",), ("tlsf.c", "lv_tlsf.c")).get("control_t")
    if layout is not None:
        return layout.size
    word, levels = firmware.word_bytes, _FIRST_LEVELS[firmware.word_bytes]
    bitmaps = 4 * (1 + levels)
    return 4 * word + -(-bitmaps // word) * word + levels * _SECOND_LEVELS * word


def _limit(firmware: Firmware, memory: Memory, address: int) -> int:
    """Where the memory that `address` lies in ends: a variable's, else the image's."""
    variable = firmware.variable_at(address)
    if variable is not None and variable.size:
        return variable.address + variable.size
    return next((end for first, end in memory.intervals if first <= address < end), address)


def _end_of_pool(memory: Memory, pool: int, limit: int) -> int:
    """Behind the end marker, or `limit` where the blocks do not lead to one."""
    chunks = TlsfChunks(Window(memory, pool, limit), limit)
    at = pool
    while (chunk := chunks.chunk(at)) is not None:
        if isinstance(chunk, str):
            return limit
        at = chunk.end
    return at + memory.word_bytes


def _outside(memory: Memory, at: int, place: HeapPlace) -> bool:
    """Whether the head of a list leads out of all known pools."""
    head = memory.word(at)
    return bool(head) and not holds(place.arenas, head or 0)
