"""An ELF file as an image: where its code lies, which build it is, its symbols, its code bytes, its line tables.

Its header tables are read by `elftables`, its line tables through pyelftools by `linetable`, only when asked.
"""

from __future__ import annotations

import stat
from bisect import bisect_right
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO

from heaptrail.errors import EvidenceError, FormatError, UsageError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.model.report import ImageInfo
from heaptrail.symbols.elftables import (
    PF_X,
    PT_LOAD,
    SHF_ALLOC,
    SHF_COMPRESSED,
    SHF_EXECINSTR,
    SHT_DYNSYM,
    SHT_SYMTAB,
    Section,
    read_tables,
)
from heaptrail.symbols.linetable import LineRow, read_line_rows, read_tail_calls
from heaptrail.symbols.symtab import SymbolTable, find_object, parse_symbols
from heaptrail.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# e_machine values from the gABI's registry; RISC-V is one machine in two widths.
_ARCHES = {3: "x86", 40: "arm", 62: "x86_64", 94: "xtensa", 183: "aarch64", 243: "riscv"}
_NOT_LINKED = {1: "an object file, not linked", 4: "a core dump, not a program"}  # ET_REL, ET_CORE
_ET_DYN = 3
_LINK_BYTES = 4096
_FAR = 1 << 65  # sorts behind every address
_TELL_BUILDS_APART = (".debug_line", ".zdebug_line", ".strtab")
_CHUNK = 1 << 20
_TEXT_BYTES = 256
_BUILD_ID_IS_A_HASH = 16  # bytes; a shorter one was given by hand and may be the same for different builds


class ElfImage:
    """An ELF's facts. Keeps no file open; reads symbols and code only when asked, and refuses a file that changed.

    Attributes:
        path, name: The file, and its name without the folder.
        build_id: The GNU build id in lower-case hex, None where the linker wrote none.
        arch: `riscv32`, `riscv64`, `arm`, `aarch64`, `xtensa`, `x86`, `x86_64`, or `machine N` for another e_machine.
        bits: 32 or 64.
        file_bytes: Size of the file.
        load_address: Virtual address of the first PT_LOAD in the table, 0 without one; symbolic counts from it.
        load_field: Where in the file that address is written, None without a PT_LOAD.
        executable_ranges: `(first, end)` of every stretch of code, sorted.
        debug_info, debug_line: Whether these DWARF sections are there.

    Args:
        path: The file.
        limits: `elf_section_bytes` bounds what any section may hold.

    Raises:
        UsageError: There is no such regular file, or it may not be read.
        FormatError: It is no linked ELF, is cut off, or is over a limit.
    """

    def __init__(self, path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.path = path
        self.name = path.name
        self._stamp: tuple[int, int] | None = None
        with self._open() as (stream, self.file_bytes):
            tables = read_tables(stream, self.name, self.file_bytes, limits)
        if tables.type in _NOT_LINKED:
            raise FormatError(
                f"{self.name}: {_NOT_LINKED[tables.type]}: its addresses are not those of the running program",
                try_this="the linked ELF that was flashed or started",
            )
        self._tables = tables
        self.bits = tables.bits
        self.build_id = tables.build_id
        arch = _ARCHES.get(tables.machine, f"machine {tables.machine}")
        self.arch = f"riscv{self.bits}" if arch == "riscv" else arch
        self.little_endian = tables.order == "<"
        loads = [segment for segment in tables.segments if segment.type == PT_LOAD]
        self.load_address = loads[0].address if loads else 0
        self.load_field = loads[0].address_field if loads else None
        self.sections = tuple(sorted((s for s in tables.sections if s.flags & SHF_ALLOC), key=lambda s: s.address))
        code = [s for s in self.sections if s.flags & SHF_EXECINSTR and s.size]
        self._code = tuple(s for s in code if s.in_file)
        ranges = [(s.address, s.end) for s in code]
        if not tables.sections:  # stripped of its section headers: the segments still tell
            ranges = [(s.address, s.address + s.memory_size) for s in loads if s.flags & PF_X and s.memory_size]
        self.executable_ranges = tuple(sorted(ranges))
        names = {section.name for section in tables.sections if section.in_file}
        self.debug_info = bool(names & {".debug_info", ".zdebug_info"})
        self.debug_line = bool(names & {".debug_line", ".zdebug_line"})
        self._code_cache: dict[int, bytes] = {}
        self._tail_calls: dict[int, frozenset[int]] = {}

    @property
    def holds_code(self) -> bool:
        """Whether the code itself is in the file; it is not in a file of debug information alone."""
        return bool(self._code) or (not self._tables.sections and bool(self.executable_ranges))

    @property
    def movable(self) -> bool:
        """Whether it is linked to run at any address (ET_DYN from 0 on), so that its own addresses are offsets."""
        return self._tables.type == _ET_DYN and self.load_address == 0

    @cached_property
    def debug_link(self) -> tuple[str, int] | None:
        """Name and CRC of the file that its debug information was split off to; None where it names none."""
        for section in self._tables.sections:
            if section.name == ".gnu_debuglink" and 8 <= section.size <= _LINK_BYTES:
                data = self._section_bytes(section)
                name = data.split(b"\0", 1)[0].decode("utf-8", "replace")
                return (name, int.from_bytes(data[-4:], "little" if self.little_endian else "big")) if name else None
        return None

    @property
    def info(self) -> ImageInfo:
        """The part that goes into a report."""
        return ImageInfo(
            name=self.name, build_id=self.build_id, arch=self.arch, bits=self.bits, debug_info=self.debug_info
        )

    @cached_property
    def identity(self) -> str:
        """A file-name-safe word that no other content shares.

        The build id where it is a hash, with a digest of the section and line tables and of the symbols' names (a
        stripped twin has the same build id, and some builds fix theirs); else a digest of the whole file.
        """
        digest = blake2b(digest_size=16)
        trusted = self.build_id is not None and len(self.build_id) >= 2 * _BUILD_ID_IS_A_HASH
        with self._open() as (stream, size):
            places = [(0, size)]
            if trusted:
                digest.update(repr(self._tables.sections).encode())
                places = [(s.offset, s.size) for s in self._tables.sections if s.name in _TELL_BUILDS_APART]
            for offset, count in places:
                stream.seek(offset)
                left = count
                while left > 0 and (chunk := stream.read(min(left, _CHUNK))):
                    digest.update(chunk)
                    left -= len(chunk)
        prefix = self.build_id[:40] if trusted and self.build_id else "content"
        return f"{prefix}-{digest.hexdigest()}"

    @cached_property
    def symbols(self) -> SymbolTable:
        """Functions and code labels; empty for a stripped file."""
        sections = self._tables.sections
        for kind in (SHT_SYMTAB, SHT_DYNSYM):
            for table in sections:
                if table.type == kind and table.link < len(sections):
                    return parse_symbols(
                        self._section_bytes(table),
                        self._section_bytes(sections[table.link]),
                        bits=self.bits,
                        order=self._tables.order,
                        thumb=self.arch == "arm",
                        executable=self.is_executable,
                    )
        return SymbolTable((), b"")

    def text_at(self, symbol: str) -> str | None:
        """The string that a constant of the program holds, up to its zero; None where there is no such symbol."""
        for table in self._tables.sections:
            if table.type == SHT_SYMTAB and table.link < len(self._tables.sections):
                names = self._section_bytes(self._tables.sections[table.link])
                where = find_object(self._section_bytes(table), names, symbol, bits=self.bits, order=self._tables.order)
                for section in self.sections if where is not None else ():
                    if where is not None and section.address <= where < section.end:
                        data = self._section_bytes(section)[where - section.address :][:_TEXT_BYTES]
                        return data.partition(b"\0")[0].decode("utf-8", "replace")
        return None

    def is_executable(self, address: int) -> bool:
        """Whether `address` lies in a section that holds code."""
        last = bisect_right(self.executable_ranges, (address, _FAR))
        # Overlays share addresses, so a longer range may start before the nearest one.
        return any(first <= address < end for first, end in self.executable_ranges[max(last - 4, 0) : last])

    def nearest_section(self, address: int) -> str | None:
        """The name of the allocated section that holds `address` or comes closest; None in a file without sections."""

        def distance(section: Section) -> int:
            return max(section.address - address, address - max(section.end - 1, section.address), 0)

        nearest = min((s for s in self.sections if s.size), key=distance, default=None)
        return nearest.name if nearest else None

    def code_before(self, address: int, count: int) -> bytes | None:
        """The `count` bytes of code that end at `address`, None where the file does not hold them."""
        for index, section in enumerate(self._code):
            if section.address + count <= address <= section.end:
                if index not in self._code_cache:
                    self._code_cache[index] = self._section_bytes(section)
                end = address - section.address
                return self._code_cache[index][end - count : end]
        return None

    def code_at(self, address: int, count: int) -> bytes | None:
        """The `count` bytes of code from `address` on, None where the file does not hold them."""
        return self.code_before(address + count, count)

    def contents(self) -> Iterator[tuple[Section, bytes]]:
        """Every loaded section with what the file holds of it."""
        for section in self.sections:
            if section.in_file and section.size:
                yield section, self._section_bytes(section)

    def tail_calls(self, address: int) -> tuple[int, ...]:
        """What stands behind the tail calls of the compile unit that holds `address` (see `read_tail_calls`)."""
        with self._open() as (stream, _):
            return read_tail_calls(stream, address, self._tail_calls)

    def line_rows(self, wanted: Callable[[int], bool]) -> tuple[LineRow, ...]:
        """Rows of the line tables of the compile units with an address that is `wanted` (see `read_line_rows`).

        Empty where the tables cannot be read: a line that is not known is no reason to stop.
        """
        with self._open() as (stream, _):
            return read_line_rows(stream, wanted)

    def read_all(self) -> bytearray:
        """The whole file. Only for the rare layout that must be changed before symbolic can read it."""
        with self._open() as (stream, _):
            return bytearray(stream.read())

    def _section_bytes(self, section: Section) -> bytes:
        if not section.in_file or section.flags & SHF_COMPRESSED:
            return b""
        with self._open() as (stream, size):
            if section.offset >= size:
                return b""
            stream.seek(section.offset)
            return stream.read(min(section.size, size - section.offset))

    @contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        """The file and its size. Raises when it is not there, is no file, or is not the one that was opened first."""
        try:
            facts = self.path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"{self.path}: not a regular file", try_this="the path of the firmware's ELF")
            stream = self.path.open("rb")
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be read ({error.strerror})", try_this="the path of the firmware's ELF"
            ) from error
        stamp = (facts.st_size, facts.st_mtime_ns)
        with stream:
            if self._stamp is not None and stamp != self._stamp:
                raise EvidenceError(
                    f"{self.name}: changed while it was being read (it had {format_bytes(self._stamp[0])}, now it has"
                    f" {format_bytes(stamp[0])})",
                    try_this="the same command again once the build has ended",
                )
            self._stamp = stamp
            yield stream, facts.st_size


def open_image(path: Path, limits: Limits = DEFAULT_LIMITS) -> ElfImage:
    """The image of an ELF file. Raises as `ElfImage` does."""
    return ElfImage(path, limits)
