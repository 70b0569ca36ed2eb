"""Compressed logs as they are met: gzip or zstd, several pieces in a row, and a file whose end is missing or damaged.

Python's own readers raise at the damage and lose what they had unpacked before it; a night's log that was cut short is
worth reading up to there. The only importer of zstd, which is part of Python from 3.14 on.
"""

from __future__ import annotations

import sys
import zlib
from io import RawIOBase
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from io import BufferedReader

    from _typeshed import WriteableBuffer

_PACKED_BYTES = 64 * 1024
_GZIP = zlib.MAX_WBITS | 16
"""zlib's window size that also tells it to expect gzip's header and checksum."""
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 4


class _Piece(Protocol):
    """One gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def hungry(self) -> bool:
        """Whether it has given out all that it was fed."""
        ...

    def unpack(self, packed: bytes, most_bytes: int) -> bytes:
        """Up to so many bytes; `packed` is empty while it is not hungry. Raises ValueError at damage."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def hungry(self) -> bool:
        return not self._zlib.unconsumed_tail

    def unpack(self, packed: bytes, most_bytes: int) -> bytes:
        try:
            return self._zlib.decompress(packed or self._zlib.unconsumed_tail, most_bytes)
        except zlib.error as error:
            raise ValueError(str(error)) from error


class _Zstd:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - only a zstd file pays for it
        else:
            from backports import zstd  # noqa: PLC0415 - as above
        self._error: type[Exception] = zstd.ZstdError
        self._zstd: Any = zstd.ZstdDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._zstd.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._zstd.unused_data)

    def hungry(self) -> bool:
        return bool(self._zstd.needs_input)

    def unpack(self, packed: bytes, most_bytes: int) -> bytes:
        try:
            data: bytes = self._zstd.decompress(packed, most_bytes)
        except self._error as error:
            raise ValueError(str(error)) from error
        return data


def is_packed(head: bytes) -> bool:
    """Whether a file that begins like this is one that `Unpacker` takes; four bytes are enough."""
    return head.startswith((GZIP_MAGIC, ZSTD_MAGIC))


class Unpacker(RawIOBase):
    """The content of a compressed file, in constant memory.

    Attributes:
        damage: What is wrong with the file, None while nothing is. Reading ends there.
    """

    def __init__(self, packed: BufferedReader) -> None:
        super().__init__()
        self._packed = packed
        self._zstd = packed.peek(_MAGIC_BYTES).startswith(ZSTD_MAGIC)
        self._piece = self._new()
        self._begun = self._ended = False
        self.damage: str | None = None

    def _new(self) -> _Piece:
        return _Zstd() if self._zstd else _Gzip()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Unpack as much as fits; 0 at the end, and at damage."""
        view = memoryview(buffer).cast("B")
        while not self._ended:
            packed = self._more() if self._piece.eof or self._piece.hungry() else b""
            try:
                data = self._piece.unpack(packed, len(view))
            except ValueError as error:
                self.damage, self._ended = f"the compressed file is damaged ({error})", True
                break
            if data:
                view[: len(data)] = data
                return len(data)
            if not packed and self._piece.hungry():
                self._ended = True
                if self._begun and not self._piece.eof:
                    self.damage = "the compressed file ends before its content does"
        return 0

    def _more(self) -> bytes:
        """The next packed bytes, of the next piece where one has ended; empty at the end of the file."""
        if not self._piece.eof:
            packed = self._packed.read(_PACKED_BYTES)
        else:
            padded = self._piece.unused_data or self._packed.read(_PACKED_BYTES)
            packed = padded if self._zstd else padded.lstrip(b"\0")  # gzip's members may be padded with zeros
            self._piece, self._begun = self._new(), False
        self._begun |= bool(packed)
        return packed
