"""ELF core files: memory from their PT_LOAD segments, registers from their NT_PRSTATUS notes.

What Linux writes (core(5), `struct elf_prstatus`), gdb's gcore, QEMU's dump-guest-memory, and ESP-IDF (`espdump` takes
it out of its envelope), whose note on the program's ELF file is read, too. Other notes are passed over.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, NamedTuple

from heaptrail.errors import EvidenceError, FormatError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.memory import Piece, Registers
from heaptrail.symbols.elftables import PT_LOAD, PT_NOTE, read_tables
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from heaptrail.ram.firmware import Firmware

_ET_CORE = 4
NT_PRSTATUS = 1
_MAX_REGISTERS = 64
_MAX_CPUS = 4_096
_NAME_BYTES = 64
_ESP_INFO = 8266
_LEAST_DIGITS = 8
STACK_POINTERS = {3: 15, 40: 13, 62: 19, 94: 65, 183: 31, 243: 2}
"""Where the stack pointer is among the general registers, by e_machine (the kernel's user_regs_struct of each; Xtensa's
are 64 special ones and then ar0 to ar63, as Linux and ESP-IDF write them)."""
GENERAL_REGISTERS = {3: 17, 40: 18, 62: 27, 94: 128, 183: 34, 243: 32}


class Core(NamedTuple):
    """What a core file holds: memory, registers, and the SHA-256 (or its first digits) of the program's ELF file."""

    pieces: list[Piece]
    registers: list[Registers]
    program_sha256: str | None


def read_core(data: bytes, name: str, firmware: Firmware) -> Core:
    """What a core file holds.

    Raises:
        FormatError: It is no core file, or is cut.
        EvidenceError: It is of another kind of CPU than the ELF.
    """
    try:
        tables = read_tables(io.BytesIO(data), name, len(data), DEFAULT_LIMITS)
    except FormatError as error:  # which thinks of the program's ELF
        raise FormatError(error.sentence, try_this="the core file as it was written, copied whole") from error
    if tables.type != _ET_CORE:
        raise FormatError(
            f"{name} is an ELF program, not a core file",
            try_this="the RAM image as IMAGE, and the program with --elf",
        )
    if tables.bits // 8 != firmware.word_bytes or tables.order != firmware.order:
        raise EvidenceError(
            f"{name} is of a {tables.bits}-bit CPU, but {firmware.name} of a {firmware.word_bytes * 8}-bit one",
            try_this="the ELF of the very build that ran",
        )
    view = memoryview(data)
    pieces: list[Piece] = []
    registers: list[Registers] = []
    program: str | None = None
    for segment in tables.segments:
        end = segment.offset + segment.file_size
        if segment.type in (PT_LOAD, PT_NOTE) and end > len(data):
            raise FormatError(
                f"{name}: cut off: memory at {format_address(segment.address)} should be at bytes {segment.offset:,} "
                f"to {end:,}, the file ends at {len(data):,}",
                try_this="the core file copied whole",
            )
        if segment.type == PT_LOAD and segment.file_size:
            pieces.append(Piece(segment.address, view[segment.offset : end]))
        elif segment.type == PT_NOTE:
            notes = list(_notes(view[segment.offset : end], tables.order))
            registers += _registers(notes, tables.order, tables.bits, tables.machine)
            program = program or _program_sha256(notes)
    if not pieces:
        raise FormatError(f"{name} holds no memory", try_this="a core file with the writable memory in it")
    return Core(pieces, registers, program)


def _notes(notes: memoryview, order: str) -> Iterator[tuple[int, bytes, memoryview]]:
    """Type, name and content of each note."""
    head = struct.Struct(order + "III")
    at = 0
    while at + head.size <= len(notes):
        name_size, data_size, kind = head.unpack_from(notes, at)
        data_at = at + head.size + -(-name_size // 4) * 4
        yield kind, bytes(notes[at + head.size :][: min(name_size, _NAME_BYTES)]), notes[data_at : data_at + data_size]
        at = data_at + -(-data_size // 4) * 4


def _program_sha256(notes: list[tuple[int, bytes, memoryview]]) -> str | None:
    """ESP-IDF's note: a word with the version, then hexadecimal digits, cut to a configured length."""
    for kind, name, body in notes:
        if kind == _ESP_INFO and name.rstrip(b"\0") == b"ESP_CORE_DUMP_INFO":
            text = bytes(body[4:]).split(b"\0")[0].decode("ascii", "replace").lower()
            return text if len(text) >= _LEAST_DIGITS and not text.strip("0123456789abcdef") else None
    return None


def _registers(notes: list[tuple[int, bytes, memoryview]], order: str, bits: int, machine: int) -> list[Registers]:
    """One set for each NT_PRSTATUS note; pr_reg begins behind the signal and time fields."""
    word = bits // 8
    start, pid_at = (112, 32) if word == 8 else (72, 24)
    count = GENERAL_REGISTERS.get(machine, _MAX_REGISTERS)
    found: list[Registers] = []
    for kind, name, body in notes:
        if kind != NT_PRSTATUS or name.rstrip(b"\0") != b"CORE" or len(body) < start + word or len(found) == _MAX_CPUS:
            continue
        held = min(count, (len(body) - start) // word)
        values = struct.unpack_from(order + ("Q" if word == 8 else "I") * held, body, start)
        index = STACK_POINTERS.get(machine)
        stack_pointer = values[index] if index is not None and index < held else 0
        (pid,) = struct.unpack_from(order + "I", body, pid_at)
        found.append(Registers(f"thread {pid}" if pid else f"CPU {len(found)}", values, stack_pointer))
    return found
