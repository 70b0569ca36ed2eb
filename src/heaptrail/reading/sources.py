"""Opens a log and hands it out in blocks of whole lines, in bounded memory.

A capture's output events are joined again, with the time of each line's first byte; a plain log is read as it is.
Either may be compressed, and a capture may go on in another file.
"""

from __future__ import annotations

import codecs
from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heaptrail.capture import CaptureHeader, CaptureReader, looks_like_capture, parse_mark, read_capture
from heaptrail.reading.opening import Opened, open_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from heaptrail.limits import Limits

BLOCK_BYTES = 512 << 10
"""What lies in a processor's cache while it is searched; larger blocks are no faster."""


_LINE_END = ord("\n")
_FEW_BYTES = 2048


class Chunk(NamedTuple):
    """Some whole lines; only the last chunk of a log may end without a line end.

    `offsets` and `times_s` say from which byte on which time holds; both are empty in a plain log.
    """

    data: bytes
    offsets: tuple[int, ...] = ()
    times_s: tuple[float, ...] = ()
    cut_line: bool = False

    def line_ends(self, start: int, stop: int) -> int:
        """How many lines end between two places."""
        if stop - start < _FEW_BYTES:
            return self.data.count(b"\n", start, stop)
        # numpy counts many at once, bytes.count one after the other
        return int(np.count_nonzero(np.frombuffer(self.data, np.uint8, stop - start, start) == _LINE_END))

    def time_at(self, offset: int) -> float | None:
        """Seconds at that byte, None in a plain log."""
        return self.times_s[max(0, bisect_right(self.offsets, offset) - 1)] if self.times_s else None


class Marker(NamedTuple):
    """A marker in a capture: `what` and `label` as in `heaptrail.model.observations.Mark`."""

    what: Literal["boot", "cycle", "step"]
    label: str
    t_s: float


class Source:
    """A log that is being read.

    Attributes:
        name: File name without its folder, `standard input` for `-`.
        header: What a capture says of itself, None for a plain log.
        total_bytes: Size of the file, None where unknown.
        bytes_read: So far, as unpacked.
        goes_on: Another part of the run follows, so the last line may continue there.
        damage: Why a compressed file could be unpacked in part only, or None. Known at the end.
    """

    def __init__(self, opened: Opened, limits: Limits) -> None:
        self.name = opened.name
        self.goes_on = False
        self.total_bytes = opened.total_bytes
        self.bytes_read = 0
        self.header: CaptureHeader | None = None
        self.events: CaptureReader | None = None
        self._stream = opened.stream
        self._unpacker = opened.unpacker
        self._lines = _Lines(limits.line_bytes)
        if looks_like_capture(opened.head):
            self.header, self.events = read_capture(self._stream, limits, name=self.name)

    @property
    def damage(self) -> str | None:
        """See the class."""
        return None if self._unpacker is None else self._unpacker.damage

    def __iter__(self) -> Iterator[Chunk | Marker]:
        return self._text() if self.events is None else self._capture(self.events)

    def go_on_from(self, earlier: Source) -> None:
        """Take over the line that the part before left open, unless its recorder was killed over it."""
        if self.header is not None and not self.header.resumed:
            self._lines = earlier._lines

    def _text(self) -> Iterator[Chunk]:
        lines = self._lines
        for data in _utf8(self._blocks()):
            if (ready := lines.add(data)) is not None:
                yield ready
        if (rest := lines.rest()) is not None:
            yield rest

    def _blocks(self) -> Iterator[bytes]:
        while block := self._stream.read1(BLOCK_BYTES):
            self.bytes_read += len(block)
            yield block

    def _capture(self, events: CaptureReader) -> Iterator[Chunk | Marker]:
        lines = self._lines
        zero_s = self.header.offset_s or 0.0 if self.header is not None else 0.0
        for event in events:
            self.bytes_read = events.bytes_read
            if event.kind == "o":
                lines.note_time(zero_s + event.t_s)
                if (ready := lines.add(event.data, hold=True)) is not None:
                    yield ready
            elif event.kind == "m" and (mark := parse_mark(event.text)) is not None:
                if (ready := lines.add(b"")) is not None:
                    yield ready
                yield Marker(*mark, zero_s + event.t_s)
        self.bytes_read = events.bytes_read
        if (ready := lines.add(b"")) is not None:
            yield ready
        if not self.goes_on and (rest := lines.rest()) is not None:
            yield rest._replace(cut_line=False)  # the last line of a capture is a prompt that waits


class _Lines:
    """Cuts what arrives at line ends. The start of a line without an end is kept, up to the limit of a line."""

    def __init__(self, line_bytes: int) -> None:
        self._keep_bytes = line_bytes + 1  # one more, so that the reader of the line sees that it is too long
        self._parts: list[bytes] = []
        self._size = 0
        self._offsets: list[int] = []
        self._times_s: list[float] = []

    def note_time(self, t_s: float) -> None:
        """What is added from here on came at that time."""
        self._offsets.append(self._size)
        self._times_s.append(t_s)

    def add(self, data: bytes, *, hold: bool = False) -> Chunk | None:
        """Take more bytes; the whole lines so far, unless `hold` asks to wait until there is a block of them."""
        self._parts.append(data)
        self._size += len(data)
        if hold and self._size < BLOCK_BYTES:
            return None
        cut = data.rfind(b"\n") + 1
        if cut:  # one copy: a block is long, and a log has many
            whole = b"".join([*self._parts[:-1], memoryview(data)[:cut]])
            rest = data[cut : cut + self._keep_bytes]
        else:
            joined = b"".join(self._parts)
            end = joined.rfind(b"\n") + 1
            whole, rest = joined[:end], joined[end : end + self._keep_bytes]
        cut = len(whole)
        self._parts, self._size = [rest], len(rest)
        chunk = Chunk(whole, tuple(self._offsets), tuple(self._times_s))
        if self._times_s:
            first = max(0, bisect_right(self._offsets, cut) - 1)
            self._offsets = [max(0, offset - cut) for offset in self._offsets[first:]]
            self._times_s = self._times_s[first:]
        return chunk if cut else None

    def rest(self) -> Chunk | None:
        """The last line, where the log does not end with a line end."""
        data = b"".join(self._parts)
        return Chunk(data, tuple(self._offsets), tuple(self._times_s), cut_line=True) if data else None


def _utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Undo what some recorders do to a whole log: UTF-16 (PowerShell's `>`), bare carriage returns as line ends."""
    first = next(blocks, b"")
    decoder = None
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        first = decoder.decode(first).encode("utf-8", "replace")
    bare_returns = b"\n" not in first and first.count(b"\r") > 1
    yield first.replace(b"\r", b"\n") if bare_returns else first
    for block in blocks:
        data = block if decoder is None else decoder.decode(block).encode("utf-8", "replace")
        yield data.replace(b"\r", b"\n") if bare_returns else data


@contextmanager
def open_source(path: Path, limits: Limits) -> Iterator[Source]:
    """Open a log for reading; `-` is standard input. Raises as `open_input` does."""
    with open_input(path) as opened:
        yield Source(opened, limits)
