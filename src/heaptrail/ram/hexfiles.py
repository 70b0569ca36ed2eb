"""Intel HEX and Motorola SREC: printable records of address and bytes.

Intel HEX as Intel's "Hexadecimal Object File Format Specification" (1988) has it: record types 00 data, 01 end,
02 and 04 base addresses, 03 and 05 start addresses. SREC: S1, S2, S3 data with 2, 3 and 4 bytes of address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heaptrail.errors import FormatError
from heaptrail.ram.memory import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRY_COPY = "the image written anew, or copied whole"
_SREC_ADDRESS_BYTES = {0x31: 2, 0x32: 3, 0x33: 4}  # "1", "2", "3"


def looks_like_ihex(data: bytes) -> bool:
    """Whether the first line is a record of Intel HEX."""
    first = data[: 2 * 256 + 16].split(b"\n", 1)[0].strip()
    return len(first) >= 11 and first[:1] == b":" and _is_hex(first[1:])


def looks_like_srec(data: bytes) -> bool:
    """Whether the first line is an S-record."""
    first = data[: 2 * 256 + 16].split(b"\n", 1)[0].strip()
    return len(first) >= 8 and first[:1] == b"S" and first[1:2].isdigit() and _is_hex(first[2:])


def _is_hex(text: bytes) -> bool:
    try:
        bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return False
    return True


def read_ihex(data: bytes, name: str) -> list[Piece]:
    """The bytes of an Intel HEX file, neighbours joined.

    Raises:
        FormatError: A record is broken, or the file is cut (its end record is missing).
    """
    joiner = _Joiner(name)
    base = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip()
        if not text:
            continue
        record = _record(text[1:], name, number) if text[:1] == b":" else None
        if record is None or len(record) < 5 or len(record) != record[0] + 5:
            raise _broken(name, number, "no record of Intel HEX")
        if sum(record) & 0xFF:
            raise _broken(name, number, "its checksum is wrong")
        kind, payload = record[3], record[4:-1]
        if kind == 0:
            joiner.add(base + int.from_bytes(record[1:3], "big"), payload)
        elif kind == 1:
            return joiner.pieces()
        elif kind in (2, 4) and len(payload) == 2:
            base = int.from_bytes(payload, "big") << (4 if kind == 2 else 16)
    raise FormatError(f"{name}: cut off: its end record is missing", try_this=_TRY_COPY)


def read_srec(data: bytes, name: str) -> list[Piece]:
    """The bytes of an SREC file, neighbours joined.

    Raises:
        FormatError: A record is broken, or the file is cut (no S7, S8 or S9 ends it).
    """
    joiner = _Joiner(name)
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.strip()
        if not text:
            continue
        record = _record(text[2:], name, number) if text[:1] == b"S" else None
        if record is None or len(record) < 3 or len(record) != record[0] + 1:
            raise _broken(name, number, "no S-record")
        if sum(record) & 0xFF != 0xFF:
            raise _broken(name, number, "its checksum is wrong")
        kind = text[1]
        if kind in b"789":
            return joiner.pieces()
        width = _SREC_ADDRESS_BYTES.get(kind)
        if width is not None:
            joiner.add(int.from_bytes(record[1 : 1 + width], "big"), record[1 + width : -1])
    raise FormatError(f"{name}: cut off: its end record is missing", try_this=_TRY_COPY)


def _record(digits: bytes, name: str, number: int) -> bytes:
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise _broken(name, number, "it has characters that are no hexadecimal digits") from None


def _broken(name: str, number: int, why: str) -> FormatError:
    return FormatError(f"{name}, line {number}: {why}", try_this=_TRY_COPY)


class _Joiner:
    """Joins records that follow each other into pieces."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs: list[tuple[int, bytearray]] = []

    def add(self, address: int, payload: bytes) -> None:
        if self._runs:
            start, run = self._runs[-1]
            if start + len(run) == address:
                run += payload
                return
        self._runs.append((address, bytearray(payload)))

    def pieces(self) -> list[Piece]:
        """All of them; records may be in any order, so neighbours are joined once more."""
        result: list[tuple[int, bytearray]] = []
        for address, run in _sorted(self._runs):
            if result and result[-1][0] + len(result[-1][1]) == address:
                result[-1][1].extend(run)
            else:
                result.append((address, run))
        if not result:
            raise FormatError(f"{self._name} holds no data record", try_this=_TRY_COPY)
        return [Piece(address, memoryview(run)) for address, run in result]


def _sorted(runs: Iterable[tuple[int, bytearray]]) -> list[tuple[int, bytearray]]:
    return sorted(runs, key=lambda run: run[0])
