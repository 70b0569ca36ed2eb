"""An image as an ELF core file, so that one that was taken from a live target can be looked at again.

What `corefile` reads: a PT_NOTE segment with one NT_PRSTATUS for each CPU (core(5)), a PT_LOAD for each piece of
memory.
gdb reads the memory of it, too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from heaptrail.errors import UsageError
from heaptrail.ram.corefile import GENERAL_REGISTERS, NT_PRSTATUS, STACK_POINTERS

if TYPE_CHECKING:
    from pathlib import Path

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.ram.memory import Registers

_ET_CORE, _PT_LOAD, _PT_NOTE = 4, 1, 4
_READ_WRITE = 6
_NAME = b"CORE\0\0\0\0"


def write_core(path: Path, image: Image, firmware: Firmware) -> None:
    """Write an image's memory and registers.

    Raises:
        UsageError: The file cannot be written.
    """
    wide, order = firmware.word_bytes == 8, firmware.order
    header = struct.Struct(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"))
    program = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    notes = b"".join(_note(cpu, number, firmware) for number, cpu in enumerate(image.registers, 1))
    pieces = image.memory.pieces
    count = len(pieces) + 1
    start = 16 + header.size
    at = start + count * program.size
    rows = [(_PT_NOTE, at, 0, len(notes), 0)]
    at += len(notes)
    for piece in pieces:
        rows.append((_PT_LOAD, at, piece.address, len(piece.data), _READ_WRITE))
        at += len(piece.data)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    fields = (_ET_CORE, firmware.machine, 1, 0, start, 0, 0, start, program.size, count, 0, 0, 0)
    try:
        with path.open("wb") as stream:
            stream.write(ident + header.pack(*fields))
            for kind, offset, address, size, flags in rows:
                row = (
                    (kind, flags, offset, address, address, size, size, 1)
                    if wide
                    else (kind, offset, address, address, size, size, flags, 1)
                )
                stream.write(program.pack(*row))
            stream.write(notes)
            for piece in pieces:
                stream.write(piece.data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", try_this="another place for it") from error


def _note(cpu: Registers, number: int, firmware: Firmware) -> bytes:
    """One CPU's registers where `corefile` looks for them; the stack pointer has its place by the CPU's kind."""
    word, order = firmware.word_bytes, firmware.order
    pid_at, registers_at = (32, 112) if word == 8 else (24, 72)
    place = STACK_POINTERS.get(firmware.machine, 0)
    values = list(cpu.values)
    values += [0] * (max(GENERAL_REGISTERS.get(firmware.machine, 0), place + 1) - len(values))
    values[place] = cpu.stack_pointer
    body = bytearray(registers_at + word * len(values))
    struct.pack_into(order + "I", body, pid_at, number)
    struct.pack_into(order + ("Q" if word == 8 else "I") * len(values), body, registers_at, *values)
    return struct.pack(order + "III", len(b"CORE\0"), len(body), NT_PRSTATUS) + _NAME + bytes(body)
