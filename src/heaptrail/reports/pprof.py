"""A heap profile for pprof: `go tool pprof`, and the viewers that read its format.

The format is github.com/google/pprof, `proto/profile.proto`: one gzip stream of one message. A sample is a site with
its stack, innermost first. `inuse_objects` and `inuse_space` have the names that Go's heap profiles use. What stays per
cycle is often a fraction and the format knows whole numbers only, so growth is counted over 1,000 cycles. Allocators
and wrappers are named as frames to drop, as in Go's own profiles: pprof then charges the site and not `malloc`.
"""

from __future__ import annotations

import gzip
import math
import re
from typing import TYPE_CHECKING, ClassVar, Final

from heaptrail.reports import wording
from heaptrail.reports.protobuf import Message
from heaptrail.reports.untrusted import NAME_CHARACTERS, printable
from heaptrail.units import format_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Finding, Frame, Report, Site

CYCLES: Final = 1000
SAMPLE_TYPES: Final = (
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
    (f"growth_objects_per_{CYCLES}_cycles", "count"),
    (f"growth_space_per_{CYCLES}_cycles", "bytes"),
)
_WRAPPERS_NAMED: Final = 500
_TEMPLATE_ARGUMENTS: Final = re.compile(r"<[^<>]*>")
_LARGEST: Final = (1 << 63) - 1
_LARGEST_ADDRESS: Final = (1 << 64) - 1


class PprofRenderer:
    """A heap profile for go tool pprof: live objects and bytes, and their growth over 1,000 cycles."""

    name: ClassVar[str] = "pprof"
    suffixes: ClassVar[tuple[str, ...]] = (".pb.gz", ".pprof")

    def render(self, report: Report) -> bytes:
        """The gzipped profile; the same report gives the same bytes, as no time of writing is in it."""
        return gzip.compress(bytes(_Profile(report).message()), compresslevel=6, mtime=0)


class _Profile:
    """The tables of one profile: strings, functions and locations stand in it once and are referred to by number."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[int, int], int] = {}
        self._locations: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}

    def message(self) -> Message:
        """The message; fields are numbered as in profile.proto."""
        profile = Message()
        for kind, unit in SAMPLE_TYPES:
            profile.data(1, self._pair(kind, unit))
        grows = False
        for finding in self._report.findings:
            for site in finding.sites:
                profile.data(2, self._sample(finding, site))
                grows = grows or bool(site.per_cycle_bytes)
        profile.data(3, self._mapping())
        for (pc, lines), number in self._locations.items():
            profile.data(4, _location(number, pc, lines))
        for (name, file), number in self._functions.items():
            profile.data(5, _function(number, name, file))
        comment = self._string(printable(self._report.headline, 400))
        dropped = self._string(_frames_to_drop(self._report))
        default = self._string(SAMPLE_TYPES[3 if grows else 1][0])
        for text in self._strings:
            profile.data(6, text.encode())
        started = next((c.started_unix_s for c in self._report.provenance.captures if c.started_unix_s), None)
        profile.number(7, dropped)
        profile.number(9, _whole(started * 1e9) if started is not None else 0)
        profile.packed(13, [comment])
        profile.number(14, default)
        return profile

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _pair(self, kind: str, unit: str) -> Message:
        pair = Message()
        pair.number(1, self._string(kind))
        pair.number(2, self._string(unit))
        return pair

    def _mapping(self) -> Message:
        """The one image, which the locations belong to; it has names already, so pprof looks for no file."""
        elf = self._report.provenance.elf
        mapping = Message()
        mapping.number(1, 1)
        mapping.number(3, _LARGEST_ADDRESS)
        mapping.number(5, self._string(printable(elf.name, 160) if elf else ""))
        mapping.number(6, self._string(printable(elf.build_id or "", 160) if elf else ""))
        for flag in (7, 8, 9, 10):
            mapping.number(flag, 1)
        return mapping

    def _sample(self, finding: Finding, site: Site) -> Message:
        sample = Message()
        sample.packed(1, self._stack(site.frames))
        sample.packed(
            2,
            (
                _whole(site.live_blocks),
                _whole(site.live_bytes),
                _whole((site.per_cycle_blocks or 0.0) * CYCLES),
                _whole((site.per_cycle_bytes or 0.0) * CYCLES),
            ),
        )
        sample.data(3, self._label("class", wording.CLASSES[finding.finding_class][0]))
        for task in site.tasks[:1]:
            sample.data(3, self._label("task", printable(task, 40)))
        return sample

    def _label(self, key: str, text: str) -> Message:
        label = Message()
        label.number(1, self._string(key))
        label.number(2, self._string(text))
        return label

    def _stack(self, frames: Sequence[Frame]) -> tuple[int, ...]:
        """Location numbers, innermost first; the inlined frames of one address are one location with several lines."""
        numbers: list[int] = []
        group: list[Frame] = []
        for frame in frames:
            group.append(frame)
            if not frame.inlined:
                numbers.append(self._location(group))
                group = []
        if group:
            numbers.append(self._location(group))
        return tuple(numbers)

    def _location(self, group: Sequence[Frame]) -> int:
        pc = group[-1].pc & _LARGEST_ADDRESS
        lines = tuple((self._function(frame), _whole(frame.line or 0)) for frame in group)
        return self._locations.setdefault((pc, lines), len(self._locations) + 1)

    def _function(self, frame: Frame) -> int:
        name = wording.frame_label(frame) if frame.function else format_address(frame.pc)
        key = (self._string(name), self._string(printable(frame.file or "", 400)))
        return self._functions.setdefault(key, len(self._functions) + 1)


def _frames_to_drop(report: Report) -> str:
    """A regular expression (RE2's syntax, matched as a whole) of the functions that never name a site; may be empty."""
    sites = (site for finding in report.findings for site in finding.sites)
    names = {(frame.function, frame.wrapper) for site in sites for frame in site.frames if frame.function}
    named = {_compared(name) for name, wrapper in names if not wrapper}
    wrappers = sorted({_compared(name) for name, wrapper in names if wrapper} - named)
    return "|".join(re.escape(name) for name in wrappers[:_WRAPPERS_NAMED])


def _compared(function: str) -> str:
    """The function as pprof compares it: without the arguments of a C++ function and those of its templates."""
    name = printable(function, NAME_CHARACTERS)
    short, removed = name.partition("(")[0], 1
    while removed:
        short, removed = _TEMPLATE_ARGUMENTS.subn("", short)
    return short or name


def _location(number: int, pc: int, lines: tuple[tuple[int, int], ...]) -> Message:
    location = Message()
    location.number(1, number)
    location.number(2, 1)
    location.number(3, pc)
    for function, line_number in lines:
        line = Message()
        line.number(1, function)
        line.number(2, line_number)
        location.data(4, line)
    return location


def _function(number: int, name: int, file: int) -> Message:
    function = Message()
    function.number(1, number)
    function.number(2, name)
    function.number(3, name)
    function.number(4, file)
    return function


def _whole(value: float) -> int:
    """A whole number that an int64 holds; no figure of a heap is negative, and what is not finite counts as 0."""
    if not math.isfinite(value):
        return 0
    return min(max(round(value), 0), _LARGEST)
