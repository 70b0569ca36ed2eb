"""ESP-IDF's core dumps as flash or the console holds them: an ELF core in an envelope.

The envelope as components/espcoredump writes it: a head of three to six little-endian words (length, version, …), the
ELF core, and a CRC-32 or SHA-256 of all that. On a console it is Base64, between two lines that say CORE DUMP START and
CORE DUMP END. The ELF core carries a note with the SHA-256 of the program's ELF file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
import zlib
from typing import NamedTuple

from heaptrail.errors import FormatError


class _Version(NamedTuple):
    head_bytes: int
    sha256: bool


_VERSIONS = {
    0x100: _Version(20, sha256=False),
    0x101: _Version(20, sha256=True),
    0x102: _Version(24, sha256=False),
    0x103: _Version(24, sha256=True),
    0x104: _Version(12, sha256=True),
}
"""Versions whose content is ELF; the low half of the head's second word."""
_HEAD = struct.Struct("<II")
_START, _END = b"CORE DUMP START", b"CORE DUMP END"
_LINE = re.compile(rb"^(?:.*[^A-Za-z0-9+/=])?([A-Za-z0-9+/]{4,}={0,2})\s*$")
_TRY_WHOLE = "the dump copied whole (idf.py coredump-info --save-core writes a plain ELF core)"


def looks_like_esp(data: bytes) -> bool:
    """Whether this is such an envelope, or a log with one in it."""
    if _START in data:
        return True
    if len(data) < 32:
        return False
    _, version = _HEAD.unpack_from(data)
    known = _VERSIONS.get(version & 0xFFFF)
    return known is not None and data[known.head_bytes : known.head_bytes + 4] == b"\x7fELF"


def elf_core_in(data: bytes, name: str) -> bytes:
    """The ELF core in an envelope.

    Raises:
        FormatError: It is cut, damaged, or of the format before ELF, which holds no heap.
    """
    if _START in data:
        data = _from_log(data, name)
    if len(data) < 32:
        raise FormatError(f"{name}: cut off: {len(data)} bytes are no core dump", try_this=_TRY_WHOLE)
    length, number = _HEAD.unpack_from(data)
    version = _VERSIONS.get(number & 0xFFFF)
    if version is None:
        raise FormatError(
            f"{name}: a core dump of version {number & 0xFFFF:#x}, which is not ELF and holds no heap",
            try_this="CONFIG_ESP_COREDUMP_DATA_FORMAT_ELF and CONFIG_ESP_COREDUMP_CAPTURE_DRAM in the firmware",
        )
    if not version.head_bytes < length <= len(data):
        raise FormatError(
            f"{name}: cut off: its head says {length:,} bytes, there are {len(data):,}", try_this=_TRY_WHOLE
        )
    sum_bytes = 32 if version.sha256 else 4
    content, told = data[: length - sum_bytes], data[length - sum_bytes : length]
    if version.sha256:
        sound = hashlib.sha256(content).digest() == told
    else:
        sound = zlib.crc32(content) == int.from_bytes(told, "little")
    if not sound:
        raise FormatError(f"{name}: its checksum is wrong, it was damaged on the way", try_this=_TRY_WHOLE)
    return content[version.head_bytes :]


def _from_log(data: bytes, name: str) -> bytes:
    body, end, _ = data.partition(_START)[2].partition(_END)
    if not end:
        raise FormatError(f"{name}: cut off: the line {_END.decode()} is missing", try_this=_TRY_WHOLE)
    found = bytearray()
    for line in body.split(b"\n")[1:]:
        text = _LINE.match(line.strip())
        if text is None:
            continue
        try:
            found += base64.b64decode(text[1], validate=True)
        except binascii.Error:
            raise FormatError(f"{name}: a line of the dump is no Base64", try_this=_TRY_WHOLE) from None
    return bytes(found)
