"""The tables at the head of an ELF: sections, segments and the build id, read with bounds.

Written out with `struct` from the System V ABI (gABI chapters 4 and 5), not through a parser library: every size and
offset is checked against the file and against `Limits` before it is followed, and a warm start needs no more than this.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import msgspec

from heaptrail.errors import FormatError
from heaptrail.units import format_bytes

if TYPE_CHECKING:
    from heaptrail.limits import Limits

SHT_SYMTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 7, 8, 11
SHF_ALLOC, SHF_EXECINSTR, SHF_COMPRESSED = 0x2, 0x4, 0x800
PT_LOAD, PT_NOTE, PF_X = 1, 4, 1
NT_GNU_BUILD_ID = 3

_MAX_SECTIONS = 65_536  # far beyond any linked program; a file that claims more is not worth the time
_MAX_SEGMENTS = 4_096
_NOTE_BYTES = 65_536  # a build id's note has 36
_NAME_BYTES = 256
_SHN_XINDEX = 0xFFFF
_TRY_COPY = "the ELF that the build wrote, copied whole (compare its size with the original's)"


class Section(msgspec.Struct, frozen=True):
    """One section header; addresses, offsets and sizes in bytes. A section of type NOBITS has nothing in the file."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    align: int

    @property
    def in_file(self) -> bool:
        """Whether its bytes are in the file (not .bss, and not a section that was moved to a debug file)."""
        return self.type != SHT_NOBITS

    @property
    def end(self) -> int:
        """The address behind its last byte."""
        return self.address + self.size


class Segment(msgspec.Struct, frozen=True):
    """One program header. `address_field` is where in the file its p_vaddr is written."""

    type: int
    flags: int
    address: int
    offset: int
    file_size: int
    memory_size: int
    align: int
    address_field: int


class ElfTables(msgspec.Struct, frozen=True):
    """What `read_tables` found. `type` and `machine` are e_type and e_machine, `order` as `struct` writes it."""

    bits: int
    order: str
    type: int
    machine: int
    sections: tuple[Section, ...]
    segments: tuple[Segment, ...]
    build_id: str | None


class _Reader:
    """A file with a name for its errors, whose reads are checked."""

    def __init__(self, stream: BinaryIO, name: str, size: int, limits: Limits) -> None:
        self.stream = stream
        self.name = name
        self.size = size
        self.limits = limits

    def at(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes from `offset`, or a FormatError that says what was looked for there."""
        if offset + count > self.size:
            self.cut(what, offset, count)
        self.stream.seek(offset)
        data = self.stream.read(count)
        if len(data) != count:
            self.cut(what, offset, count)
        return data

    def cut(self, what: str, offset: int, count: int) -> NoReturn:
        raise FormatError(
            f"{self.name}: cut off: {what} should be at bytes {offset:,} to {offset + count:,}, the file ends at"
            f" {self.size:,}",
            try_this=_TRY_COPY,
        )

    def over(self, what: str, found: str, limit: str) -> NoReturn:
        raise FormatError(
            f"{self.name}: {what} claims {found}, the limit is {limit}",
            try_this="another ELF, or `--debug-file` with one that holds less; the limits guard against broken files",
        )


def read_tables(stream: BinaryIO, name: str, size: int, limits: Limits) -> ElfTables:
    """The sections, segments and build id of the ELF in `stream`.

    Args:
        stream: The file, open for reading; any position.
        name: For the errors.
        size: The file's size in bytes.
        limits: `elf_section_bytes` bounds every section, compressed ones by what they unpack to.

    Raises:
        FormatError: Not an ELF, cut off, or over a limit; the sentence says which.
    """
    reader = _Reader(stream, name, size, limits)
    start = reader.at(0, min(size, 16), "the ELF header")
    if start[:4] != b"\x7fELF":
        shown = f"it starts with {start[:4].hex(' ')}" if start else "it is empty"
        raise FormatError(f"{name}: not an ELF: {shown}, not 7f 45 4c 46", try_this="the .elf or .axf of the build")
    if len(start) < 16:
        reader.cut("the ELF header", 0, 52)
    if start[4] not in (1, 2) or start[5] not in (1, 2):
        raise FormatError(
            f"{name}: no ELF class and byte order that exist: {start[4]} and {start[5]} at bytes 4 and 5",
            try_this=_TRY_COPY,
        )
    wide = start[4] == 2
    order = "<" if start[5] == 1 else ">"
    header = struct.Struct(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"))
    fields = header.unpack(reader.at(16, header.size, "the ELF header"))
    kind, machine, _, _, segments_at, sections_at, _, _, segment_size, segment_count, section_size, _, _ = fields
    section_count, names_index = fields[11], fields[12]
    raw, segment_count = _section_headers(
        reader,
        order,
        wide=wide,
        offset=sections_at,
        entry_size=section_size,
        count=section_count,
        segment_count=segment_count,
    )
    if names_index == _SHN_XINDEX and raw:
        names_index = raw[0][6]
    sections = _sections(reader, raw, names_index, order, wide=wide)
    segments = _segments(reader, order, segments_at, segment_size, segment_count, wide=wide)
    if not sections:
        for segment in segments:
            if segment.type == PT_LOAD and segment.offset + segment.file_size > size:
                reader.cut("a loaded segment", segment.offset, segment.file_size)
    return ElfTables(
        bits=64 if wide else 32,
        order=order,
        type=kind,
        machine=machine,
        sections=sections,
        segments=segments,
        build_id=_build_id(reader, sections, segments, order),
    )


def _section_headers(
    reader: _Reader, order: str, *, wide: bool, offset: int, entry_size: int, count: int, segment_count: int
) -> tuple[list[tuple[int, ...]], int]:
    """The raw section headers, and the number of segments (which header 0 holds when it does not fit its field)."""
    entry = struct.Struct(order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"))
    if offset == 0:
        return [], segment_count
    if entry_size != entry.size:
        raise FormatError(
            f"{reader.name}: section headers of {entry_size} bytes, {entry.size} expected", try_this=_TRY_COPY
        )
    first = entry.unpack(reader.at(offset, entry.size, "the section table"))
    count = count or first[5]
    if segment_count == _SHN_XINDEX:
        segment_count = first[7]
    if count > _MAX_SECTIONS:
        reader.over("the section table", f"{count:,} sections", f"{_MAX_SECTIONS:,}")
    table = reader.at(offset, count * entry.size, "the section table")
    return list(entry.iter_unpack(table)), segment_count


def _sections(
    reader: _Reader, raw: list[tuple[int, ...]], names_index: int, order: str, *, wide: bool
) -> tuple[Section, ...]:
    names = b""
    if 0 < names_index < len(raw):
        _, _, _, _, offset, size = raw[names_index][:6]
        if size > reader.limits.elf_section_bytes:
            reader.over("the table of section names", format_bytes(size), _limit(reader))
        names = reader.at(offset, size, "the table of section names")
    sections = []
    for name_at, kind, flags, address, offset, size, link, _, align, _ in raw:
        end = names.find(b"\0", name_at, name_at + _NAME_BYTES)
        name = names[name_at : end if end >= 0 else name_at + _NAME_BYTES].decode("utf-8", "replace")
        section = Section(name, kind, flags, address, offset, size, link, align)
        if kind and section.in_file:
            _check_section(reader, section, order, wide=wide)
        sections.append(section)
    return tuple(sections)


def _check_section(reader: _Reader, section: Section, order: str, *, wide: bool) -> None:
    """Raise when the section does not fit the file or the limits, packed or unpacked."""
    what = f"section {section.name or '(no name)'}"
    if section.size > reader.limits.elf_section_bytes:
        reader.over(what, format_bytes(section.size), _limit(reader))
    if section.offset + section.size > reader.size:
        reader.cut(what, section.offset, section.size)
    unpacked = 0
    if section.flags & SHF_COMPRESSED:
        packed = struct.Struct(order + ("IIQQ" if wide else "III"))
        unpacked = packed.unpack(reader.at(section.offset, packed.size, f"the header of {what}"))[2 if wide else 1]
    elif section.name.startswith(".zdebug") and section.size >= 12:
        unpacked = struct.unpack(">Q", reader.at(section.offset + 4, 8, what))[0]
    if unpacked > reader.limits.elf_section_bytes:
        reader.over(what, f"to unpack to {format_bytes(unpacked)}", _limit(reader))


def _segments(
    reader: _Reader, order: str, offset: int, entry_size: int, count: int, *, wide: bool
) -> tuple[Segment, ...]:
    entry = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
    if offset == 0 or count == 0:
        return ()
    if entry_size != entry.size:
        raise FormatError(
            f"{reader.name}: program headers of {entry_size} bytes, {entry.size} expected", try_this=_TRY_COPY
        )
    if count > _MAX_SEGMENTS:
        reader.over("the program header table", f"{count:,} segments", f"{_MAX_SEGMENTS:,}")
    segments = []
    table = reader.at(offset, count * entry.size, "the program header table")
    for index, row in enumerate(entry.iter_unpack(table)):
        if wide:
            kind, flags, at, address, _, file_size, memory_size, align = row
            field = offset + index * entry.size + 16
        else:
            kind, at, address, _, file_size, memory_size, flags, align = row
            field = offset + index * entry.size + 8
        segments.append(Segment(kind, flags, address, at, file_size, memory_size, align, field))
    return tuple(segments)


def _build_id(reader: _Reader, sections: tuple[Section, ...], segments: tuple[Segment, ...], order: str) -> str | None:
    """The GNU build id's hex digits, from note sections, or from note segments where the sections were stripped."""
    places = [(s.offset, s.size, s.align) for s in sections if s.type == SHT_NOTE]
    if not sections:
        places = [(s.offset, s.file_size, s.align) for s in segments if s.type == PT_NOTE]
    for offset, size, align in places:
        if size > _NOTE_BYTES or offset + size > reader.size:
            continue
        found = _build_id_in(reader.at(offset, size, "a note"), order, 8 if align == 8 else 4)
        if found:
            return found
    return None


def _build_id_in(notes: bytes, order: str, align: int) -> str | None:
    position = 0
    while position + 12 <= len(notes):
        name_size, data_size, kind = struct.unpack_from(order + "III", notes, position)
        name_at = position + 12
        data_at = name_at + -(-name_size // align) * align
        if kind == NT_GNU_BUILD_ID and notes[name_at : name_at + name_size] == b"GNU\0" and data_size:
            return notes[data_at : data_at + data_size].hex() or None
        position = data_at + -(-data_size // align) * align
    return None


def _limit(reader: _Reader) -> str:
    return format_bytes(reader.limits.elf_section_bytes)
