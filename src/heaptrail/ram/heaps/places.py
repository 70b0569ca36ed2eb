"""The user's `--heap`, and what the FreeRTOS heaps share in finding theirs."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from heaptrail.errors import EvidenceError, UsageError
from heaptrail.ram.heaps import HeapPlace
from heaptrail.units import format_address, whole

if TYPE_CHECKING:
    from heaptrail.ram.firmware import DataSymbol, Firmware
    from heaptrail.ram.memory import Memory

_RANGE = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)\+(0[xX][0-9a-fA-F]+|\d+)")
_MAX_REGIONS = 64
BUILD_ADVICE = "the ELF of the very build that ran, and for a raw image the right --base"


def given_place(firmware: Firmware, heap: str) -> HeapPlace:
    """The heap that the user names.

    Raises:
        UsageError: There is no such variable, or a range cannot be read.
    """
    arenas = []
    for part in heap.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is not None:
            start, size = whole(found[1]), whole(found[2])
            arenas.append((start, start + size))
            continue
        symbol = firmware.variable(part.strip())
        if symbol is None or not symbol.size:
            raise UsageError(
                f"--heap {part}: {firmware.name} has no array of this name",
                try_this="the name of the heap's array (ucHeap in FreeRTOS), or 0xSTART+0xSIZE",
            )
        arenas.append((symbol.address, symbol.address + symbol.size))
    return HeapPlace(heap, tuple(sorted(arenas)))


def array_place(firmware: Firmware, name: str) -> HeapPlace:
    """The heap that is one array.

    Raises:
        EvidenceError: There is no such array.
    """
    symbol = firmware.variable(name)
    if symbol is None or not symbol.size:
        raise EvidenceError(
            f"{firmware.name} has no array {name} with a size, so the heap cannot be found",
            try_this="--heap with the name of the heap's array, or with 0xSTART+0xSIZE",
        )
    return HeapPlace(name, ((symbol.address, symbol.address + symbol.size),))


def region_table(firmware: Firmware, memory: Memory, name: str) -> HeapPlace | None:
    """The regions of an array of FreeRTOS' HeapRegion_t (start, size; ended by a zero), None where it holds none.

    Read from the image, or from the ELF where the table is constant.
    """
    symbol = firmware.variable(name)
    if symbol is None:
        return None
    word = firmware.word_bytes
    arenas = []
    for index in range(_MAX_REGIONS):
        at = symbol.address + 2 * word * index
        raw = memory.read(at, 2 * word) or firmware.constant(at, 2 * word)
        if raw is None:
            break
        start, size = struct.unpack(firmware.order + ("QQ" if word == 8 else "II"), raw)
        if not start or not size:
            break
        arenas.append((start, start + size))
    return HeapPlace(name, tuple(sorted(arenas))) if arenas else None


def alignments(firmware: Firmware) -> tuple[int, ...]:
    """portBYTE_ALIGNMENT to try, the most probable first: the header is two words, rounded up to it.

    What the build's own constant shows, else what the ports of the kernel have: 16 on RISC-V and 64-bit CPUs, else 8.
    A header taken for larger than it is would leave the first words of every block unscanned, so that sizes alone,
    which may be multiples of 16 by chance, do not decide.
    """
    symbol = firmware.variable("xHeapStructSize")
    word = firmware.word_bytes
    raw = firmware.constant(symbol.address, word) if symbol is not None else None
    header = int.from_bytes(raw, "little" if firmware.order == "<" else "big") if raw is not None else 0
    if header in (16, 32) and header > 2 * word:
        return (header, 8, 4)
    wide = word == 8 or firmware.image.arch.startswith("riscv")
    return (16, 8, 32, 4) if wide else (8, 16, 4)


def pointer_at(firmware: Firmware, memory: Memory, symbol: DataSymbol) -> int:
    """The pointer in a variable.

    Raises:
        EvidenceError: The image does not hold the variable.
    """
    value = memory.word(symbol.address)
    if value is None:
        raise EvidenceError(
            f"the image does not hold {symbol.name} of {firmware.name} at {format_address(symbol.address)}: "
            f"{described(memory)}",
            try_this=BUILD_ADVICE,
        )
    return value


def described(memory: Memory) -> str:
    """What an image holds, for an error."""
    if not memory.pieces:
        return "it is empty"
    shown = ", ".join(f"{format_address(first)} to {format_address(end)}" for first, end in memory.intervals[:4])
    more = len(memory.intervals) - 4
    return f"it goes from {shown}" + (f" and {more} more parts" if more > 0 else "")
