"""Walking a heap whose chunks lie one behind the other, each with its own size: TLSF, NuttX, Zephyr.

A layout says what a chunk at an address is; the walk itself, and what becomes of it behind a header that cannot be, is
the same for all. Behind one, it goes on at the next place that a free list names, else backwards from the end as far
as the chunks' notes of their left neighbours lead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from heaptrail.ram.heaps import Corruption, LiveBlock
from heaptrail.ram.heaps.links import MAX_CORRUPT, LinkedBlocks, rubble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.intervals import Interval


class Chunk(NamedTuple):
    """A chunk: from `at` to `end`, where the next one begins; `block` is what it hands out, None while it is free."""

    at: int
    end: int
    block: LiveBlock | None


class Chunks(Protocol):
    """One layout's chunks in one arena."""

    def chunk(self, at: int) -> Chunk | str | None:
        """The chunk at `at`; a sentence that says what cannot be there; None at an end marker."""
        ...

    def before(self, at: int) -> int | None:
        """Where the chunk in front of the one at `at` begins, as that one's header says; None where it does not say."""
        ...


def walk_chunks(chunks: Chunks, first: int, end: int, signposts: Sequence[int] = ()) -> LinkedBlocks:
    """Every chunk from `first` on; the last one ends at `end` or at an end marker.

    Args:
        chunks: The layout.
        first: The first chunk.
        end: The end marker, or as far as there is memory.
        signposts: Where free lists say that chunks begin.
    """
    found = _Found()
    posts = sorted(signposts)
    at = first
    while at < end:
        chunk = chunks.chunk(at)
        if chunk is None:
            break
        if isinstance(chunk, Chunk):
            found.add(chunk)
            at = chunk.end
            continue
        found.corrupt.append(Corruption(at, chunk))
        if len(found.corrupt) >= MAX_CORRUPT:
            found.corrupt.append(rubble(at))
            found.untrusted.append((at, end))
            break
        onward = next((post for post in posts if at < post < end), None)
        tail = _backwards(chunks, at, end) if onward is None else []
        if tail:
            onward = tail[0].at
        found.untrusted.append((at, onward or end))
        at = onward or end
        for behind in tail:
            found.add(behind)
            at = behind.end
    return found.blocks()


def _backwards(chunks: Chunks, stop: int, end: int) -> list[Chunk]:
    """The chunks that end at `end`, as far back towards `stop` as each agrees with the one behind it."""
    tail: list[Chunk] = []
    at = end
    while (start := chunks.before(at)) is not None and stop < start < at:
        chunk = chunks.chunk(start)
        if not isinstance(chunk, Chunk) or chunk.end != at:
            break
        tail.append(chunk)
        at = start
    return tail[::-1]


class _Found:
    def __init__(self) -> None:
        self.live: list[LiveBlock] = []
        self.free: list[Interval] = []
        self.corrupt: list[Corruption] = []
        self.untrusted: list[Interval] = []

    def add(self, chunk: Chunk) -> None:
        if chunk.block is None:
            self.free.append((chunk.at, chunk.end))
        else:
            self.live.append(chunk.block)

    def blocks(self) -> LinkedBlocks:
        return LinkedBlocks(
            live=tuple(self.live),
            free=tuple(self.free),
            corrupt=tuple(self.corrupt),
            untrusted=tuple(self.untrusted),
        )
