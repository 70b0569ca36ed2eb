"""The capture format: the console, byte for byte, with times. Everything else is computed from it.

A capture is an asciicast v2 file (docs.asciinema.org, "asciicast v2"), so `asciinema play` shows it: a JSON header on
the first line, then one event a line, `[seconds, code, text]`, with code `o` for output of the device, `i` for what was
sent to it and `m` for markers. Our own facts stand in the header under `heaptrail` (SPEC.md, "Capture").

Bytes that are no UTF-8 are kept with Python's surrogateescape: byte 0xE9 becomes the escape "udce9" in the JSON. The
file itself is plain ASCII. One event is one write to the file, so whatever kills the writer leaves whole events and at
most one cut line.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import os
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec

from heaptrail.errors import FormatError, HeaptrailError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.verdict import JudgeSettings
from heaptrail.version import __version__

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from heaptrail.clock import Clock
    from heaptrail.limits import Limits

EventKind = Literal["o", "i", "m"]
MarkWhat = Literal["boot", "cycle", "step"]

SCHEMA = 1
"""Version of the keys under `heaptrail`. A higher one is refused; unknown keys of the same version are ignored."""

HOLD_S = 0.2
"""How long the first bytes of a cut UTF-8 character wait for the rest before they are written as they are. A read ends
in mid-character often, a device stops in mid-character hardly ever."""

MAX_EVENT_LINE_BYTES = 8 << 20
"""A longer line is no event that any recorder writes. It is skipped and counted, never held in memory."""

_OUTPUT_CHUNK_BYTES = 64 * 1024
"""Output goes to the file in pieces of at most this many bytes, which is far below `MAX_EVENT_LINE_BYTES`."""

MAX_TIME_S = 1e10
"""Three hundred years; a later time, or no number at all, is damage."""

_HEADER_PEEK_BYTES = 4096
_VERSION_1 = re.compile(rb'"version"\s*:\s*1\b')


class CaptureHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a capture says of itself. In a file that heaptrail did not write all but the start is None.

    Args:
        heaptrail_version: The version that recorded it; None marks a foreign asciicast.
        target: The console as the user named it, such as `/dev/ttyUSB0` or `exec:./prog`.
        dialect: Name of the dialect that drove the device, or None.
        prompt: Regular expression of the console's prompt.
        cycle_mark, boot_mark: Regular expressions of the firmware's own lines that end a cycle or begin a boot.
        pattern, columns, wrappers: The user's own lines (dialects `regex`, `csv`), and functions that name no site.
        warmup_cycles: Cycles at the start of each boot that prove nothing.
        judge: The terms of the workload file, so that reading the capture gives the report that the hunt gave.
        build_id: Of the ELF that the user named when it was recorded, as hex.
        started_unix_s: Wall clock at the first event, seconds since 1970 UTC; the key is `started`.
        run: Names the run of which this file is a part (see `heaptrail.parts`); None for a capture in one file.
        part: Number of the part, from 1.
        offset_s: Seconds from the run's start to this file's zero.
        resumed: Another process goes on here with the run; None where the same one wrote the part before.
    """

    heaptrail_version: str | None = msgspec.field(default=None, name="version")
    target: str | None = None
    dialect: str | None = None
    prompt: str | None = None
    cycle_mark: str | None = None
    boot_mark: str | None = None
    pattern: str | None = None
    columns: tuple[str, ...] | None = None
    wrappers: tuple[str, ...] | None = None
    warmup_cycles: Annotated[int, msgspec.Meta(ge=0)] | None = None
    judge: JudgeSettings | None = None
    build_id: str | None = None
    started_unix_s: float | None = msgspec.field(default=None, name="started")
    run: str | None = None
    part: Annotated[int, msgspec.Meta(ge=1)] | None = None
    offset_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_TIME_S)] | None = None
    resumed: bool | None = None


class CaptureEvent(msgspec.Struct, frozen=True):
    """One event: `kind` is `o` (output), `i` (input) or `m` (marker), `t_s` seconds since the capture's start."""

    t_s: float
    kind: EventKind
    text: str

    @property
    def data(self) -> bytes:
        """The bytes that passed over the line."""
        return self.text.encode("utf-8", "surrogateescape")


def format_mark(what: MarkWhat, label: str = "") -> str:
    """The label of a marker event: `cycle`, `boot`, `step: tracer on`."""
    return f"{what}: {label}" if label else what


def parse_mark(text: str) -> tuple[MarkWhat, str] | None:
    """The inverse of `format_mark`; None for a marker that somebody set for another purpose."""
    what, _, label = text.partition(":")
    for known in ("boot", "cycle", "step"):
        if what.strip() == known:
            return known, label.strip()
    return None


def looks_like_capture(head: bytes) -> bool:
    """Whether a file that begins with `head` is an asciicast of any version, rather than a plain log."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"version"' in head[:_HEADER_PEEK_BYTES]


class CaptureWriter:
    """Writes a capture as it happens. Use as a context manager, or call `close`.

    Args:
        path: File to write; an older one of that name is replaced by the first event, not by a run that sees none.
        header: What the capture says of itself; `heaptrail_version` is filled in.
        clock: Its time at this moment is the capture's zero.

    Raises:
        HeaptrailError: The file cannot be written (from here, and from every method that writes). What was written
            before stays valid.
    """

    def __init__(self, path: Path, header: CaptureHeader, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._zero_s = clock.monotonic()
        self._last_s = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._held_since_s: float | None = None
        self._size = 0
        self.begun = False  # whether there was an event
        self._header: str | None = _header_json(header)
        try:
            self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._cannot(error) from error
        try:
            if os.fstat(self._fd).st_size == 0:
                self._begin()
        except HeaptrailError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return self._size

    def output(self, data: bytes) -> None:
        """Record what the device sent.

        Call it after every read, with nothing when the line was quiet: the start of a cut character is kept back for
        `HOLD_S` at most, and this is when that is noticed.
        """
        for start in range(0, len(data), _OUTPUT_CHUNK_BYTES):
            text = self._decoder.decode(data[start : start + _OUTPUT_CHUNK_BYTES])
            if text:
                self._event("o", text)
        holding = bool(self._decoder.getstate()[0])
        now_s = self._clock.monotonic()
        if not holding:
            self._held_since_s = None
        elif data or self._held_since_s is None:
            self._held_since_s = now_s
        elif now_s - self._held_since_s >= HOLD_S:
            self._release()

    def input(self, data: bytes) -> None:
        """Record what was sent to the device."""
        self._release()
        if data:
            self._event("i", data.decode("utf-8", "surrogateescape"))

    def mark(self, what: MarkWhat, label: str = "") -> None:
        """Record a moment: the end of a cycle, a reset, or a step of a procedure.

        The step labels that reading understands are those of `heaptrail.model.observations.Mark`.
        """
        self._release()
        self._event("m", format_mark(what, label))

    def close(self) -> None:
        """Write what is held back and close the file; may be called twice, and never raises."""
        if self._fd is None:
            return
        with contextlib.suppress(HeaptrailError):
            self._release()
        fd, self._fd = self._fd, None
        with contextlib.suppress(OSError):
            os.close(fd)

    def _release(self) -> None:
        """Write the bytes of a character that was never completed."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._held_since_s = None
        if text:
            self._event("o", text)

    def _begin(self) -> None:
        """Write the header, in place of what the file held."""
        if self._header is not None and self._fd is not None:
            header, self._header = self._header, None
            with contextlib.suppress(OSError):  # a pipe cannot be cut
                os.ftruncate(self._fd, 0)
            self._write_line(header)

    def _event(self, kind: EventKind, text: str) -> None:
        self._begin()
        self._last_s = max(self._last_s, self._clock.monotonic() - self._zero_s)
        self.begun = True
        self._write_line(f'[{self._last_s:.6f}, "{kind}", {json.dumps(text)}]')

    def _write_line(self, line: str) -> None:
        """One line in one write. A write that fits only in part is taken back, so the file ends with a whole event."""
        if self._fd is None:
            raise HeaptrailError(f"{self.path}: the capture is closed already", try_this="report this as a bug")
        data = line.encode("ascii") + b"\n"
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise self._cannot(error) from error
        if written == len(data):
            self._size += written
            return
        with contextlib.suppress(OSError):  # a pipe cannot be cut, and its reader sees the partial line as cut
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
        raise self._cannot(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _cannot(self, error: OSError) -> HeaptrailError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return HeaptrailError(
                f"{self.path}: the disk is full ({error.strerror}) after {self._size:,} bytes of capture",
                try_this="make room; what was recorded up to here is a valid capture, `heaptrail read` takes it",
            )
        return HeaptrailError(
            f"{self.path}: cannot write the capture: {error.strerror}",
            try_this="name a file in a folder that exists and that you may write to, with --output",
        )


def _header_json(header: CaptureHeader) -> str:
    # The terminal's size is obligatory in asciicast and means nothing for a serial console.
    top: dict[str, object] = {"version": 2, "width": 120, "height": 40}
    if header.started_unix_s is not None:
        top["timestamp"] = int(header.started_unix_s)
    if header.target is not None:
        top["title"] = f"heaptrail: {header.target}"
    own = {key: value for key, value in msgspec.to_builtins(header).items() if value is not None}
    return json.dumps({**top, "heaptrail": {"schema": SCHEMA, **own, "version": __version__}})


class CaptureReader:
    """The events of a capture, one at a time, in constant memory. Iterate once.

    Attributes:
        line: Number of the file's line read last, 1-based; the header is line 1.
        bytes_read: Bytes of the file read so far.
        cut: The last line was incomplete, as a killed recorder leaves it. Known at the end.
        bad_lines: Lines that are no event and were skipped; `first_bad_line` is the first one's number.
    """

    def __init__(self, stream: BinaryIO, *, bytes_read: int) -> None:
        self._stream = stream
        self.line = 1
        self.bytes_read = bytes_read
        self.cut = False
        self.bad_lines = 0
        self.first_bad_line: int | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CaptureEvent:
        """The next event; lines that are none are counted and passed over, event codes of others are ignored."""
        while raw := self._next_line():
            if raw.isspace():
                continue
            try:
                event = _event_of(raw)
            except (ValueError, RecursionError):  # json raises the latter on a thousand open brackets
                if raw.endswith(b"\n"):
                    self._count_bad()
                else:
                    self.cut = True
                continue
            if event is not None:
                return event
        raise StopIteration

    def _next_line(self) -> bytes:
        raw = self._stream.readline(MAX_EVENT_LINE_BYTES)
        self.bytes_read += len(raw)
        if raw:
            self.line += 1
        if len(raw) < MAX_EVENT_LINE_BYTES or raw.endswith(b"\n"):
            return raw
        while raw and not raw.endswith(b"\n"):
            raw = self._stream.readline(MAX_EVENT_LINE_BYTES)
            self.bytes_read += len(raw)
        self._count_bad()
        return b"\n"

    def _count_bad(self) -> None:
        self.bad_lines += 1
        if self.first_bad_line is None:
            self.first_bad_line = self.line


def _event_of(raw: bytes) -> CaptureEvent | None:
    """The event on a line; None for a code that is not ours. Raises ValueError for anything else."""
    item = json.loads(raw)
    match item:
        case [(int() | float()) as t_s, ("o" | "i" | "m") as kind, str(text), *_] if abs(t_s) < MAX_TIME_S:
            text.encode("utf-8", "surrogateescape")  # a surrogate that stands for no byte is damage: UnicodeEncodeError
            return CaptureEvent(float(t_s), kind, text)
        case [(int() | float()), str(kind), _, *_] if kind not in ("o", "i", "m"):
            return None  # the format tells readers to ignore codes that they do not know, such as `r` for a resize
        case _:
            raise ValueError("no event")


def read_capture(
    stream: BinaryIO, limits: Limits = DEFAULT_LIMITS, *, name: str = "the capture"
) -> tuple[CaptureHeader, CaptureReader]:
    """The header of a capture, and its events to iterate over.

    Args:
        stream: The file, opened for bytes and buffered.
        limits: `limits.line_bytes` bounds a console line, not an event; the header may be a hundred times as long.
        name: What to call the file in an error.

    Raises:
        FormatError: The first line is no asciicast v2 header.
    """
    bound = 100 * limits.line_bytes
    raw = stream.readline(bound)
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _bad_header(raw, raw + stream.read(_HEADER_PEEK_BYTES), name) from error
    if not isinstance(fields, dict):
        raise _bad_header(raw, raw, name)
    return _header_of(fields, name), CaptureReader(stream, bytes_read=len(raw))


def _bad_header(raw: bytes, head: bytes, name: str) -> FormatError:
    if not raw:
        return FormatError(f"{name}: the file is empty", try_this="name a capture that heaptrail recorded")
    if _VERSION_1.search(head[:_HEADER_PEEK_BYTES]):
        return _wrong_version(name, 1)
    if raw.startswith(b"{") and not raw.endswith(b"\n"):
        return FormatError(
            f"{name}: line 1 is cut in the middle of the header, after {len(raw):,} bytes; nothing was recorded",
            try_this="record again: the recorder was stopped before it had written its first event",
        )
    return FormatError(
        f"{name}: line 1 is not the header of an asciicast v2 file",
        try_this="if this is a plain console log, give it a name that does not end in .cast",
    )


def _wrong_version(name: str, version: object) -> FormatError:
    return FormatError(
        f"{name}: line 1 says asciicast version {version!s:.20}, heaptrail reads version 2",
        try_this="convert it: asciinema convert -f asciicast-v2 IN.cast OUT.cast",
    )


def _header_of(fields: dict[str, object], name: str) -> CaptureHeader:
    if fields.get("version") != 2:
        raise _wrong_version(name, fields.get("version", "none"))
    own = fields.get("heaptrail")
    if not isinstance(own, dict):  # a foreign file: its start is worth having, and no reason to refuse it
        timestamp = fields.get("timestamp")
        usable = isinstance(timestamp, int | float) and abs(timestamp) < 1e12
        return CaptureHeader(started_unix_s=float(timestamp) if usable else None)  # type: ignore[arg-type]
    schema = own.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise FormatError(
            f"{name}: line 1 has heaptrail keys of schema {schema}, heaptrail {__version__} knows up to {SCHEMA}",
            try_this="read it with a newer heaptrail",
        )
    try:
        return msgspec.convert({"version": "unknown", **own}, CaptureHeader)
    except msgspec.ValidationError as error:
        raise FormatError(
            f"{name}: line 1, key heaptrail: {error}",
            try_this="remove the key from the header, or read the file as a plain log under another name",
        ) from error
