"""Conservative mark and sweep: which blocks some word of memory still points into.

Every aligned word of the roots and of reached blocks counts as a pointer when its value lies in a block's payload, at
its start or inside: kernels link objects by their members, and a control block is held by nothing else. Words are
compared with numpy, a few megabytes at a time; only those that point into a block are looked at one by one.
(Boehm and Weiser, "Garbage collection in an uncooperative environment", 1988.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from heaptrail.ram.intervals import Interval, joined, within, without
from heaptrail.ram.memory import Registers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from heaptrail.ram.heaps import LiveBlock
    from heaptrail.ram.memory import Memory

Words = NDArray[np.uint64]
Indexes = NDArray[np.int64]

UNREACHABLE, REACHABLE, MASKED = 0, 1, 2
_CHUNK_WORDS = 1 << 19
_NOWHERE = -1


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """Where the search begins.

    Args:
        memory: What is scanned outside the heap.
        heap: The heap's memory; of it only live payloads are scanned, once they are reached.
        untrusted: Parts of the heap that could not be walked, scanned as roots.
        excluded: Never scanned: dead parts of stacks, a tracer's tables, what the user leaves out.
        doubtful: Scanned in a second pass; what only they reach is masked.
        forced: Scanned in any case, at every byte.
        registers: Of each CPU or thread.
        kept: Addresses of blocks that the user knows to be in use.
    """

    memory: tuple[Interval, ...]
    heap: tuple[Interval, ...]
    untrusted: tuple[Interval, ...] = ()
    excluded: tuple[Interval, ...] = ()
    doubtful: tuple[Interval, ...] = ()
    forced: tuple[Interval, ...] = ()
    registers: tuple[Registers, ...] = ()
    kept: tuple[int, ...] = ()


class Holder(NamedTuple):
    """What was found to point to a block: a word of memory in a block or in a root, or a register.

    Args:
        word: The address of the pointer, None for a register or a block that the user keeps.
        block: Index of the block that holds the pointer, None for a root.
        register: The owner of the register, or `--keep`; None for memory.
    """

    word: int | None
    block: int | None
    register: str | None


class Reach(msgspec.Struct, frozen=True):
    """The state of every block (`UNREACHABLE`, `REACHABLE`, `MASKED`) and what was found to hold it first."""

    states: tuple[int, ...]
    holders: tuple[Holder | None, ...]

    def path(self, index: int) -> list[Holder]:
        """From a block outwards to a root; empty for one that nothing reaches."""
        steps: list[Holder] = []
        holder = self.holders[index]
        while holder is not None:
            steps.append(holder)
            holder = self.holders[holder.block] if holder.block is not None else None
        return steps


class _References(NamedTuple):
    """Words that point into a block: their addresses, the blocks they point to, the blocks they are in or -1."""

    words: Words
    targets: Indexes
    sources: Indexes


def find_reach(memory: Memory, live: Sequence[LiveBlock], roots: Roots) -> Reach:
    """Mark from the roots, then from the doubtful ones; `live` is sorted by address."""
    if not live:
        return Reach((), ())
    index = _BlockIndex(live)
    heap = joined(roots.heap)
    outside = without(roots.memory, [*heap, *roots.excluded])
    inside = without(within(heap, memory.intervals), roots.excluded)
    doubtful = joined(roots.doubtful)
    marker = _Marker(len(live), _references(memory, without(inside, doubtful), index))
    for cpu in roots.registers:
        for target in index.find(np.array(cpu.values, dtype=np.uint64)).tolist():
            if target != _NOWHERE:
                marker.add(target, Holder(None, None, cpu.owner))
    for target in index.find(np.array(roots.kept, dtype=np.uint64)).tolist():
        if target != _NOWHERE:
            marker.add(target, Holder(None, None, "--keep"))
    for area in (without(outside, doubtful), without(within(roots.untrusted, memory.intervals), roots.excluded)):
        marker.add_roots(_references(memory, area, index))
    for shift in range(memory.word_bytes):
        marker.add_roots(_references(memory, roots.forced, index, shift=shift))
    marker.spread(REACHABLE)
    if doubtful:
        allowed = [*outside, *inside]
        marker.add_words(_references(memory, within(doubtful, allowed), index))
        marker.spread(MASKED)
    return Reach(tuple(marker.states), tuple(marker.holders))


def pointers_from(memory: Memory, live: Sequence[LiveBlock], area: Iterable[Interval]) -> list[tuple[int, int]]:
    """Which blocks the words of `area` point to, as `(index of the block, address of the word)`."""
    if not live:
        return []
    found = _references(memory, area, _BlockIndex(live))
    return list(zip(found.targets.tolist(), found.words.tolist(), strict=True))


class _BlockIndex:
    """From a word to the block whose payload it points into."""

    def __init__(self, live: Sequence[LiveBlock]) -> None:
        self._starts = np.array([block.address for block in live], dtype=np.uint64)
        self._ends = np.array([block.end for block in live], dtype=np.uint64)
        self._held_to = np.array([max(block.end - block.shared_bytes, block.address + 1) for block in live], np.uint64)
        self.low, self.high = int(self._starts[0]), int(self._ends[-1])

    def find(self, values: Words) -> Indexes:
        """The block that each value points to, -1 where it points to none."""
        return self._find(values, self._held_to)

    def around(self, addresses: Words) -> Indexes:
        """The block that each address lies in, the memory that it shares with the next header included, -1 in none."""
        return self._find(addresses, self._ends)

    def _find(self, values: Words, ends: Words) -> Indexes:
        found = np.searchsorted(self._starts, values, side="right").astype(np.int64) - 1
        inside = (found >= 0) & (values < ends[np.maximum(found, 0)])
        return np.where(inside, found, _NOWHERE)


def _references(memory: Memory, area: Iterable[Interval], index: _BlockIndex, *, shift: int = 0) -> _References:
    """Every word of `area`, `shift` bytes behind an aligned one, that points into a block."""
    word = memory.word_bytes
    kind = np.dtype(f"{memory.order}u{word}")
    low, span = np.array(index.low, dtype=kind), np.array(index.high - index.low, dtype=kind)
    words: list[Words] = []
    values: list[Words] = []
    for first, end in area:
        for part in memory.parts(first, end):
            skip = (shift - part.address) % word
            count = (len(part.data) - skip) // word
            for start in range(0, max(count, 0), _CHUNK_WORDS):
                amount = min(_CHUNK_WORDS, count - start)
                offset = skip + start * word
                chunk = np.frombuffer(part.data, kind, count=amount, offset=offset)
                # Unsigned: a value below `low` wraps to one beyond `span`.
                hits = np.flatnonzero((chunk - low) < span)
                if len(hits):
                    words.append(hits.astype(np.uint64) * word + np.uint64(part.address + offset))
                    values.append(chunk[hits].astype(np.uint64))
    if not words:
        none = np.empty(0, dtype=np.int64)
        return _References(np.empty(0, dtype=np.uint64), none, none)
    at = np.concatenate(words)
    targets = index.find(np.concatenate(values))
    keep = targets != _NOWHERE
    at, targets = at[keep], targets[keep]
    return _References(at, targets, index.around(at))


class _Marker:
    """The marks, and what has still to be followed. Loops over blocks and pointers, never over words."""

    def __init__(self, blocks: int, inside: _References) -> None:
        self.states = [UNREACHABLE] * blocks
        self.holders: list[Holder | None] = [None] * blocks
        self._pending: list[int] = []
        held = inside.sources != _NOWHERE
        # One pointer of each pair of blocks is enough: the first by address.
        pairs = inside.sources[held] * blocks + inside.targets[held]
        _, first = np.unique(pairs, return_index=True)
        sources = inside.sources[held][first]
        self._targets = inside.targets[held][first].tolist()
        self._words = inside.words[held][first].tolist()
        self._from = np.searchsorted(sources, np.arange(blocks + 1)).tolist()

    def add(self, target: int, holder: Holder) -> None:
        """A block that is held; the first holder stays."""
        if self.states[target] == UNREACHABLE and self.holders[target] is None:
            self.holders[target] = holder
            self._pending.append(target)

    def add_roots(self, found: _References) -> None:
        """Blocks that words of roots point to."""
        _, first = np.unique(found.targets, return_index=True)
        for target, word in zip(found.targets[first].tolist(), found.words[first].tolist(), strict=True):
            self.add(target, Holder(word, None, None))

    def add_words(self, found: _References) -> None:
        """Blocks that doubtful words point to; those in an unreached block's stack do not count."""
        for target, word, source in zip(
            found.targets.tolist(), found.words.tolist(), found.sources.tolist(), strict=True
        ):
            if source == _NOWHERE:
                self.add(target, Holder(word, None, None))
            elif self.states[source] != UNREACHABLE and source != target:
                self.add(target, Holder(word, source, None))

    def spread(self, state: int) -> None:
        """Follow the pending blocks, their pointers, and so on; those near a root first, so that paths are short."""
        pending, states, holders = self._pending, self.states, self.holders
        for source in pending:  # it grows meanwhile
            if states[source] != UNREACHABLE:
                continue
            states[source] = state
            for at in range(self._from[source], self._from[source + 1]):
                target = self._targets[at]
                if holders[target] is None and states[target] == UNREACHABLE:
                    holders[target] = Holder(self._words[at], source, None)
                    pending.append(target)
        pending.clear()
