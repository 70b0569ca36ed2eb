"""Reads one log: finds the lines worth looking at, keeps boots, cycles and time, and asks the dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects import REGISTRY, Dialect, Line
from heaptrail.model.observations import Block, Dump, Event, HeapSample, Mark, Problem, Task
from heaptrail.reading.boots import BANNER_NEEDLES, Boots, banner
from heaptrail.reading.cleaning import clean
from heaptrail.reading.finder import Finder, literal_of
from heaptrail.reading.panel import Panel
from heaptrail.reading.stamps import Timeline, strip_prefixes
from heaptrail.registry import resolve

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation
    from heaptrail.reading.sources import Chunk, Marker

_FIRST_STAMP_LINES = 50


def make_dialects(name: str, limits: Limits) -> list[Dialect]:
    """The dialects to ask: all of them for `auto`, else the named one and its companions.

    Raises `UsageError` for a name that is not in the registry.
    """
    names = list(REGISTRY) if name == "auto" else [name]
    made: list[Dialect] = [resolve(REGISTRY, each, kind="dialect")(limits) for each in names]
    if name != "auto":
        companions = getattr(made[0], "companions", ())
        made += [resolve(REGISTRY, each, kind="dialect")(limits) for each in companions]
    return made


class Session:
    """The reading of one log, fed with chunks and markers in order.

    Args:
        dialects: Fresh ones, for this log only.
        cycle_mark, boot_mark: The user's patterns, searched in the visible text of a line.
        marked: The log is a capture, whose markers may tell the cycles.
        first_boot: Number of the log's first boot.

    Attributes:
        line: Number of the last line read.
        cycle_marks: Ends of cycles seen.
        found_by: Names of the dialects that found something.
    """

    def __init__(
        self,
        dialects: list[Dialect],
        limits: Limits,
        *,
        cycle_mark: re.Pattern[str] | None = None,
        boot_mark: re.Pattern[str] | None = None,
        marked: bool = False,
        first_boot: int = 1,
    ) -> None:
        self._panel = Panel(dialects)
        self._limits = limits
        self._cycle_mark = cycle_mark
        self._boot_mark = boot_mark
        self._boots = Boots()
        self._boots.number = first_boot
        self._cycle: int | None = 0 if cycle_mark is not None or marked else None
        self._timeline = Timeline()
        self._zero_known = False
        self._lowest_free: dict[str | None, int] = {}
        self._finder = _finder(dialects, [mark for mark in (cycle_mark, boot_mark) if mark is not None])
        self._t_s: float | None = None
        self.line = 0
        self.cycle_marks = 0
        self.found_by: set[str] = set()

    @property
    def boot(self) -> int:
        """The boot that is running."""
        return self._boots.number

    def chunk(self, chunk: Chunk) -> Iterator[AnyObservation]:
        """Read some whole lines."""
        data = chunk.data
        if not self._zero_known and not chunk.times_s:
            self._find_zero(data)
        starts = self._finder.line_starts(data)
        at, position = 0, 0
        while position < len(data):
            while at < len(starts) and starts[at] < position:
                at += 1
            if self._finder.every_line or self._panel.wants:
                start = position
            elif at < len(starts):
                start = starts[at]
            else:
                break
            promising = at < len(starts) and starts[at] == start
            self.line += data.count(b"\n", position, start) + 1
            end = data.find(b"\n", start)
            cut = chunk.cut_line and end < 0
            end = end if end >= 0 else len(data)
            position = end + 1
            yield from self._line(data[start:end], chunk.time_at(start), promising=promising, cut=cut)
        if position < len(data):
            self.line += data.count(b"\n", position) + (not data.endswith(b"\n"))

    def _find_zero(self, data: bytes) -> None:
        """Let time begin with the first stamp of the log, not with the first line that is looked at."""
        position = 0
        for _ in range(_FIRST_STAMP_LINES):
            end = data.find(b"\n", position)
            prefixed = strip_prefixes(clean(data[position : end if end >= 0 else len(data)][: self._limits.line_bytes]))
            if prefixed.host or prefixed.device:
                self._timeline.at(prefixed)
                break
            if end < 0:
                return
            position = end + 1
        self._zero_known = True

    def _line(self, raw: bytes, t_s: float | None, *, promising: bool, cut: bool) -> Iterator[AnyObservation]:
        if len(raw) > self._limits.line_bytes:
            raw = raw[: self._limits.line_bytes]
            yield self._problem("long_line", f"line {self.line} is longer than {len(raw):,} bytes and was cut there")
        prefixed = strip_prefixes(clean(raw))
        moment = self._timeline.at(prefixed)
        self._t_s = t_s if t_s is not None else moment.t_s
        if moment.jump is not None:
            yield self._problem("clock_jump", moment.jump)
        text = prefixed.text
        name = banner(text)
        if self._boot_mark is not None and self._boot_mark.search(text):
            yield from self._reset("boot mark", text.strip()[:80])
        elif name is not None:
            yield from self._reset(name, name)
        if moment.reset is not None:
            yield from self._reset("clock", "clock began anew", why=moment.reset)
        if self._cycle_mark is not None and self._cycle_mark.search(text):
            yield self._cycle_ends(text.strip()[:80])
        line = Line(text, self.line, self.boot, self._cycle, self._t_s)
        for dialect, found in self._panel.hear(raw, line, promising=promising):
            yield from self._heard(dialect, found)
        if cut and self._panel.told:
            yield self._problem("cut_line", "the last line has no line end, so the log may have been cut there")

    def _heard(self, dialect: Dialect, found: list[AnyObservation]) -> Iterator[AnyObservation]:
        """Pass on what a dialect found, unless a figure in it shows that the device was reset before."""
        if found:
            self.found_by.add(dialect.name)
        boot = self.boot
        for observation in found:
            if isinstance(observation, HeapSample) and observation.min_free_bytes is not None:
                lowest = self._lowest_free.get(observation.heap)
                if observation.boot == self.boot and lowest is not None and observation.min_free_bytes > lowest:
                    why = f"the least free heap so far rose from {lowest:,} to {observation.min_free_bytes:,} B"
                    yield from self._reset("figures", "least free heap rose", why=why, line=observation.line)
                self._lowest_free[observation.heap] = observation.min_free_bytes
            if boot != self.boot and observation.boot == boot:
                yield _moved(observation, self.boot, None if self._cycle is None else 0)
            else:
                yield observation
            if isinstance(observation, HeapSample | Task | Block | Dump | Event):
                self._boots.observed()

    def _reset(
        self, kind: str, label: str, *, why: str | None = None, line: int | None = None
    ) -> Iterator[AnyObservation]:
        """The device began anew: close what is open, then count from the start."""
        line = self.line if line is None else line
        for _, open_still in self._panel.finish():
            if any(not isinstance(observation, Problem) for observation in open_still):
                self._boots.observed()
            yield from open_still
        if not self._boots.sign(kind, line):
            return
        self._lowest_free.clear()
        self._timeline.forget_device()
        if self._cycle is not None:
            self._cycle = 0
        yield Mark(what="boot", label=label, line=line, boot=self.boot, cycle=self._cycle, t_s=self._t_s)
        if why is not None:
            text = f"{why}: within one boot that cannot be, so the device was reset unseen"
            yield self._problem("unexpected_reset", text)

    def _cycle_ends(self, label: str) -> Mark:
        self._cycle = (self._cycle or 0) + 1
        self.cycle_marks += 1
        self._boots.observed()
        return Mark(what="cycle", label=label, line=self.line, boot=self.boot, cycle=self._cycle, t_s=self._t_s)

    def marker(self, marker: Marker) -> Iterator[AnyObservation]:
        """A marker of a capture. Where the user's pattern tells the cycles, cycle markers count for nothing."""
        self._t_s = marker.t_s
        if marker.what == "boot":
            yield from self._reset("marker", marker.label)
        elif marker.what == "step":
            yield Mark(
                what="step", label=marker.label, line=self.line, boot=self.boot, cycle=self._cycle, t_s=marker.t_s
            )
        elif self._cycle_mark is None:
            yield self._cycle_ends(marker.label)

    def finish(self) -> Iterator[AnyObservation]:
        """The end of the log."""
        for dialect, found in self._panel.finish():
            yield from self._heard(dialect, found)
        if self._cycle_mark is not None and not self.cycle_marks:
            text = f"no line matches the cycle mark {self._cycle_mark.pattern!r}, so no cycles are known"
            yield self._problem("missing_marks", text)

    def footprint(self) -> FootprintRule | None:
        """The allocator's rule, from the first dialect that knows it."""
        rules = (dialect.footprint() for dialect in self._panel.dialects if dialect.name in self.found_by)
        return next((rule for rule in rules if rule is not None), None)

    def _problem(self, what: str, text: str) -> Problem:
        return Problem(what=what, text=text, line=self.line, boot=self.boot, cycle=self._cycle, t_s=self._t_s)


def _finder(dialects: list[Dialect], marks: list[re.Pattern[str]]) -> Finder:
    literals = [literal_of(mark.pattern) for mark in marks]
    needles = {trigger for dialect in dialects for trigger in dialect.triggers}.union(BANNER_NEEDLES)
    needles.update(literal.encode() for literal in literals if literal is not None)
    return Finder(needles, every_line=None in literals)


def _moved(observation: AnyObservation, boot: int, cycle: int | None) -> AnyObservation:
    """The same in the boot that its own figures prove; the tracer's state in that boot is unknown."""
    if isinstance(observation, HeapSample):
        return msgspec.structs.replace(observation, boot=boot, cycle=cycle, tracer=None)
    return msgspec.structs.replace(observation, boot=boot, cycle=cycle)
