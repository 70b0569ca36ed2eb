"""Whether the tables of folders and files in a DWARF 5 line program's header are as long as they claim.

pyelftools makes as many entries as the header's counts say. An entry of no bytes (no fields, or fields of a form
without a body) never meets the end of the section, so one wrong byte can cost all memory. This walks the tables first.
"""

from __future__ import annotations

import struct

_FIXED_BYTES = {0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x1E: 16}  # DW_FORM_data2, data4, data8, data1, data16
_STRING, _UDATA, _BLOCK = 0x08, 0x0F, 0x09
_OFFSETS = (0x0E, 0x1F)  # DW_FORM_strp, line_strp
_MAX_FILES = 1 << 20


def tables_are_bounded(section: bytes, offset: int, order: str) -> bool:
    """Whether the header at `offset` can be parsed in time and memory bounded by the section's size.

    Args:
        section: The bytes of .debug_line.
        offset: Where the line program starts.
        order: Byte order as `struct` writes it.
    """
    try:
        return _walk(section, offset, order)
    except (IndexError, struct.error, ValueError):
        return False


def _walk(section: bytes, offset: int, order: str) -> bool:
    wide = section[offset : offset + 4] == b"\xff\xff\xff\xff"
    at = offset + (12 if wide else 4)
    (version,) = struct.unpack_from(order + "H", section, at)
    if version < 5:
        return True  # lists that end with an empty name, or with the section
    # version, address and selector size, header length, then five bytes up to line_range, and opcode_base
    at += 4 + (8 if wide else 4) + 5
    at += section[at]  # opcode_base, and one length for each opcode below it
    for _ in ("folders", "files"):
        forms, at = _forms(section, at)
        count, at = _uleb(section, at)
        if count > min(len(section), _MAX_FILES) or (count and not forms):
            return False
        for _ in range(count):
            start = at
            for form in forms:
                at = _behind(section, at, form, wide=wide)
            if at == start:
                return False
    return at <= len(section)


def _forms(section: bytes, at: int) -> tuple[list[int], int]:
    forms = []
    fields = section[at]
    at += 1
    for _ in range(fields):
        _, at = _uleb(section, at)
        form, at = _uleb(section, at)
        forms.append(form)
    return forms, at


def _behind(section: bytes, at: int, form: int, *, wide: bool) -> int:
    """The place behind a field of this form. Raises ValueError for a form that no line table uses."""
    if form in _OFFSETS:
        return at + (8 if wide else 4)
    if form == _STRING:
        return section.index(b"\0", at) + 1
    if form == _UDATA:
        return _uleb(section, at)[1]
    if form == _BLOCK:
        length, at = _uleb(section, at)
        return at + length
    if form not in _FIXED_BYTES:
        raise ValueError(form)
    return at + _FIXED_BYTES[form]


def _uleb(section: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the place behind it."""
    value = shift = 0
    while section[at] & 0x80 and shift < 70:
        value |= (section[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | (section[at] & 0x7F) << shift, at + 1
