"""Line tables and tail calls, of the few compile units where a symcache does not do. The only importer of pyelftools.

It is imported when it is needed (30 ms) and reads some 100,000 rows a second, so units are chosen first, by
.debug_aranges. Rows are kept by the caller; a warm start does not come here.
"""

from __future__ import annotations

import posixpath
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from heaptrail.symbols.lineheader import tables_are_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_ROWS = 2_000_000
_MAX_UNITS = 512
_MAX_ENTRIES = 200_000  # of one unit's debug information, read at some 50,000 a second
_SMALL_LINE_SECTION = 1 << 20  # without .debug_aranges all units are read, up to this many bytes of line programs


class LineRow(msgspec.Struct, frozen=True, order=True):
    """The code from `address` to `end` (exclusive) comes from this line. `line` 0: from no line at all."""

    address: int
    end: int
    file: str | None
    line: int


def read_line_rows(stream: BinaryIO, wanted: Callable[[int], bool]) -> tuple[LineRow, ...]:
    """The sorted rows of every unit with an address range whose first address is `wanted`.

    Args:
        stream: An ELF, open for reading, whose tables were checked (`elftables.read_tables`).
        wanted: Asked for the first address of each range.

    Returns:
        What could be read; units that are broken or beyond the bounds are left out, since a line that is not known is
        no reason to stop.
    """
    broken = _broken()
    rows: list[LineRow] = []
    try:
        dwarf = _dwarf(stream)
        for offset in sorted(_unit_offsets(dwarf, wanted))[:_MAX_UNITS]:
            try:
                rows.extend(_unit_rows(dwarf, dwarf.get_CU_at(offset), _MAX_ROWS - len(rows)))
            except broken:
                continue
    except broken:
        return tuple(sorted(rows))
    return tuple(sorted(rows))


def read_tail_calls(stream: BinaryIO, address: int, known: dict[int, frozenset[int]]) -> tuple[int, ...]:
    """The sorted addresses behind the tail calls of the compile unit that holds `address`.

    DWARF 5 says so of a DW_TAG_call_site with DW_AT_call_tail_call and DW_AT_call_return_pc (section 3.4); GCC's
    extension of DWARF 4 has DW_TAG_GNU_call_site, DW_AT_GNU_tail_call and DW_AT_low_pc.

    Args:
        stream: An ELF, open for reading, whose tables were checked (`elftables.read_tables`).
        address: Of code.
        known: What was read of each unit before, by its offset; added to, since a unit may take a second.

    Returns:
        What could be read: a unit that is broken, or that no .debug_aranges leads to, has none.
    """
    found: set[int] = set()
    try:
        dwarf = _dwarf(stream)
        for offset in _unit_offsets_at(dwarf, address):
            if offset not in known:
                known[offset] = frozenset(_tail_calls_of(dwarf.get_CU_at(offset)))
            found |= known[offset]
    except _broken():
        return tuple(sorted(found))
    return tuple(sorted(found))


def _tail_calls_of(unit: Any) -> Iterator[int]:  # noqa: ANN401 - pyelftools has no types
    for number, entry in enumerate(unit.iter_DIEs()):
        if number > _MAX_ENTRIES:
            return
        attributes = entry.attributes
        if entry.tag == "DW_TAG_call_site" and "DW_AT_call_tail_call" in attributes:
            place = attributes.get("DW_AT_call_return_pc")
        elif entry.tag == "DW_TAG_GNU_call_site" and "DW_AT_GNU_tail_call" in attributes:
            place = attributes.get("DW_AT_low_pc")
        else:
            continue
        if place is not None and isinstance(place.value, int):
            yield place.value


def _dwarf(stream: BinaryIO) -> Any:  # noqa: ANN401 - pyelftools has no types
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - see the module's docstring

    return ELFFile(stream).get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)


def _broken() -> tuple[type[Exception], ...]:
    """What pyelftools raises: it trips over broken bytes with whatever its parsers happen to hit."""
    from elftools.common.exceptions import DWARFError, ELFError  # noqa: PLC0415 - see the module's docstring
    from elftools.construct.core import ConstructError  # noqa: PLC0415

    return (ELFError, DWARFError, ConstructError, ArithmeticError, AssertionError, AttributeError, LookupError,
            MemoryError, OSError, RuntimeError, TypeError, ValueError)  # fmt: skip


def _unit_offsets_at(dwarf: Any, address: int) -> set[int]:  # noqa: ANN401 - pyelftools has no types
    """Offsets in .debug_info of the units that .debug_aranges says hold `address`."""
    if dwarf.debug_info_sec is None or dwarf.debug_aranges_sec is None:
        return set()
    order = "<" if dwarf.config.little_endian else ">"
    ranges = _address_ranges(dwarf.debug_aranges_sec.stream.getvalue(), order)
    return {unit for unit, first, size in ranges if first <= address < first + size}


def row_at(rows: tuple[LineRow, ...], address: int) -> LineRow | None:
    """The row of sorted `rows` that holds `address`."""
    index = bisect_right(rows, address, key=lambda row: row.address) - 1
    return rows[index] if index >= 0 and address < rows[index].end else None


def _unit_offsets(dwarf: Any, wanted: Callable[[int], bool]) -> set[int]:  # noqa: ANN401 - pyelftools has no types
    """Offsets in .debug_info of the units to read."""
    if dwarf.debug_line_sec is None or dwarf.debug_info_sec is None:
        return set()
    ranges = dwarf.debug_aranges_sec
    if ranges is None:
        if dwarf.debug_line_sec.size > _SMALL_LINE_SECTION:
            return set()
        return {unit.cu_offset for unit in dwarf.iter_CUs()}
    order = "<" if dwarf.config.little_endian else ">"
    found: set[int] = set()
    for offset, first, _ in _address_ranges(ranges.stream.getvalue(), order):
        if offset not in found and wanted(first):
            found.add(offset)
    return found


def _address_ranges(table: bytes, order: str) -> Iterator[tuple[int, int, int]]:
    """`(unit offset, first address, size)` of every range in a .debug_aranges section (DWARF 5, section 6.1.2)."""
    position = 0
    while position + 12 <= len(table):
        (length,) = struct.unpack_from(order + "I", table, position)
        header = position + 4
        wide = length == 0xFFFF_FFFF
        if wide:
            (length,) = struct.unpack_from(order + "Q", table, header)
            header += 8
        end = min(header + length, len(table))
        if end - header < (12 if wide else 8):
            return
        _, unit = struct.unpack_from(order + ("HQ" if wide else "HI"), table, header)
        address_size = table[header + (10 if wide else 6)]
        if address_size not in (4, 8):
            return
        pair = struct.Struct(order + ("II" if address_size == 4 else "QQ"))
        start = header + (12 if wide else 8)
        at = position + -(-(start - position) // pair.size) * pair.size  # pairs are aligned to their own size
        while at + pair.size <= end:
            first, size = pair.unpack_from(table, at)
            at += pair.size
            if size:
                yield unit, first, size
        position = end


def _unit_rows(dwarf: Any, unit: Any, room: int) -> Iterator[LineRow]:  # noqa: ANN401 - pyelftools has no types
    start = unit.get_top_DIE().attributes.get("DW_AT_stmt_list")
    order = "<" if dwarf.config.little_endian else ">"
    if start is None or not tables_are_bounded(dwarf.debug_line_sec.stream.getvalue(), start.value, order):
        return
    program = dwarf.line_program_for_CU(unit)
    folder = unit.get_top_DIE().attributes.get("DW_AT_comp_dir")
    files = _FileNames(program, _text(folder.value) if folder else "")
    previous = None
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        if previous is not None and state.address > previous.address:
            if room <= 0:
                return
            room -= 1
            yield LineRow(previous.address, state.address, files.path(previous.file), previous.line)
        previous = None if state.end_sequence else state


class _FileNames:
    """File numbers of one line program to paths: 1-based with folder 0 the unit's own up to DWARF 4, 0-based in 5."""

    def __init__(self, program: Any, folder: str) -> None:  # noqa: ANN401 - pyelftools has no types
        header = program.header
        self._base = 0 if header.version >= 5 else 1
        folders = [_text(name) for name in header.include_directory]
        self._folders = folders if self._base == 0 else ["", *folders]
        self._files = header.file_entry
        self._folder = folder
        self._known: dict[int, str | None] = {}

    def path(self, number: int) -> str | None:
        """The path as the compiler saw it, absolute where the unit's folder is; None for a number out of range."""
        if number not in self._known:
            index = number - self._base
            self._known[number] = self._join(self._files[index]) if 0 <= index < len(self._files) else None
        return self._known[number]

    def _join(self, entry: Any) -> str:  # noqa: ANN401 - pyelftools has no types
        index = entry.dir_index or 0
        folder = self._folders[index] if 0 <= index < len(self._folders) else ""
        return posixpath.join(self._folder, folder, _text(entry.name))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
