"""An ELF's symbol table as a sorted list of functions and code labels.

Tens of thousands of entries are unpacked with one `struct` call each and named only when they are asked for, so that a
symbol table costs milliseconds.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STT_NOTYPE, _STT_OBJECT, _STT_FUNC, _STT_GNU_IFUNC = 0, 1, 2, 10
_NAME_BYTES = 4_096  # longer than any mangled name met; a table without a NUL must not become one name


class Symbol(msgspec.Struct, frozen=True):
    """A function or code label. `size` is 0 where the assembler gave none."""

    address: int
    size: int
    name: str


class SymbolTable:
    """Functions and labels by address.

    Args:
        entries: `(address, rank, size, name offset)`, sorted; functions have rank 0 and labels 1, so that the
            better name of one address comes first.
        names: The string table.
        arm_mode: Where functions in ARM (not Thumb) code begin, for a CPU that has both.
    """

    def __init__(
        self, entries: tuple[tuple[int, int, int, int], ...], names: bytes, arm_mode: frozenset[int] = frozenset()
    ) -> None:
        self._entries = entries
        self._names = names
        self.arm_mode = arm_mode
        self._starts = [entry[0] for entry in entries]
        self._functions = frozenset(entry[0] for entry in entries if entry[1] == 0)

    def __len__(self) -> int:
        return len(self._entries)

    def is_entry(self, address: int) -> bool:
        """Whether a function starts at `address` (labels inside hand-written code do not count)."""
        return address in self._functions

    def functions(self) -> Iterator[Symbol]:
        """The functions that have a size, by address; one address may have several names."""
        for address, rank, size, name_at in self._entries:
            if rank == 0 and size:
                yield Symbol(address, size, self._name(name_at))

    def at(self, address: int) -> Symbol | None:
        """The symbol that holds `address`: by its size, or, for one without a size, the nearest before."""
        last = bisect_right(self._starts, address) - 1
        if last < 0:
            return None
        start = self._starts[last]
        first = last
        while first > 0 and self._starts[first - 1] == start:
            first -= 1
        _, _, size, name_at = self._entries[first]
        if size and address >= start + size:
            return None
        return Symbol(start, size, self._name(name_at))

    def _name(self, offset: int) -> str:
        end = self._names.find(b"\0", offset, offset + _NAME_BYTES)
        return self._names[offset : end if end >= 0 else offset + _NAME_BYTES].decode("utf-8", "replace")


def parse_symbols(
    table: bytes,
    names: bytes,
    *,
    bits: int,
    order: str,
    thumb: bool,
    executable: Callable[[int], bool],
) -> SymbolTable:
    """The functions and code labels of a .symtab or .dynsym.

    Args:
        table: The section's bytes; a torn last entry is left out.
        names: The string table that belongs to it.
        bits: 32 or 64.
        order: Byte order as `struct` writes it.
        thumb: Clear bit 0 of function addresses, which says Thumb there.
        executable: Labels (untyped symbols) count only where this holds; ARM's and RISC-V's mapping symbols (`$a`,
            `$t`, `$x`, `$d`) never do.
    """
    entry = struct.Struct(order + ("IBBHQQ" if bits == 64 else "IIIBBH"))
    found = []
    arm_mode = set()
    whole = len(table) // entry.size * entry.size
    for row in entry.iter_unpack(memoryview(table)[:whole]):
        if bits == 64:
            name_at, info, _, section, value, size = row
        else:
            name_at, value, size, info, _, section = row
        kind = info & 0xF
        if not section or kind not in (_STT_NOTYPE, _STT_FUNC, _STT_GNU_IFUNC):
            continue
        if kind == _STT_NOTYPE:
            if names[name_at : name_at + 1] in (b"$", b"") or not executable(value):
                continue
            found.append((value, 1, size, name_at))
        else:
            found.append((value & ~1 if thumb else value, 0, size, name_at))
            if thumb and not value & 1:
                arm_mode.add(value)
    found.sort()
    return SymbolTable(tuple(found), names, frozenset(arm_mode))


def find_object(table: bytes, names: bytes, name: str, *, bits: int, order: str) -> int | None:
    """The address of the variable or constant of this name, None where the table has none."""
    entry = struct.Struct(order + ("IBBHQQ" if bits == 64 else "IIIBBH"))
    places = {match.start() for match in re.finditer(re.escape(name.encode() + b"\0"), names)}
    for row in entry.iter_unpack(memoryview(table)[: len(table) // entry.size * entry.size]):
        name_at, info, section, value = (
            (row[0], row[1], row[3], row[4]) if bits == 64 else (row[0], row[3], row[5], row[1])
        )
        if name_at in places and section and info & 0xF == _STT_OBJECT:
            return int(value)
    return None
