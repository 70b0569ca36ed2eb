"""The agent's binary event stream, version 1 (SPEC.md, "Wire"): bytes pushed in, a `Stream` in columns pulled out.

No I/O, no clock, no symbols. Any bytes are taken; what is no frame is counted, and reading goes on at the next zero.
`agent/src/ht_wire.c` writes the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heaptrail.model.observations import Problem
from heaptrail.model.stream import Stream, StreamCounts
from heaptrail.units import plural
from heaptrail.wire.events import Columns, columns_of, heads_of, join_columns
from heaptrail.wire.format import EVENTS, HELLO, STACKS, TASKS, VERSION
from heaptrail.wire.frames import FrameCounts, Frames, split
from heaptrail.wire.known import Known
from heaptrail.wire.lives import lifetimes_of
from heaptrail.wire.numbers import Numbering

__all__ = ["VERSION", "Decoder", "WireLimits", "decode"]

_BATCH_BYTES = 1 << 18
"""Decoded at once: enough to make numpy's calls cheap, small enough for the caches."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Bounds on what a stream may cost.

    Args:
        events: Events kept, each of some 70 bytes; the rest is counted.
        definitions: Frames of definitions, and stacks and tasks, kept.
        stretch_bytes: A stretch without a zero is thrown away from here on.
    """

    events: int = 20_000_000
    definitions: int = 1 << 17
    stretch_bytes: int = 1 << 16


class Decoder:
    """Feed it bytes as they come, in any pieces; ask for the `Stream` at the end, or in between."""

    def __init__(self, limits: WireLimits | None = None) -> None:
        self._limits = limits or WireLimits()
        self._pending = bytearray()
        self._overlong = False
        self._counts = FrameCounts()
        self._numbers = Numbering()
        self._known = Known(self._limits.definitions)
        self._parts: list[Columns] = []
        self._kept = 0
        self._cut = 0

    def feed(self, data: bytes) -> None:
        """Take more bytes. They are decoded in batches, so small pieces cost little."""
        self._counts.bytes_read += len(data)
        for at in range(0, len(data), _BATCH_BYTES):
            self._pending += data[at : at + _BATCH_BYTES]
            if len(self._pending) >= _BATCH_BYTES:
                self._decode_pending()

    def stream(self) -> Stream:
        """All that was fed so far; a frame that is not complete yet is left for later."""
        self._decode_pending()
        self._parts = [join_columns(self._parts)]
        events = self._known.complete(self._parts[0])
        hello = self._known.hello
        counts = self._stream_counts()
        return Stream(
            events=events,
            lifetimes=lifetimes_of(events),
            stacks=dict(self._known.stacks),
            tasks=dict(self._known.tasks),
            counts=counts,
            problems=tuple(_problems(counts, self._known, self._counts, int((events.size < 0).sum()))),
            ticks_per_s=(hello.ticks_per_s or None) if hello else None,
            pointer_bytes=hello.pointer_bytes if hello else None,
            build_id=hello.build_id if hello else None,
        )

    def _decode_pending(self) -> None:
        last = self._pending.rfind(0)
        if last >= 0:
            stretch = bytes(self._pending[: last + 1])
            del self._pending[: last + 1]
            if self._overlong:  # the end of what was thrown away already
                stretch = stretch[stretch.index(0) + 1 :]
                self._overlong = False
            if stretch:
                self._decode(split(stretch, self._counts))
        if len(self._pending) > self._limits.stretch_bytes:
            self._counts.damaged += not self._overlong
            self._overlong = True
            self._pending.clear()

    def _decode(self, frames: Frames) -> None:
        heads, unsound = heads_of(frames)
        greetings = [
            (at, self._known.greet(frames.payload(at))) for at in np.flatnonzero(frames.kind == HELLO).tolist()
        ]
        numbers = self._numbers.follow(heads, [(at, number) for at, number in greetings if number is not None])
        for at in np.flatnonzero((frames.kind == STACKS) | (frames.kind == TASKS)).tolist():
            self._known.define(frames.payload(at), numbers.run_at(at), stacks=int(frames.kind[at]) == STACKS)
        undefined = int(((frames.kind > TASKS) & (frames.kind < EVENTS)).sum())
        unsound += undefined + sum(number is None for _, number in greetings)
        self._counts.damaged += unsound
        self._counts.frames -= unsound
        total = int(heads.events.sum())
        if total > self._limits.events - self._kept:
            self._cut += total
        elif total:
            self._parts.append(columns_of(frames.plain, heads, numbers.run, numbers.birth, numbers.time))
            self._kept += total

    def _stream_counts(self) -> StreamCounts:
        return StreamCounts(
            bytes_read=self._counts.bytes_read,
            frames=self._counts.frames - self._known.torn,
            damaged_frames=self._counts.damaged + self._known.torn,
            foreign_bytes=self._counts.foreign_bytes,
            lost_events=self._numbers.lost,
            dropped_events=self._known.dropped,
            restarts=self._numbers.restarts,
            cut_events=self._cut,
        )


def decode(data: bytes, limits: WireLimits | None = None) -> Stream:
    """A whole stream at once."""
    decoder = Decoder(limits)
    decoder.feed(data)
    return decoder.stream()


def _problems(counts: StreamCounts, known: Known, frames: FrameCounts, unsized: int) -> list[Problem]:
    """What a reader of the stream's figures must know."""
    found: list[tuple[str, str]] = []
    if counts.lost_events:
        own = min(counts.dropped_events, counts.lost_events)
        ending = f"; the device had no room for {own:,} of them" if own else ""
        found.append(("missing_records", f"{plural(counts.lost_events, 'event')} never arrived{ending}"))
    if counts.damaged_frames:
        found.append(("corrupt", f"{plural(counts.damaged_frames, 'damaged frame')} skipped"))
    if frames.other_versions:
        found.append(
            ("corrupt", f"{plural(frames.other_versions, 'frame')} of another version than {VERSION}, not read")
        )
    if counts.restarts:
        found.append(("unexpected_reset", f"the device began anew {plural(counts.restarts, 'time')} within the stream"))
    if counts.cut_events:
        found.append(("too_many", f"{plural(counts.cut_events, 'event')} beyond the limit, not kept"))
    if known.omitted:
        found.append(("too_many", f"{plural(known.omitted, 'frame')} of definitions beyond the limit, not kept"))
    if known.conflicts:
        found.append(
            ("corrupt", f"{plural(known.conflicts, 'stack or task')} defined twice and differently; the first is used")
        )
    if unsized:
        found.append(("missing_records", f"the size of {plural(unsized, 'block')} is unknown: its definition was lost"))
    return [Problem(line=1, what=what, text=text) for what, text in found]
