"""ESP-IDF's heaps since version 4.3: its own TLSF behind a list of registered heaps.

`registered_heaps` leads to a chain of `heap_t_` (start, end, and the heap's own `multi_heap_info` at its start), that
to the TLSF control structure, whose member `size` says where the pool begins. Blocks are TLSF's. With heap poisoning
each payload lies between a head (a canary and the requested size) and a canary behind it, as components/heap of ESP-IDF
writes them; with task tracking the payload is preceded by the task's handle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import msgspec

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import Corruption, HeapPlace, HeapWalk, LiveBlock
from heaptrail.ram.heaps.chunks import walk_chunks
from heaptrail.ram.heaps.links import all_blocks
from heaptrail.ram.heaps.places import BUILD_ADVICE, given_place, pointer_at
from heaptrail.ram.heaps.tlsf import TlsfChunks, free_list
from heaptrail.ram.memory import Window
from heaptrail.ram.structs import StructLayout
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory

_HEAD_CANARY, _TAIL_CANARY = 0xABBA1234, 0xBAAD5678
_MAX_HEAPS = 256
_MAX_POOL_BYTES = 1 << 30
_STRUCTS = ("heap_t_", "multi_heap_info", "control_t", "poison_head_t")
_FILES = ("heap_caps_init.c", "heap_caps.c", "multi_heap.c", "tlsf.c", "multi_heap_poisoning.c")


class _Layouts(NamedTuple):
    """Offsets in a registered heap, its info, the control structure and a poisoned block; whether blocks are owned."""

    start: int
    end: int
    heap: int
    next: int
    data: int
    minimum: int
    size: int
    head_bytes: int
    head_size: int
    head_task: int | None
    owned: bool


class EspIdfHeap:
    """ESP-IDF's registered heaps (TLSF), with heap poisoning and task tracking or without."""

    name: ClassVar[str] = "esp_idf"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """The list of registered heaps."""
        return firmware.variable("registered_heaps") is not None

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """Every registered heap, or the user's ranges, each from the heap's first byte on."""
        if heap is not None:
            return given_place(firmware, heap)
        layouts = _layouts(firmware)
        head = firmware.variable("registered_heaps")
        assert head is not None, "recognised by it"
        arenas: list[tuple[int, int]] = []
        at, seen = pointer_at(firmware, memory, head), set[int]()
        while at and at not in seen and len(seen) < _MAX_HEAPS:
            seen.add(at)
            start, end = memory.word(at + layouts.start), memory.word(at + layouts.end)
            info = memory.word(at + layouts.heap)
            following = memory.word(at + layouts.next)
            if start is None or end is None or info is None or following is None:
                raise EvidenceError(
                    f"the list of registered heaps leads to {format_address(at)}, which the image does not hold",
                    try_this=BUILD_ADVICE,
                )
            # Memory that is given to the heap only once start-up is over is registered without a heap until then.
            if info and start <= info < end <= start + _MAX_POOL_BYTES:
                arenas.append((info, end))
            at = following
        if not arenas:
            raise EvidenceError(
                "the list of registered heaps leads to no heap that is in use",
                try_this=f"an image of the running target, and {BUILD_ADVICE}",
            )
        return HeapPlace(f"registered_heaps ({len(arenas)})", tuple(sorted(arenas)))

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """Every heap, block by block."""
        layouts, word = _layouts(firmware), memory.word_bytes
        found, corrupt, minimum = [], [], 0
        for first, end in place.arenas:
            control = memory.word(first + layouts.data)
            size = memory.word(control + layouts.size) if control is not None and first < control < end else None
            if control is None or size is None or not 0 < size < end - control:
                what = "no address in it" if size is None else f"a control structure of {size:,} bytes"
                text = f"the heap at {format_address(first)} names {what}, a TLSF control structure was expected"
                corrupt.append(Corruption(first, text))
                continue
            pool = control + size
            posts = free_list(memory, control, (control + 5 * word, pool), (pool, end))
            found.append(walk_chunks(TlsfChunks(Window(memory, pool, end), end), pool, end - word, posts))
            minimum += memory.word(first + layouts.minimum) or 0
        blocks = all_blocks(found)
        live, canaries = _unpoisoned(memory, blocks.live, layouts)
        untrusted = [(item.address, end) for item in corrupt for first, end in place.arenas if first == item.address]
        return HeapWalk(
            layout=self.name,
            place=place,
            live=live,
            free=blocks.free,
            corrupt=tuple(sorted((*corrupt, *blocks.corrupt, *canaries), key=lambda item: item.address)),
            untrusted=(*untrusted, *blocks.untrusted),
            total_bytes=sum(b.size_bytes for b in blocks.live) + sum(end - first for first, end in blocks.free),
            min_free_bytes=minimum or None,
            header_bytes=live[0].address - blocks.live[0].address + word if live else word,
        )


def _layouts(firmware: Firmware) -> _Layouts:
    """Offsets from DWARF; the inner structures, which may be in the chip's ROM, else as versions 5 and 6 have them."""
    found, word = firmware.structs(_STRUCTS, _FILES), firmware.word_bytes
    heap = found.get("heap_t_")
    offsets = [heap.offset(name) for name in ("start", "end", "heap", "next")] if heap is not None else []
    start, end, pointer, following = offsets if len(offsets) == 4 else [None] * 4
    if heap is None or start is None or end is None or pointer is None or following is None:
        raise EvidenceError(
            f"{firmware.name} has no debug information for heap_t_, so that the list of heaps cannot be read",
            try_this="the ELF with debug information, or --heap with each heap's memory as 0xSTART+0xSIZE,…",
        )
    nothing = StructLayout("", 0, {})
    info, control = found.get("multi_heap_info", nothing), found.get("control_t", nothing)
    poison = found.get("poison_head_t", nothing)
    data, minimum, size = info.offset("heap_data"), info.offset("minimum_free_bytes"), control.offset("size")
    return _Layouts(
        start=start,
        end=end,
        heap=pointer,
        next=following,
        data=4 * word if data is None else data,
        minimum=2 * word if minimum is None else minimum,
        size=5 * word if size is None else size,
        head_bytes=poison.size or 2 * word,
        head_size=poison.offset("alloc_size") or word,
        head_task=poison.offset("task"),
        owned=heap.offset("name") is not None,
    )


def _unpoisoned(
    memory: Memory, live: tuple[LiveBlock, ...], layouts: _Layouts
) -> tuple[tuple[LiveBlock, ...], list[Corruption]]:
    """Payloads as the program knows them, and canaries that were written over.

    Poisoning is on where at least half of the blocks begin with the canary, which hardly one does by chance.
    """
    heads = [memory.number(block.address, 4) == _HEAD_CANARY for block in live]
    poisoned = 2 * sum(heads) > len(live)
    owner_bytes = memory.word_bytes if layouts.owned else 0
    blocks: list[LiveBlock] = []
    corrupt: list[Corruption] = []
    for block, sound in zip(live, heads, strict=True):
        task_at = block.address + (layouts.head_bytes if poisoned else 0)
        address = task_at + owner_bytes
        if address >= block.end:
            blocks.append(block)
            continue
        owner = memory.word(task_at) if layouts.owned else None
        if poisoned and layouts.head_task is not None:
            owner = memory.word(block.address + layouts.head_task)
        blocks.append(msgspec.structs.replace(block, address=address, owner=owner or None))
        if not poisoned:
            continue
        requested = memory.word(block.address + layouts.head_size)
        tail = task_at + requested if requested is not None else block.end
        if not sound:
            text = f"the canary in front of the block at {format_address(address)} is overwritten"
            corrupt.append(Corruption(block.address, text))
        elif tail + 4 > block.end or memory.number(tail, 4) != _TAIL_CANARY:
            text = f"the canary behind the block at {format_address(address)} ({requested:,} bytes) is overwritten"
            corrupt.append(Corruption(block.address, text))
    return tuple(blocks), corrupt
