"""The few rules of the protocol buffers wire format that writing a message needs.

Source: https://protobuf.dev/programming-guides/encoding/. A field is a tag (number and wire type), then a varint or
bytes with their length. Fields that hold their default (0, empty) are left out, as proto3 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARINT: Final = 0
_LENGTH: Final = 2
_INT64: Final = 1 << 63


class Message:
    """A message that grows field by field; `bytes(message)` is its encoding."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._parts)

    def number(self, field: int, value: int) -> None:
        """An int64, uint64 or bool; see `varint` for what does not fit."""
        if value:
            self._parts += varint(field << 3 | _VARINT)
            self._parts += varint(value)

    def data(self, field: int, value: bytes | Message) -> None:
        """Bytes, a string in UTF-8, or a message. Written even when empty: each stands for one entry."""
        content = bytes(value)
        self._parts += varint(field << 3 | _LENGTH)
        self._parts += varint(len(content))
        self._parts += content

    def packed(self, field: int, values: Iterable[int]) -> None:
        """A repeated number, packed."""
        content = b"".join(map(varint, values))
        if content:
            self.data(field, content)


def varint(value: int) -> bytes:
    """A number in groups of seven bits, least first; negative ones as 64-bit two's complement, beyond 64 bits cut."""
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    if value < 0:
        value = (max(value, -_INT64)) & ((1 << 64) - 1)
    value = min(value, (1 << 64) - 1)
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_ONE_BYTE: Final = [bytes([value]) for value in range(0x80)]
