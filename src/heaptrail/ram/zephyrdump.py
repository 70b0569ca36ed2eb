"""Zephyr's core dumps (CONFIG_DEBUG_COREDUMP), binary as flash holds them or as the lines of a log.

The format as include/zephyr/debug/coredump.h has it: a head (`ZE`, versions, target, pointer size), then blocks, each
with a letter and a version: `A` registers of the CPU that failed, `F` those of another CPU, `T` threads, `M` memory
with its first address and the one behind the last, `C` a CRC-32 of all before it. In a log each line holds hexadecimal
digits behind `#CD:`, from `#CD:BEGIN#` to `#CD:END#`.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

from heaptrail.errors import EvidenceError, FormatError
from heaptrail.ram.intervals import without
from heaptrail.ram.memory import Piece, Registers
from heaptrail.units import format_address

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware

_HEAD = struct.Struct("<2sHHBBI")
_BLOCK = struct.Struct("<cHH")
_LINE = re.compile(rb"#CD:([0-9a-fA-F]*)\s*$")
_BEGIN, _END, _ERROR = b"#CD:BEGIN#", b"#CD:END#", b"#CD:ERROR"
_NEWEST = 2
_STACK_POINTERS = {3: 8, 4: 18}
"""Where the stack pointer is among the words of an `A` block: on Cortex-M, on RISC-V."""
_TRY_WHOLE = "the dump copied whole, from its first line to its last"


def looks_like_zephyr(data: bytes) -> bool:
    """Whether this is a dump, or a log with one in it."""
    if _BEGIN in data:
        return True
    if len(data) < _HEAD.size or data[:2] != b"ZE":
        return False
    _, version, _, bits, _, _ = _HEAD.unpack_from(data)
    return 1 <= version <= _NEWEST and bits in (5, 6)


def read_zephyr(data: bytes, name: str, firmware: Firmware) -> tuple[list[Piece], list[Registers]]:
    """The memory and the registers in a dump.

    Raises:
        FormatError: It is cut or broken, or its checksum is wrong.
        EvidenceError: It is of another kind of CPU than the ELF.
    """
    if not data.startswith(b"ZE"):
        data = _from_log(data, name)
    _, _, target, bits, _, _ = _HEAD.unpack_from(data)
    if 1 << bits != 8 * firmware.word_bytes:
        raise EvidenceError(
            f"{name} is of a {1 << bits}-bit CPU, but {firmware.name} of a {firmware.word_bytes * 8}-bit one",
            try_this="the ELF of the very build that ran",
        )
    reader = _Reader(data, name, target, bits)
    while reader.block():
        continue
    if not reader.pieces:
        raise FormatError(
            f"{name} holds no memory", try_this="a dump with CONFIG_DEBUG_COREDUMP_MEMORY_DUMP_LINKER_RAM"
        )
    return _apart(reader.pieces), reader.registers


class _Reader:
    """Goes through a dump block by block."""

    def __init__(self, data: bytes, name: str, target: int, bits: int) -> None:
        self._data, self._view, self._at = data, memoryview(data), _HEAD.size
        self._name, self._target, self._word = name, target, 1 << bits - 3
        self._pointers = struct.Struct("<" + ("QQ" if bits == 6 else "II"))
        self.pieces: list[Piece] = []
        self.registers: list[Registers] = []

    def block(self) -> bool:
        """Take the next block; False behind the last one."""
        kind = self._data[self._at : self._at + 1]
        if kind == b"M":
            self._memory()
        elif kind in (b"A", b"T", b"F"):
            self._sized(kind)
        elif kind == b"C":
            self._checksum()
        elif kind:
            raise self._broken(f"a block of kind {kind!r}")
        return kind not in (b"", b"C")

    def _memory(self) -> None:
        begin = self._at + 3 + self._pointers.size
        first, end = self._pointers.unpack(self._part(self._at + 3, self._pointers.size))
        if end < first:
            raise self._broken(f"memory from {format_address(first)} to {format_address(end)}")
        self.pieces.append(Piece(first, self._part(begin, end - first)))
        self._at = begin + end - first

    def _sized(self, kind: bytes) -> None:
        (_, _, size) = _BLOCK.unpack(self._part(self._at, _BLOCK.size))
        begin = self._at + _BLOCK.size + (4 + self._word if kind == b"F" else 0)  # CPU and thread of a snapshot
        body = self._part(begin, size)
        if kind != b"T":
            values = struct.unpack_from(f"<{size // self._word}{'Q' if self._word == 8 else 'I'}", body)
            place = _STACK_POINTERS.get(self._target, size)
            pointer = values[place] if place < len(values) else 0
            self.registers.append(Registers(f"CPU {len(self.registers)}", values, pointer))
        self._at = begin + size

    def _checksum(self) -> None:
        (crc,) = struct.unpack("<I", self._part(self._at + 3, 4))
        if crc != zlib.crc32(self._data[: self._at]):
            raise FormatError(f"{self._name}: its checksum is wrong, it was damaged on the way", try_this=_TRY_WHOLE)

    def _part(self, at: int, count: int) -> memoryview:
        if at + count > len(self._view):
            raise FormatError(
                f"{self._name}: cut off: a block should go from byte {at:,} to {at + count:,}, the dump ends at "
                f"{len(self._view):,}",
                try_this=_TRY_WHOLE,
            )
        return self._view[at : at + count]

    def _broken(self, what: str) -> FormatError:
        return FormatError(f"{self._name}: {what} at byte {self._at:,}, a block was expected", try_this=_TRY_WHOLE)


def _from_log(data: bytes, name: str) -> bytes:
    """The bytes of the first dump in a log."""
    dump = data.partition(_BEGIN)[2]
    body, end, _ = dump.partition(_END)
    if _ERROR in body or not end:
        what = "the target could not dump" if _ERROR in body else f"cut off: the line {_END.decode()} is missing"
        raise FormatError(f"{name}: {what}", try_this=_TRY_WHOLE)
    found = bytearray()
    for number, line in enumerate(body.split(b"\n")):
        digits = _LINE.search(line)
        if digits is None:
            continue
        if len(digits[1]) % 2:
            raise FormatError(f"{name}: line {number} of the dump has an odd number of digits", try_this=_TRY_WHOLE)
        found += bytes.fromhex(digits[1].decode("ascii"))
    if not looks_like_zephyr(bytes(found)):
        raise FormatError(f"{name}: what its dump begins with is no head of one", try_this=_TRY_WHOLE)
    return bytes(found)


def _apart(pieces: list[Piece]) -> list[Piece]:
    """Each byte once: threads and stacks lie in memory that is dumped whole as well."""
    result: list[Piece] = []
    covered: list[tuple[int, int]] = []
    for piece in sorted(pieces, key=lambda p: -len(p.data)):
        for first, end in without([(piece.address, piece.end)], covered):
            result.append(Piece(first, piece.data[first - piece.address : end - piece.address]))
        covered.append((piece.address, piece.end))
    return result
