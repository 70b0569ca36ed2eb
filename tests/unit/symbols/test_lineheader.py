"""A line table's header that lies about its tables must not cost all memory."""

from __future__ import annotations

import struct

import pytest

from heaptrail.symbols.lineheader import tables_are_bounded

STRING, UDATA, FLAG_PRESENT = 0x08, 0x0F, 0x19


def _header(folders: bytes, files: bytes, version: int = 5) -> bytes:
    body = struct.pack("<HBBI", version, 8, 0, 100) + bytes([1, 1, 1, 0xFB, 14, 4]) + bytes(3) + folders + files
    return struct.pack("<I", len(body)) + body


GOOD_FOLDERS = bytes([1, 1, STRING, 1]) + b"src\0"
GOOD_FILES = bytes([2, 1, STRING, 2, UDATA, 2]) + b"a.c\0\0" + b"b.c\0\0"


def test_a_header_that_tells_the_truth_is_read() -> None:
    assert tables_are_bounded(_header(GOOD_FOLDERS, GOOD_FILES), 0, "<")
    assert tables_are_bounded(_header(b"", b"", version=4), 0, "<"), "older headers have no counts"


@pytest.mark.parametrize(
    ("lie", "files"),
    [
        ("no fields, a billion files", bytes([0, 0x80, 0x94, 0xEB, 0xDC, 0x03])),
        ("fields without a body, a million files", bytes([1, 1, FLAG_PRESENT, 0x80, 0x89, 0x3D])),
        ("more files than bytes", bytes([1, 1, STRING, 0xFF, 0x7F]) + b"a.c\0"),
        ("a block that ends behind the section", bytes([1, 1, 0x09, 1, 0xFF, 0x7F])),
        ("cut off in the formats", bytes([9, 1])),
        ("a number that never ends", bytes([1, 1, STRING]) + b"\xff" * 40),
    ],
)
def test_a_header_that_lies_is_refused(lie: str, files: bytes) -> None:
    assert not tables_are_bounded(_header(GOOD_FOLDERS, files), 0, "<"), lie


def test_an_offset_behind_the_section_is_refused() -> None:
    assert not tables_are_bounded(_header(GOOD_FOLDERS, GOOD_FILES), 10_000, "<")
