"""Frames that define: the device and its clock, stacks, tasks. They are few, so each is read byte by byte.

A damaged definition that passed its checksum by chance is dropped whole: nothing is kept of a frame that does not end
where its entries end.
"""

from __future__ import annotations

from typing import NamedTuple

from heaptrail.model.observations import RawFrame
from heaptrail.model.stream import StackDefinition, TaskDefinition
from heaptrail.wire.format import CUT

_MOST_SHIFT = 63
_WORD = (1 << 64) - 1


class Hello(NamedTuple):
    """The device: `event` is the number that its next events frame begins with."""

    event: int
    pointer_bytes: int
    ticks_per_s: int
    dropped: int
    build_id: str | None


class _Torn(Exception):  # noqa: N818 - never leaves this module
    """An entry that does not end inside its frame."""


class _Bytes:
    """A frame's payload, read from front to back."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 1  # behind the frame's first byte

    @property
    def left(self) -> int:
        return len(self._payload) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _Torn
        taken = self._payload[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _WORD
            shift += 7
            if shift > _MOST_SHIFT:
                raise _Torn


def read_hello(payload: bytes) -> Hello | None:
    """None for a frame that does not hold together. Bytes behind the build id are a later version's: ignored."""
    data = _Bytes(payload)
    try:
        event, pointer_bytes, ticks, dropped = data.number(4), data.number(1), data.number(4), data.number(4)
        build_id = data.take(data.number(1)).hex()
    except _Torn:
        return None
    return Hello(event, pointer_bytes, ticks, dropped, build_id or None)


def read_stacks(payload: bytes) -> dict[int, StackDefinition] | None:
    """Stacks by number; None for a frame that does not hold together."""
    data = _Bytes(payload)
    found: dict[int, StackDefinition] = {}
    try:
        while data.left:
            number, task, size, depth = data.number(2), data.number(1), data.varint(), data.number(1)
            pc = 0
            frames = []
            for _ in range(depth & ~CUT):
                step = data.varint()
                pc = (pc + (~(step >> 1) if step & 1 else step >> 1)) & _WORD
                frames.append(RawFrame(pc, "call"))
            found[number] = StackDefinition(tuple(frames), size, task, bool(depth & CUT))
    except _Torn:
        return None
    return found


def read_tasks(payload: bytes) -> dict[int, TaskDefinition] | None:
    """Tasks by number; None for a frame that does not hold together."""
    data = _Bytes(payload)
    found: dict[int, TaskDefinition] = {}
    try:
        while data.left:
            number, system_id = data.number(1), data.number(4)
            name = data.take(data.number(1)).decode("utf-8", "replace")
            found[number] = TaskDefinition(name, system_id)
    except _Torn:
        return None
    return found
