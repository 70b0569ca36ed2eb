"""A trace for Perfetto (https://ui.perfetto.dev): free heap per boot, cycles and boots, and the live heap as a profile.

The format is Perfetto's `perfetto_trace.proto`: a trace is packets, and a packet is a track's description, an event on
a track, strings and stacks that later packets refer to, or a heap profile. Where the log has no times a reading takes a
second, in the order of the log; the names of the tracks then say so.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Final

from heaptrail.reports import wording
from heaptrail.reports.protobuf import Message
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from heaptrail.model.report import Finding, Frame, Point, Report, Series, Site

_PROCESS_TRACK: Final = 1
_MARKS_TRACK: Final = 2
_CYCLES_TRACK: Final = 3
_FIRST_COUNTER: Final = 10
_PID: Final = 1
_SEQUENCE: Final = 1
_SLICE_BEGIN, _SLICE_END, _INSTANT, _COUNTER = 1, 2, 3, 4
_STATE_CLEARED, _NEEDS_STATE = 1, 2
_UNIT_BYTES: Final = 3
_LARGEST: Final = (1 << 62) - 1


class PerfettoRenderer:
    """A trace for ui.perfetto.dev: free heap per boot, cycles and boots, and a heap profile."""

    name: ClassVar[str] = "perfetto"
    suffixes: ClassVar[tuple[str, ...]] = (".perfetto-trace", ".pftrace")

    def render(self, report: Report) -> bytes:
        """The trace; its times count from the first reading."""
        trace = Message()
        for packet in _packets(report):
            packet.number(10, _SEQUENCE)
            trace.data(1, packet)
        return bytes(trace)


def _packets(report: Report) -> Iterator[Message]:
    timed = all(point.t_s is not None for series in report.series for point in series.points)
    suffix = "" if timed else ", a reading a second"
    yield _track(_PROCESS_TRACK, f"heaptrail{suffix}", process=True)
    yield _track(_MARKS_TRACK, "boots")
    yield _track(_CYCLES_TRACK, f"cycles{suffix}")
    start = min((p.t_s for s in report.series for p in s.points if p.t_s is not None), default=0.0)
    last_ns = 0
    counter = _FIRST_COUNTER
    for index, series in enumerate(report.series):
        moments = [
            (_nanoseconds(point.t_s - start if timed and point.t_s is not None else number), point)
            for number, point in enumerate(series.points)
        ]
        last_ns = max([last_ns, *(moment for moment, _ in moments)])
        for boot in dict.fromkeys(point.boot for point in series.points):
            yield _counter_track(counter, _counter_name(series, boot, report))
            yield from (
                _event(moment, counter, _COUNTER, value=point.free_bytes)
                for moment, point in moments
                if point.boot == boot
            )
            counter += 1
        if index == 0:
            yield from _marks(moments)
    yield from _profile(report, last_ns)


def _counter_name(series: Series, boot: int, report: Report) -> str:
    heap = f" {printable(series.heap, 40)}" if series.heap else ""
    return f"free heap{heap}, boot {boot}" if report.boots > 1 else f"free heap{heap}"


def _marks(moments: Sequence[tuple[int, Point]]) -> Iterator[Message]:
    """Boots as instants and cycles as slices, from the first reading of each to that of the next."""
    starts: list[tuple[int, Point]] = []
    seen: tuple[int, int | None] | None = None
    boot: int | None = None
    for moment, point in sorted(moments, key=lambda item: item[0]):
        if point.boot != boot:
            boot = point.boot
            yield _event(moment, _MARKS_TRACK, _INSTANT, name=f"boot {boot}")
        if point.cycle is not None and (point.boot, point.cycle) != seen:
            seen = (point.boot, point.cycle)
            starts.append((moment, point))
    for (begin, point), (end, _) in pairwise(starts):
        yield _event(begin, _CYCLES_TRACK, _SLICE_BEGIN, name=f"cycle {point.cycle}")
        yield _event(end, _CYCLES_TRACK, _SLICE_END)


def _track(uuid: int, name: str, *, process: bool = False) -> Message:
    track = Message()
    track.number(1, uuid)
    track.data(2, name.encode())
    if process:
        described = Message()
        described.number(1, _PID)
        described.data(6, name.encode())
        track.data(3, described)
    else:
        track.number(5, _PROCESS_TRACK)
    packet = Message()
    packet.data(60, track)
    return packet


def _counter_track(uuid: int, name: str) -> Message:
    unit = Message()
    unit.number(3, _UNIT_BYTES)
    track = Message()
    track.number(1, uuid)
    track.data(2, name.encode())
    track.number(5, _PROCESS_TRACK)
    track.data(8, unit)
    packet = Message()
    packet.data(60, track)
    return packet


def _event(moment: int, track: int, kind: int, *, name: str | None = None, value: int | None = None) -> Message:
    event = Message()
    event.number(9, kind)
    event.number(11, track)
    if name is not None:
        event.data(23, name.encode())
    if value is not None:
        event.number(30, _whole(value))
    packet = Message()
    packet.number(8, moment)
    packet.data(11, event)
    return packet


def _profile(report: Report, moment: int) -> Iterator[Message]:
    """The stacks, then the live blocks of each site as one sample."""
    interned = _Interned(report)
    process = Message()
    process.number(1, _PID)
    process.number(9, moment)
    process.data(11, b"live blocks")
    for finding in report.findings:
        for site in finding.sites:
            sample = Message()
            sample.number(1, interned.callstack(finding, site))
            sample.number(2, _whole(site.live_bytes))
            sample.number(5, _whole(site.live_blocks))
            process.data(2, sample)
    packet = Message()
    packet.number(13, _STATE_CLEARED)
    packet.data(12, interned.message)
    yield packet
    dump = Message()
    dump.data(5, process)
    packet = Message()
    packet.number(8, moment)
    packet.number(13, _NEEDS_STATE)
    packet.data(37, dump)
    yield packet


class _Interned:
    """Strings, frames and stacks; each is written once and known by a number from 1."""

    def __init__(self, report: Report) -> None:
        self.message = Message()
        self._names: dict[str, int] = {}
        self._frames: dict[tuple[int, int, int], int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        elf = report.provenance.elf
        self.message.data(17, _string(1, printable(elf.name, NAME_CHARACTERS) if elf else "no ELF"))
        self.message.data(16, _string(1, printable(elf.build_id or "", NAME_CHARACTERS) if elf else ""))
        mapping = Message()
        for field in (1, 2, 7):  # its number, its build id, the one part of its path
            mapping.number(field, 1)
        self.message.data(19, mapping)

    def callstack(self, finding: Finding, site: Site) -> int:
        """The stack, outermost first, under the class of the finding."""
        outermost = self._frame(f"[{wording.CLASSES[finding.finding_class][0]}]", 0, 0)
        frames = (outermost, *(self._of(frame) for frame in reversed(site.frames)))
        found = self._stacks.get(frames)
        if found is None:
            found = self._stacks[frames] = len(self._stacks) + 1
            stack = Message()
            stack.number(1, found)
            stack.packed(2, frames)
            self.message.data(7, stack)
        return found

    def _of(self, frame: Frame) -> int:
        name = wording.frame_label(frame) if frame.function else format_address(frame.pc)
        place = wording.place_text(frame.file, frame.line, parts=1)
        return self._frame(f"{name} {place}".rstrip(), frame.pc, frame.line or 0)

    def _frame(self, name: str, pc: int, line: int) -> int:
        key = (self._name(name), pc & ((1 << 64) - 1), min(max(line, 0), (1 << 31) - 1))
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = len(self._frames) + 1
            frame = Message()
            for field, value in ((1, found), (2, key[0]), (3, 1), (4, key[1]), (6, key[2])):
                frame.number(field, value)
            self.message.data(6, frame)
        return found

    def _name(self, name: str) -> int:
        found = self._names.get(name)
        if found is None:
            found = self._names[name] = len(self._names) + 1
            self.message.data(5, _string(found, name))
        return found


def _string(number: int, text: str) -> Message:
    interned = Message()
    interned.number(1, number)
    interned.data(2, text.encode())
    return interned


def _nanoseconds(seconds: float) -> int:
    return _whole(round(seconds * 1e9)) if math.isfinite(seconds * 1e9) else _LARGEST


def _whole(value: int) -> int:
    return min(max(value, 0), _LARGEST)
