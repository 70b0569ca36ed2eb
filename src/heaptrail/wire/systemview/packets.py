"""SystemView's packets, as SEGGER's target code encodes them and OpenOCD writes them to a `.svdat` file.

A file begins with lines that start with `;`, the last of which is a lone one, then ten zero bytes, then packets: an
event's number in one byte or two (seven bits each, least first, the top bit says that another follows), the payload's
length from event 24 on, the payload, and the ticks since the packet before. Numbers and lengths are coded like the
event's number, in up to five bytes; a string is its length and its bytes. Bit 6 of the last byte of an event's number
says core 1 (ESP chips). Layouts are those of SEGGER_SYSVIEW.c and of esp32_sysview.c in OpenOCD.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SYNC = bytes(10)
OVERFLOW, ISR_ENTER, ISR_EXIT, TASK_START_EXEC, TASK_STOP_EXEC = 1, 2, 3, 4, 5
TASK_STOP_READY, TASK_INFO, TRACE_START = 7, 9, 10
SYSDESC, MARK_START, MARK_STOP, IDLE, ISR_TO_SCHEDULER = 14, 15, 16, 17, 18
STACK_INFO, MODULEDESC, INIT, PRINT = 21, 22, 24, 26
FIRST_MODULE = 512
"""Events of modules, such as the heap's, are numbered from here."""
HEAP_MODULE = "Heap Tracing Module"
HEAP_EVENTS = 2
"""An allocation and a free, in this order, from the module's offset on."""

_WITH_LENGTH = 24
# For events below 24: how many numbers, and whether a string follows them.
_LAYOUTS: dict[int, tuple[int, bool]] = {
    0: (0, False),
    OVERFLOW: (1, False),
    ISR_ENTER: (1, False),
    ISR_EXIT: (0, False),
    TASK_START_EXEC: (1, False),
    TASK_STOP_EXEC: (0, False),
    6: (1, False),
    TASK_STOP_READY: (2, False),
    8: (1, False),
    TASK_INFO: (2, True),
    TRACE_START: (0, False),
    11: (0, False),
    12: (1, False),
    13: (2, False),
    SYSDESC: (0, True),
    MARK_START: (1, False),
    MARK_STOP: (1, False),
    IDLE: (0, False),
    ISR_TO_SCHEDULER: (0, False),
    19: (1, False),
    20: (0, False),
    STACK_INFO: (4, False),
    MODULEDESC: (2, True),
    23: (2, False),
}
_LONGEST_PAYLOAD = 1024
"""SEGGER's code makes no packet longer than some 300 bytes; more is damage."""
_LONGEST_TAIL = 320
_AGREEING = 12
"""So many packets in a row that make sense show that reading is in step again."""
_FREERTOS_EVENTS = 256
_OFFSET = re.compile(rb"^; Offset Core(\d) (\d{1,12})\s*$", re.MULTILINE)
_HEADER_BYTES = 4096


class Packet(NamedTuple):
    """One packet; `ticks` counts from the start of its file's part, `at` is its place in the file.

    `values` are the numbers of its payload, of a heap event the address, the size (allocations only) and the callers.
    """

    core: int
    id: int
    ticks: int
    at: int
    values: tuple[int, ...] = ()
    text: str = ""


class Part(NamedTuple):
    """A stretch of a file with a clock of its own: one core's, or all cores' together."""

    core: int
    start: int
    end: int


class Damage(NamedTuple):
    """Bytes that are no packets. `cut` is the torn packet at the end of a file, which is no surprise."""

    at: int
    size: int
    cut: bool = False


def looks_like_recording(head: bytes) -> bool:
    """Whether a file that begins like this is a SystemView recording; some 200 bytes are enough."""
    if head.startswith(b";"):
        return b"SEGGER SystemView" in head[:_HEADER_BYTES].split(SYNC)[0]
    return head.startswith(SYNC) and head.lstrip(b"\0")[:1] in (b"\x0a", b"\x4a")


def parts_of(data: bytes, core: int) -> list[Part]:
    """The parts of a file; `core` is the core of a file that holds one core only."""
    sync = max(data.find(SYNC), 0)
    offsets = {int(number): int(at) for number, at in _OFFSET.findall(data[: min(sync, _HEADER_BYTES)])}
    if len(offsets) < 2:
        return [Part(core, sync, len(data))]
    starts = sorted((min(sync + at, len(data)), number) for number, at in offsets.items())
    ends = [*(start for start, _ in starts[1:]), len(data)]
    return [Part(number, start, end) for (start, number), end in zip(starts, ends, strict=True)]


class Broken(Exception):  # noqa: N818 - not an error of the user's: it ends one attempt to read a packet
    """What stands here is no packet."""


class PartReader:
    """Reads the packets of one part.

    Attributes:
        damage: What could not be read, in order.
        heap_offset: Number of the heap module's first event, as the recording says it; None before it does.
        modules: Whether any module was described.
    """

    def __init__(self, data: bytes, part: Part) -> None:
        self._data = data[part.start : part.end]
        self._part = part
        self.damage: list[Damage] = []
        self.heap_offset: int | None = None
        self.modules = False

    def __iter__(self) -> Iterator[Packet]:
        data, at, ticks = self._data, 0, 0
        end = len(data)
        while at < end and data[at] == 0:
            at += 1
        while at < end:
            try:
                packet, after = self._packet(at, ticks)
            except (IndexError, Broken) as error:
                if isinstance(error, IndexError) and end - at <= _LONGEST_TAIL:
                    self._note(at, end - at, cut=True)
                    return
                found = self._in_step(at + 1)
                self._note(at, found - at)
                at = found
                continue
            at, ticks = after, packet.ticks
            if packet.id == MODULEDESC:
                self.modules = True
                if HEAP_MODULE in packet.text and packet.values[1] >= FIRST_MODULE:
                    self.heap_offset = packet.values[1]
            if packet.id == TRACE_START:
                ticks = 0  # its own ticks are the device's clock at that moment
            yield packet

    def _note(self, at: int, size: int, *, cut: bool = False) -> None:
        self.damage.append(Damage(self._part.start + at, size, cut))

    def _packet(self, at: int, ticks: int) -> tuple[Packet, int]:
        data, begin = self._data, at
        core = self._part.core
        number = data[at]
        at += 1
        if number & 0x80:
            high = data[at]
            at += 1
            if high & 0x80:
                raise Broken
            number = number & 0x7F | (high & 0x3F) << 7
            core = 1 if high & 0x40 else core
        elif number & 0x40:
            number, core = number & 0x3F, 1
        values: tuple[int, ...] = ()
        text = ""
        if number < _WITH_LENGTH:
            count, has_text = _LAYOUTS[number]
            values, at = self._numbers(at, count)
            if has_text:
                text, at = self._string(at, len(data))
        else:
            length, at = self._length(at)
            after = at + length
            if after > len(data):
                raise IndexError
            values, text = self._payload(number, at, after)
            at = after
        delta, at = self._number(at)
        return Packet(core, number, ticks + delta, self._part.start + begin, values, text), at

    def _payload(self, number: int, at: int, after: int) -> tuple[tuple[int, ...], str]:
        offset = self.heap_offset
        if offset is None and not self.modules:
            offset = FIRST_MODULE  # the recording began before its modules were described
        if offset is not None and offset <= number < offset + HEAP_EVENTS:
            values = []
            while at < after:
                value, at = self._number(at)
                values.append(value)
            if at != after or len(values) < 2 - (number - offset):
                raise Broken
            return tuple(values), ""
        if number == INIT:
            return self._numbers(at, 4)[0], ""
        if number == PRINT:
            return (), self._string(at, after)[0]
        return (), ""

    def _length(self, at: int) -> tuple[int, int]:
        low = self._data[at]
        if low < 0x80:
            return low, at + 1
        length = low & 0x7F | self._data[at + 1] << 7
        if length > _LONGEST_PAYLOAD:
            raise Broken
        return length, at + 2

    def _number(self, at: int) -> tuple[int, int]:
        data = self._data
        value = data[at]
        at += 1
        if value < 0x80:
            return value, at
        value &= 0x7F
        for shift in (7, 14, 21, 28):
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF, at
        raise Broken

    def _numbers(self, at: int, count: int) -> tuple[tuple[int, ...], int]:
        values = []
        for _ in range(count):
            value, at = self._number(at)
            values.append(value)
        return tuple(values), at

    def _string(self, at: int, end: int) -> tuple[str, int]:
        length = self._data[at]
        at += 1
        if length == 0xFF:
            length = self._data[at] | self._data[at + 1] << 8
            at += 2
        if length > _LONGEST_PAYLOAD:
            raise Broken
        after = min(at + length, end)
        if after < at + length and end == len(self._data):
            raise IndexError
        return self._data[at:after].decode("utf-8", "replace"), after

    def _in_step(self, at: int) -> int:
        """The next place from which packets make sense again, else the end."""
        end = len(self._data)
        while at < end and not self._sensible(at):
            at += 1
        return at

    def _sensible(self, at: int) -> bool:
        end = len(self._data)
        for _ in range(_AGREEING):
            if at == end:
                return True
            try:
                packet, at = self._packet(at, 0)
            except (IndexError, Broken):
                return False
            known = packet.id < _FREERTOS_EVENTS or packet.id == (self.heap_offset or FIRST_MODULE)
            if packet.id == 0 or not (known or packet.id - 1 == (self.heap_offset or FIRST_MODULE)):
                return False
        return True
