"""Image files: what each is, and its memory.

An image is one moment. It may lie in several files, joined by commas: `sram.bin@0x20000000,psram.bin@0x60000000`. The
format is told by content: ELF core by its magic, ESP-IDF's and Zephyr's dumps by their heads, Intel HEX by `:` and
Motorola SREC by `S` at the start of printable lines; anything else is raw bytes and needs a base address.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import FormatError, UsageError
from heaptrail.ram.corefile import read_core
from heaptrail.ram.espdump import elf_core_in, looks_like_esp
from heaptrail.ram.hexfiles import looks_like_ihex, looks_like_srec, read_ihex, read_srec
from heaptrail.ram.memory import Memory, Piece, Registers
from heaptrail.ram.zephyrdump import looks_like_zephyr, read_zephyr
from heaptrail.units import format_address, format_bytes

if TYPE_CHECKING:
    from heaptrail.limits import Limits
    from heaptrail.ram.firmware import Firmware

_AT_BASE = re.compile(r"(?P<path>.+)@(?P<base>0[xX][0-9a-fA-F]+)")


class Image(msgspec.Struct, frozen=True):
    """One moment of a target.

    Args:
        name: The files as they were given (`sram.bin@0x20000000`) without folders, or the server's address.
        kind: `raw`, `core`, `esp`, `zephyr`, `ihex`, `srec` or `gdb`, joined by `+` where parts differ.
        memory: What it holds.
        registers: Of each CPU or thread; empty where the image has none.
        bytes_read: Size of the files.
        notes: What a reader of the report must know about how it was taken.
        program_sha256: Of the ELF file that ran, or its first digits, where the image carries it.
    """

    name: str
    kind: str
    memory: Memory
    registers: tuple[Registers, ...]
    bytes_read: int
    notes: tuple[str, ...] = ()
    program_sha256: str | None = None

    def noted(self, note: str) -> Image:
        """The same image with another note."""
        return msgspec.structs.replace(self, notes=(*self.notes, note))


def read_image(spec: str, firmware: Firmware, limits: Limits, *, base: int | None = None) -> Image:
    """The image that `spec` names.

    Args:
        spec: Files joined by commas, each with `@0xBASE` where it is raw.
        firmware: For the word size and the byte order, and for a hint where the base is missing.
        limits: `elf_section_bytes` bounds each file.
        base: Of raw files without one of their own.

    Raises:
        UsageError: A file cannot be read, or a raw one has no base.
        FormatError: A file is cut or broken, or two parts overlap.
    """
    names = [spec] if Path(spec).is_file() else spec.split(",")
    pieces: list[Piece] = []
    registers: list[Registers] = []
    kinds: dict[str, None] = {}
    size, program = 0, None
    for name in names:
        found = _AT_BASE.fullmatch(name) if not Path(name).is_file() else None
        path = Path(found["path"]) if found else Path(name)
        data = _contents(path, limits)
        size += len(data)
        if looks_like_esp(data):
            data = elf_core_in(data, path.name)
            kinds["esp"] = None
        if data[:4] == b"\x7fELF":
            kinds.setdefault("core" if "esp" not in kinds else "esp")
            core = read_core(data, path.name, firmware)
            pieces += core.pieces
            registers += core.registers
            program = program or core.program_sha256
        elif looks_like_zephyr(data):
            kinds["zephyr"] = None
            more, their_registers = read_zephyr(data, path.name, firmware)
            pieces += more
            registers += their_registers
        elif looks_like_ihex(data):
            kinds["ihex"] = None
            pieces += read_ihex(data, path.name)
        elif looks_like_srec(data):
            kinds["srec"] = None
            pieces += read_srec(data, path.name)
        else:
            kinds["raw"] = None
            address = int(found["base"], 16) if found else base
            if address is None:
                raise _no_base(path, firmware, len(data))
            pieces.append(_raw(address, data, path, firmware))
    memory = Memory(pieces, order=firmware.order, word_bytes=firmware.word_bytes)
    shown = ",".join(name if Path(name).name == name else name.rpartition("/")[2] for name in names)
    return Image(shown, "+".join(kinds), memory, tuple(registers), size, program_sha256=program)


def _contents(path: Path, limits: Limits) -> bytes:
    try:
        if not path.is_file():
            what = "not a regular file" if path.exists() else "no such file"
            raise UsageError(f"{path}: {what}", try_this="the path of a RAM image")
        size = path.stat().st_size
        if size > limits.elf_section_bytes:
            raise FormatError(
                f"{path.name} has {format_bytes(size)}, the limit is {format_bytes(limits.elf_section_bytes)}",
                try_this="an image of the RAM alone",
            )
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", try_this="the path of a RAM image") from error
    if not data:
        raise FormatError(f"{path.name} is empty", try_this="an image that holds the RAM of the target")
    return data


def _raw(address: int, data: bytes, path: Path, firmware: Firmware) -> Piece:
    if address + len(data) > 1 << (8 * firmware.word_bytes):
        raise UsageError(
            f"{path.name} has {format_bytes(len(data))}, which do not fit behind {format_address(address)}",
            try_this="the address at which the image begins as --base, or as IMAGE@0xBASE",
        )
    return Piece(address, memoryview(data))


def _no_base(path: Path, firmware: Firmware, size: int) -> UsageError:
    first = firmware.writable[0][0] if firmware.writable else 0
    return UsageError(
        f"{path.name}: {format_bytes(size)} of raw bytes, and nothing says at which address they begin",
        try_this=f"--base, the address of the first byte (writable memory of {firmware.name} begins at "
        f"{format_address(first)})",
    )
