"""The text of a console that an event stream shares, put together again (SPEC.md, "Stream on the console").

For people and procedures that talk to the console while frames pass. The stream itself is decoded from the same bytes,
untouched, by `heaptrail.wire.Decoder`.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

from heaptrail.wire.format import FRAME_BYTES, SHORTEST

_TEXT: Final = frozenset((*range(0x20, 0x7F), *b"\t\n\r\b\x1b"))
_CHECKSUM_START: Final = 0xFFFF


class TextBeside:
    """Feed it bytes as they come; it gives back the text among them.

    Attributes:
        frames: Frames that passed.
    """

    def __init__(self) -> None:
        self._piece = bytearray()
        self._shown = 0
        self.frames = 0

    def feed(self, data: bytes) -> bytes:
        """The text that is certain now: pieces that are no frame, and what is longer than one."""
        text = bytearray()
        *ended, rest = data.split(b"\0")
        for piece in ended:
            self._piece += piece
            if _is_frame(self._piece):
                self.frames += 1
            else:
                text += self._piece[self._shown :]
            self._piece.clear()
            self._shown = 0
        self._piece += rest
        if len(self._piece) >= FRAME_BYTES:
            text += self._piece[self._shown :]
            self._shown = len(self._piece)
        return bytes(text)

    def settle(self) -> bytes:
        """What stands there when the line is quiet, if it can be text: a prompt has nothing behind it.

        A frame that stopped half-way may look like text, too; then some of its bytes are shown as such.
        """
        if not all(byte in _TEXT for byte in self._piece):
            return b""
        text = bytes(self._piece[self._shown :])
        self._shown = len(self._piece)
        return text


def _is_frame(piece: bytes | bytearray) -> bool:
    if not SHORTEST <= len(piece) < FRAME_BYTES:
        return False
    key = piece[0]
    return crc_hqx(bytes(byte ^ key for byte in piece[1:]), _CHECKSUM_START) == 0
