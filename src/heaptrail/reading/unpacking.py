"""Gzip as it is met: several members in a row, and a file whose end is missing or damaged.

Python's own reader raises at the damage and loses what it had unpacked before it; a night's log that was cut short is
worth reading up to there.
"""

from __future__ import annotations

import zlib
from io import RawIOBase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

    from _typeshed import WriteableBuffer

_PACKED_BYTES = 64 * 1024
_GZIP = zlib.MAX_WBITS | 16
"""zlib's window size that also tells it to expect gzip's header and checksum."""


class Unpacker(RawIOBase):
    """The content of a gzip file, in constant memory.

    Attributes:
        damage: What is wrong with the file, None while nothing is. Reading ends there.
    """

    def __init__(self, packed: BufferedReader) -> None:
        super().__init__()
        self._packed = packed
        self._zlib = zlib.decompressobj(_GZIP)
        self._begun = self._ended = False
        self.damage: str | None = None

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Unpack as much as fits; 0 at the end, and at damage."""
        view = memoryview(buffer).cast("B")
        while not self._ended:
            packed = self._zlib.unconsumed_tail or self._more()
            try:
                data = self._zlib.decompress(packed, len(view))
            except zlib.error as error:
                self.damage, self._ended = f"the compressed file is damaged ({error})", True
                break
            if data:
                view[: len(data)] = data
                return len(data)
            if not packed:
                self._ended = True
                if self._begun and not self._zlib.eof:
                    self.damage = "the compressed file ends before its content does"
        return 0

    def _more(self) -> bytes:
        """The next packed bytes, of the next member where one has ended; empty at the end of the file."""
        if not self._zlib.eof:
            packed = self._packed.read(_PACKED_BYTES)
        else:
            padded = self._zlib.unused_data or self._packed.read(_PACKED_BYTES)
            packed = padded.lstrip(b"\0")  # members may be padded with zeros
            self._zlib, self._begun = zlib.decompressobj(_GZIP), False
        self._begun |= bool(packed)
        return packed
