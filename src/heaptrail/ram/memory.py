"""The memory of one moment, whatever it was read from: pieces of bytes at addresses, and the registers of each CPU."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Literal, NamedTuple

from heaptrail.errors import FormatError
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.ram.intervals import Interval


_SMALLEST_ALIAS_BIT = 12
_PROBE_BYTES = 4_096


class Piece(NamedTuple):
    """Bytes as they lie in memory from `address` on."""

    address: int
    data: memoryview

    @property
    def end(self) -> int:
        """The address behind the last byte."""
        return self.address + len(self.data)


class Registers(NamedTuple):
    """One CPU's (or thread's) general registers.

    Args:
        owner: What they belong to, for people: `CPU 0`, `thread 4711`.
        values: All of them, without names; each may be a pointer.
        stack_pointer: The one that points into the stack.
    """

    owner: str
    values: tuple[int, ...]
    stack_pointer: int


class Memory:
    """What an image holds.

    Args:
        pieces: In any order; they must not overlap.
        order: Byte order as `struct` and numpy write it.
        word_bytes: 4 or 8.

    Raises:
        FormatError: Two pieces overlap.
    """

    def __init__(self, pieces: Sequence[Piece], *, order: str, word_bytes: int) -> None:
        self.pieces = sorted((piece for piece in pieces if len(piece.data)), key=lambda piece: piece.address)
        for before, after in zip(self.pieces, self.pieces[1:], strict=False):
            if after.address < before.end:
                raise FormatError(
                    f"two parts of the image overlap: one ends at {format_address(before.end)}, the next begins at "
                    f"{format_address(after.address)}",
                    try_this="the base address of each part, as IMAGE@0xBASE",
                )
        self.order = order
        self.word_bytes = word_bytes
        self._byte_order = "little" if order == "<" else "big"
        self._starts = [piece.address for piece in self.pieces]

    @property
    def intervals(self) -> list[Interval]:
        """What is there, piece by piece."""
        return [(piece.address, piece.end) for piece in self.pieces]

    def parts(self, first: int, end: int) -> Iterator[Piece]:
        """The bytes that are there from `first` to `end`, in order, with holes where the image has some."""
        index = max(bisect_right(self._starts, first) - 1, 0)
        while index < len(self.pieces) and self.pieces[index].address < end:
            piece = self.pieces[index]
            low, high = max(first, piece.address), min(end, piece.end)
            if low < high:
                yield Piece(low, piece.data[low - piece.address : high - piece.address])
            index += 1

    def read(self, address: int, count: int) -> bytes | None:
        """`count` bytes from `address`, None where the image does not hold all of them."""
        data = b"".join(bytes(part.data) for part in self.parts(address, address + count))
        return data if len(data) == count else None

    def number(self, address: int, count: int) -> int | None:
        """The unsigned number of `count` bytes at `address`, None where the image does not hold it."""
        data = self.read(address, count)
        return None if data is None else int.from_bytes(data, "little" if self._byte_order == "little" else "big")

    def word(self, address: int) -> int | None:
        """The pointer-sized number at `address`, None where the image does not hold it."""
        return self.number(address, self.word_bytes)


class Window:
    """A stretch of memory as one run of bytes, for walks that read it header by header.

    Args:
        memory: The image.
        first, end: What is wanted; `end` of the window is where the image's first hole begins.
    """

    def __init__(self, memory: Memory, first: int, end: int) -> None:
        parts: list[Piece] = []
        at = first
        for part in memory.parts(first, end):
            if part.address != at:
                break
            parts.append(part)
            at = part.end
        self.first, self.end = first, at
        self.word_bytes = memory.word_bytes
        self._data = parts[0].data if len(parts) == 1 else memoryview(b"".join(bytes(part.data) for part in parts))
        self._order: Literal["little", "big"] = "little" if memory.order == "<" else "big"

    def number(self, address: int, count: int) -> int | None:
        """The unsigned number of `count` bytes at `address`, None outside the window."""
        if not self.first <= address <= self.end - count:
            return None
        at = address - self.first
        return int.from_bytes(self._data[at : at + count], self._order)

    def bytes(self, address: int, count: int) -> bytes:
        """`count` bytes from `address`, fewer where the window ends."""
        at = max(address - self.first, 0)
        return bytes(self._data[at : at + count])

    def word(self, address: int) -> int | None:
        """The pointer-sized number at `address`, None outside the window."""
        return self.number(address, self.word_bytes)


def alias_distance(memory: Memory, original: Interval) -> int | None:
    """How far away the same memory shows a second time, None where it does not.

    Some CPUs' buses map memory at two addresses, and core files hold both. Such a copy must not be scanned: in one of
    RAM nobody knows the dead parts of the stacks, and one of code is full of words that look like pointers. Looked for
    at distances of powers of two, which is how address lines are left undecoded.
    """
    first, end = original
    probe = memory.read(first, min(_PROBE_BYTES, end - first))
    if probe is None or not any(probe):
        return None
    for bit in range(_SMALLEST_ALIAS_BIT, 8 * memory.word_bytes):
        for distance in (1 << bit, -(1 << bit)):
            if memory.read(first + distance, len(probe)) != probe:
                continue
            if memory.read(first + distance, end - first) == memory.read(first, end - first):
                return distance
    return None
