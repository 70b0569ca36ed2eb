"""What type a block's content may be: a guess, and said to be one.

Two things speak for a type: the address of its vtable (or of another named table of constants, as drivers have) in
the first word, and a struct of the block's size whose pointer members hold null or addresses of memory in every block
looked at. Several structs may fit; the one with the most pointers is named, and how many fit besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.ram.intervals import holds, joined
from heaptrail.ram.structs import sized_structs
from heaptrail.symbols.demangle import demangle
from heaptrail.units import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.structs import SizedStruct
    from heaptrail.ram.survey import Survey

_VTABLE = "_ZTV"
_SAMPLES = 16
_SLACK_BYTES = 16
"""A payload may be larger than what was asked for by the allocator's rounding."""
_LARGEST_STRUCT = 1 << 16
_FEWEST_POINTERS = 2
"""A struct with one pointer fits almost anything."""


class TypeGuesser:
    """Guesses for the blocks of one image; the structs are read from DWARF once, when they are first needed."""

    def __init__(self, found: Survey, firmware: Firmware) -> None:
        self._found, self._firmware = found, firmware
        self._memory = found.image.memory
        self._valid = joined([*self._memory.intervals, *firmware.readable_only, *firmware.writable])
        self._structs: tuple[SizedStruct, ...] | None = None

    def guess(self, blocks: Sequence[int]) -> str | None:
        """A sentence on what these blocks may hold, None where nothing speaks for a type."""
        samples = [self._found.heap.live[index] for index in blocks[:: max(len(blocks) // _SAMPLES, 1)][:_SAMPLES]]
        if not samples:
            return None
        table = self._table([block.address for block in samples])
        if table is not None:
            return table
        payload = min(block.end - block.shared_bytes - block.address for block in samples)
        if payload > _LARGEST_STRUCT:
            return None
        if self._structs is None:
            self._structs = sized_structs(self._firmware.path)
        fitting = [
            struct
            for struct in self._structs
            if payload - _SLACK_BYTES < struct.size <= payload
            and len(struct.pointers) >= _FEWEST_POINTERS
            and self._fits(struct, [block.address for block in samples])
        ]
        if not fitting:
            return None
        best = max(fitting, key=lambda struct: (len(struct.pointers), struct.size, struct.name))
        others = len({struct.name for struct in fitting}) - 1
        besides = f"; {plural(others, 'other struct')} would fit" if others else ""
        return (
            f"Type, a guess: {best.name} ({best.size} bytes), whose {len(best.pointers)} pointers are null or lead to "
            f"memory in {plural(len(samples), 'block')} looked at{besides}."
        )

    def _table(self, addresses: list[int]) -> str | None:
        """The constant that the first word of each points into, where it is the same in all."""
        firsts = {self._memory.word(address) for address in addresses}
        (first, *more) = firsts
        variable = self._firmware.variable_at(first) if first and not more else None
        if first is None or variable is None:
            return None
        if variable.name.startswith(_VTABLE):
            # Behind this mark stands the class's mangled name, which is demangled as that of a function.
            name = demangle(f"_Z{variable.name.removeprefix(_VTABLE)}v")
            return f"Type, a guess: {name}, whose vtable the first word of each points to."
        if not holds(self._firmware.readable_only, first):
            return None
        return f"Type, a guess: each begins with a pointer to {demangle(variable.name)}."

    def _fits(self, struct: SizedStruct, addresses: list[int]) -> bool:
        """Whether all pointers are plausible, and at least one of them is not null everywhere."""
        some = False
        for address in addresses:
            for offset in struct.pointers:
                value = self._memory.word(address + offset)
                if value is None or (value and not holds(self._valid, value)):
                    return False
                some = some or bool(value)
        return some
