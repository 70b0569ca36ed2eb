"""Which function calls which, as far as an ELF's code and symbols show it: for checking backtraces, not for drawing.

A function is known by the address it begins at. Functions whose ranges overlap are one, and so are a function and its
`.cold` part. Whatever cannot be told (no symbol, no size, ARM code, a CPU without a reader) is `None`, and nothing may
be concluded from it.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heaptrail.symbols.branches import LONGEST_BYTES, Branch, Branches, branch_ending_at, branches_in
from heaptrail.symbols.elftables import SHF_EXECINSTR
from heaptrail.symbols.wrappers import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from heaptrail.symbols.branches import Ints
    from heaptrail.symbols.elf import ElfImage
    from heaptrail.symbols.symtab import SymbolTable

_FAR = 256
"""Functions that jumps lead to from one function; more is a table that was taken for code."""
_VECTORS = ("vector", "intvec", ".isr")
"""What the section with the addresses of interrupt handlers is called."""


class Reach(NamedTuple):
    """Where a function may go on by jumps alone, itself included.

    Args:
        functions: Those that direct jumps lead to, one after the other.
        anywhere: One of them jumps through a register, or is unknown.
    """

    functions: frozenset[int]
    anywhere: bool


class CallGraph:
    """Questions about one ELF's code. Its branches are all read when the first question needs them (some 0.3 s a MB).

    Args:
        image: The ELF with the code.
        symbols: Its functions, or those of its debug file.
    """

    def __init__(self, image: ElfImage, symbols: SymbolTable) -> None:
        self._image = image
        self._arch = image.arch
        self._symbols = symbols
        self.reach = lru_cache(maxsize=4_096)(self._reach)

    @property
    def knows_jumps(self) -> bool:
        """Whether all jumps of a function can be listed, so that what it never jumps to is known, too."""
        return self._branches is not None

    def function_at(self, address: int | None) -> int | None:
        """The function that holds `address`."""
        if address is None:
            return None
        starts, ends, owners = self._functions
        place = bisect_right(starts, address) - 1
        return owners[place] if place >= 0 and address < ends[place] else None

    def branch_ending_at(self, end: int) -> Branch | None:
        """The call or jump that ends right before `end`; None where it cannot be told."""
        code = self._image.code_before(end, LONGEST_BYTES) or self._image.code_before(end, 4)
        return branch_ending_at(code, end, self._arch) if code and self._image.little_endian else None

    def called(self, function: int) -> bool:
        """Whether some direct call or jump from elsewhere leads to the function."""
        return function in self._led_to

    def named_by_address(self, function: int) -> bool:
        """Whether its address, or that of a function which jumps to it, stands in data or is put together in code."""
        return not self._taken.isdisjoint(self._leading_to(function))

    def entered_by_hardware(self, function: int) -> bool | None:
        """Whether an interrupt may enter it, by the table of vectors; None where no section looks like one."""
        if not self._handlers:
            return None
        leading = self._leading_to(function)
        handler_jumps = not self._handlers.isdisjoint(self._jumps_anywhere) and not self._taken.isdisjoint(leading)
        return handler_jumps or not self._handlers.isdisjoint(leading)

    def _reach(self, function: int) -> Reach:
        exits = self._exits
        seen = {function}
        due = [function]
        anywhere = self._branches is None
        while due:
            each = due.pop()
            anywhere |= each in self._jumps_anywhere
            for target in exits.get(each, ()):
                if target not in seen:
                    seen.add(target)
                    due.append(target)
            if len(seen) > _FAR:
                return Reach(frozenset(seen), anywhere=True)
        return Reach(frozenset(seen), anywhere)

    def _leading_to(self, function: int) -> set[int]:
        """The function, and those from which jumps alone lead to it."""
        seen = {function}
        due = [function]
        while due and len(seen) <= _FAR:
            for source in self._entries.get(due.pop(), ()):
                if source not in seen:
                    seen.add(source)
                    due.append(source)
        return seen

    # --- read once

    @cached_property
    def _functions(self) -> tuple[list[int], list[int], list[int | None]]:
        """Starts, ends and owners of stretches that do not overlap."""
        stretches: list[list[int]] = []
        names: dict[int, str] = {}
        for symbol in self._symbols.functions():
            if stretches and symbol.address < stretches[-1][1]:
                stretches[-1][1] = max(stretches[-1][1], symbol.address + symbol.size)
            else:
                stretches.append([symbol.address, symbol.address + symbol.size])
            names.setdefault(stretches[-1][0], symbol.name)
        named: dict[str, list[int]] = {}
        for start, name in names.items():
            named.setdefault(name, []).append(start)
        owners: list[int | None] = []
        for start, _ in stretches:
            whole = named.get(plain_name(names[start]), []) if ".cold" in names[start] else [start]
            owner = whole[0] if len(whole) == 1 else start
            owners.append(None if start in self._symbols.arm_mode else owner)
        return [start for start, _ in stretches], [end for _, end in stretches], owners

    def _owners_of(self, addresses: Ints) -> Ints:
        """`function_at` for many addresses; -1 for none."""
        starts, ends, owners = self._functions
        if not starts:
            return np.full(len(addresses), -1, dtype=np.int64)
        place = np.searchsorted(np.array(starts), addresses, side="right") - 1
        known = (place >= 0) & (addresses < np.array(ends)[place])
        owner = np.array([-1 if each is None else each for each in owners], dtype=np.int64)
        found: Ints = np.where(known, owner[place], -1)
        return found

    @cached_property
    def _branches(self) -> Branches | None:
        """Of all code; None where the CPU has no reader, or where two sections share addresses (overlays)."""
        code = [(s, data) for s, data in self._image.contents() if s.flags & SHF_EXECINSTR]
        overlap = any(a.end > b.address for (a, _), (b, _) in pairwise(code))
        if overlap or not code or not self._image.little_endian:
            return None
        found = [branches_in(data, section.address, self._arch) for section, data in code]
        read = [each for each in found if each is not None]
        if len(read) != len(code):
            return None
        return Branches(*(np.concatenate(columns) for columns in zip(*read, strict=True)))

    @cached_property
    def _jumps(self) -> tuple[Ints, Ints]:
        """From which function to which other one jumps lead, each pair once."""
        if self._branches is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        source, target = self._owners_of(self._branches.at), self._owners_of(self._branches.to)
        crosses = (source != target) & (source >= 0) & (target >= 0)
        pairs = np.unique(np.stack((source[crosses], target[crosses])), axis=1)
        return pairs[0], pairs[1]

    @cached_property
    def _exits(self) -> dict[int, list[int]]:
        return _grouped(zip(*(each.tolist() for each in self._jumps), strict=True))

    @cached_property
    def _entries(self) -> dict[int, list[int]]:
        return _grouped((target, source) for source, target in zip(*(e.tolist() for e in self._jumps), strict=True))

    @cached_property
    def _jumps_anywhere(self) -> frozenset[int]:
        """Functions with a jump through a register, or to code that no symbol covers."""
        if self._branches is None:
            return frozenset()
        source, target = self._owners_of(self._branches.at), self._owners_of(self._branches.to)
        inside = np.zeros(len(target), dtype=bool)
        for first, end in self._image.executable_ranges:
            inside |= (self._branches.to >= first) & (self._branches.to < end)
        stray = source[(target < 0) & inside]
        through = self._owners_of(self._branches.indirect)
        return frozenset(np.union1d(stray, through).tolist())

    @cached_property
    def _led_to(self) -> frozenset[int]:
        if self._branches is None:
            return frozenset()
        return frozenset(np.union1d(self._owners_of(self._branches.called), self._jumps[1]).tolist())

    @cached_property
    def _taken(self) -> frozenset[int]:
        """Functions whose first byte's address is a word of the image, or is put together in code."""
        if self._branches is None:
            return frozenset(each for each in self._functions[2] if each is not None)
        words = [self._branches.made]
        for section, data in self._image.contents():
            words.append(_words(data, section.address, self._image.bits))
        return self._starting_at(np.unique(np.concatenate(words)))

    @cached_property
    def _handlers(self) -> frozenset[int]:
        words = [
            _words(data, section.address, self._image.bits)
            for section, data in self._image.contents()
            if any(word in section.name.lower() for word in _VECTORS)
        ]
        return self._starting_at(np.concatenate(words)) if words else frozenset()

    def _starting_at(self, addresses: Ints) -> frozenset[int]:
        if self._arch == "arm":
            addresses = addresses & ~1
        starts, _, owners = self._functions
        there = np.isin(np.array(starts, dtype=np.int64), addresses)
        found = zip(owners, there.tolist(), strict=True)
        return frozenset(owner for owner, here in found if here and owner is not None)


def _words(data: bytes, address: int, bits: int) -> Ints:
    """The pointers' worth of aligned words in a section."""
    size = bits // 8
    skip = -address % size
    whole = data[skip : skip + (len(data) - skip) // size * size] if len(data) > skip else b""
    return np.frombuffer(whole, dtype=f"<i{size}").astype(np.int64) & (-1 if bits == 64 else 0xFFFF_FFFF)


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
