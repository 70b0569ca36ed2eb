"""NuttX's mm_heap, in the layouts that its releases have.

Each chunk begins with `struct mm_allocnode_s`: its size and that of the chunk before, and where configured the task
that allocated it and a backtrace. Three layouts, told apart by DWARF and by the guard node at a region's start:

- to 2021 (releases up to 10.2): the size first, and the top bit of `preceding` says that the chunk is allocated;
- to 2023 (up to 12.1): bit 0 of `preceding` says so;
- since: `preceding` first, valid only where the chunk before is free and else part of that one's payload; bits 0 and 1
  of the size say that the chunk is allocated, and that the one before is free.

Regions are between `mm_heapstart` and `mm_heapend` of `struct mm_heap_s`, to which `g_mmheap` (and `g_kmmheap`, in a
protected build) leads, or which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps import HeapPlace, HeapWalk, LiveBlock
from heaptrail.ram.heaps.chunks import Chunk, walk_chunks
from heaptrail.ram.heaps.links import all_blocks
from heaptrail.ram.heaps.places import BUILD_ADVICE, given_place
from heaptrail.ram.memory import Window
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.memory import Memory
    from heaptrail.ram.structs import StructLayout

_HEAPS = ("g_mmheap", "g_kmmheap")
_STRUCTS = ("mm_heap_s", "mm_heap_impl_s", "mm_allocnode_s", "mm_freenode_s")
_FILES = ("mm_initialize.c", "mm_malloc.c", "mm_free.c")
_MAX_REGIONS = 64
_MAX_FREE = 1 << 20
_MAX_FRAMES = 64

Flags = Literal["in size", "bit 0 of preceding", "top bit of preceding"]


class _Node(NamedTuple):
    """Offsets in a chunk's header, the size of it, and of the two sizes in it."""

    bytes: int
    size_at: int
    preceding_at: int
    number_bytes: int
    pid: int | None
    backtrace: tuple[int, int] | None
    flink: int | None


class _NuttxChunks:
    """The chunks of one region."""

    def __init__(self, window: Window, node: _Node, end: int, flags: Flags) -> None:
        self._window, self._node, self._end, self._flags = window, node, end, flags
        self._top = 1 << (8 * node.number_bytes - 1)

    def _read(self, at: int) -> tuple[int, int, bool, bool] | None:
        """Size, size of the chunk before, whether it is allocated, whether the one before is free or tells its size."""
        size = self._window.number(at + self._node.size_at, self._node.number_bytes)
        preceding = self._window.number(at + self._node.preceding_at, self._node.number_bytes)
        if size is None or preceding is None:
            return None
        if self._flags == "in size":
            return size & ~3, preceding, bool(size & 1), bool(size & 2)
        bit = 1 if self._flags == "bit 0 of preceding" else self._top
        return size, preceding & ~bit, bool(preceding & bit), True

    def chunk(self, at: int) -> Chunk | str | None:
        """The chunk at `at`, if what its right neighbour says of it agrees."""
        found, node = self._read(at), self._node
        where = f"the chunk at {format_address(at)}"
        if found is None:
            return f"the image does not hold the heap from {format_address(at)} on"
        size, _, allocated, _ = found
        if size < node.bytes or size % 4:
            return f"{where} has the size {size:,}, a multiple of 4 of at least {node.bytes} was expected"
        if at + size > self._end:
            return (
                f"{where} has the size {size:,}, which ends at {format_address(at + size)}; the region ends at "
                f"{format_address(self._end)}"
            )
        behind = self._read(at + size)
        if behind is not None:
            _, preceding, _, told = behind
            if self._flags == "in size" and told == allocated:
                said = "allocated" if allocated else "free"
                return f"{where} says {said}, the one behind it at {format_address(at + size)} does not"
            if told and preceding != size:
                return (
                    f"{where} has the size {size:,}, the one behind it says {preceding:,}: one of them is overwritten"
                )
        return Chunk(at, at + size, self._block(at, size) if allocated else None)

    def before(self, at: int) -> int | None:
        """Where the chunk in front begins; the present layout tells it of free ones only."""
        found = self._read(at)
        return at - found[1] if found is not None and found[3] and found[1] else None

    def _block(self, at: int, size: int) -> LiveBlock:
        node, word = self._node, self._window.word_bytes
        # In the present layout the next chunk's `preceding` is this one's last bytes.
        shared = node.number_bytes if self._flags == "in size" else 0
        pid = self._window.number(at + node.pid, 4) if node.pid is not None else None
        frames: list[int] = []
        if node.backtrace is not None:
            first, count = node.backtrace
            for index in range(count):
                frame = self._window.word(at + first + index * word)
                if not frame:
                    break
                frames.append(frame)
        return LiveBlock(at + node.bytes, at + size + shared, size, shared, owner=pid, frames=tuple(frames))


class NuttxHeap:
    """NuttX's mm_heap, all its regions, in the layouts of releases 6 to 12."""

    name: ClassVar[str] = "nuttx"

    @classmethod
    def recognise(cls, firmware: Firmware) -> bool:
        """Its heap's variable."""
        return any(firmware.variable(name) is not None for name in _HEAPS)

    def place(self, firmware: Firmware, memory: Memory, heap: str | None) -> HeapPlace:
        """The regions of the heaps; or the user's ranges, each from a region's first chunk to behind its last."""
        if heap is not None and "+" in heap:
            return given_place(firmware, heap)
        node = _node(firmware, _layouts(firmware))
        names, arenas = [], []
        for name in _HEAPS if heap is None else heap.split(","):
            regions = _regions(firmware, memory, name.strip(), node)
            arenas += [region for region in regions if region not in arenas]
            names += [name] if regions else []
        if not arenas:
            raise EvidenceError(
                f"{' and '.join(_HEAPS)} of {firmware.name} lead to no region of memory in the image",
                try_this=f"an image of the running target, and {BUILD_ADVICE}",
            )
        return HeapPlace(", ".join(names), tuple(sorted(arenas)))

    def walk(self, firmware: Firmware, memory: Memory, place: HeapPlace) -> HeapWalk:
        """Every region, chunk by chunk."""
        layouts = _layouts(firmware)
        node = _node(firmware, layouts)
        posts = [post for name in _HEAPS for post in _free_chunks(firmware, memory, name, node, place)]
        found = []
        for first, end in place.arenas:
            window = Window(memory, first, end)
            marker = end - node.bytes
            chunks = _NuttxChunks(window, node, marker, _flags(window, first, node))
            # The first chunk is a guard of the size of its header, the last one another.
            found.append(walk_chunks(chunks, first + node.bytes, marker, posts))
        blocks = all_blocks(found)
        return HeapWalk(
            layout=self.name,
            place=place,
            live=blocks.live,
            free=blocks.free,
            corrupt=blocks.corrupt,
            untrusted=blocks.untrusted,
            total_bytes=sum(b.size_bytes for b in blocks.live) + sum(end - first for first, end in blocks.free),
            header_bytes=node.bytes,
            notes=tuple(note for name in _HEAPS if (note := _pools(firmware, memory, name)) is not None),
        )


def _layouts(firmware: Firmware) -> dict[str, StructLayout]:
    return firmware.structs(_STRUCTS, _FILES)


def _node(firmware: Firmware, layouts: dict[str, StructLayout]) -> _Node:
    layout, free = layouts.get("mm_allocnode_s"), layouts.get("mm_freenode_s")
    size, preceding = (layout.members.get(name) if layout is not None else None for name in ("size", "preceding"))
    if layout is None or size is None or preceding is None:
        raise EvidenceError(
            f"{firmware.name} has no debug information for struct mm_allocnode_s, whose layout differs from release to "
            f"release",
            try_this="the ELF with debug information (CONFIG_DEBUG_SYMBOLS)",
        )
    backtrace = layout.members.get("backtrace")
    return _Node(
        bytes=layout.size,
        size_at=size[0],
        preceding_at=preceding[0],
        number_bytes=size[1] or firmware.word_bytes,
        pid=layout.offset("pid"),
        backtrace=(backtrace[0], min(backtrace[1] // firmware.word_bytes, _MAX_FRAMES)) if backtrace else None,
        flink=free.offset("flink") if free is not None else None,
    )


def _flags(window: Window, first: int, node: _Node) -> Flags:
    """Where this release keeps the flags, by the guard chunk at the region's start."""
    if node.preceding_at < node.size_at:
        return "in size"
    preceding = window.number(first + node.preceding_at, node.number_bytes)
    return "bit 0 of preceding" if preceding == 1 else "top bit of preceding"


def _heap(firmware: Firmware, memory: Memory, name: str) -> tuple[int, StructLayout] | None:
    """Where a heap's structure is, and its layout; None where there is none of this name."""
    symbol = firmware.variable(name)
    layouts = _layouts(firmware)
    layout, inner = layouts.get("mm_heap_s"), layouts.get("mm_heap_impl_s")
    if symbol is None or layout is None:
        return None
    at = memory.word(symbol.address) if symbol.size == memory.word_bytes else symbol.address
    if inner is not None and at:  # for some months of 2021 the structure held a pointer to the one that matters
        at, layout = memory.word(at + (layout.offset("mm_impl") or 0)), inner
    return (at, layout) if at else None


def _regions(firmware: Firmware, memory: Memory, name: str, node: _Node) -> list[tuple[int, int]]:
    found = _heap(firmware, memory, name)
    if found is None:
        return []
    at, layout = found
    starts, ends = layout.members.get("mm_heapstart"), layout.members.get("mm_heapend")
    if starts is None or ends is None:
        return []
    word = memory.word_bytes
    regions = []
    for index in range(min(max(starts[1] // word, 1), _MAX_REGIONS)):
        first, last = memory.word(at + starts[0] + index * word), memory.word(at + ends[0] + index * word)
        if first and last and first < last:
            regions.append((first, last + node.bytes))
    return regions


def _free_chunks(firmware: Firmware, memory: Memory, name: str, node: _Node, place: HeapPlace) -> list[int]:
    """Where the list of free chunks says that they begin; its heads, by size, are in the heap's own structure."""
    found = _heap(firmware, memory, name)
    heads = found[1].offset("mm_nodelist") if found is not None else None
    if found is None or heads is None or node.flink is None:
        return []
    posts: list[int] = []
    seen: set[int] = set()
    at: int | None = found[0] + heads
    while at and at not in seen and len(seen) < _MAX_FREE:
        seen.add(at)
        if any(first <= at < end for first, end in place.arenas):
            posts.append(at)
        at = memory.word(at + node.flink)
    return posts


def _pools(firmware: Firmware, memory: Memory, name: str) -> str | None:
    found = _heap(firmware, memory, name)
    offset = found[1].offset("mm_mpool") if found is not None else None
    if found is None or offset is None or not memory.word(found[0] + offset):
        return None
    return (
        f"{name} serves small blocks from memory pools (CONFIG_MM_HEAP_MEMPOOL): each chunk of a pool is seen as one "
        f"block, and blocks in it cannot be told apart"
    )
