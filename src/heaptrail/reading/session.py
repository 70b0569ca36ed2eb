"""Reads one log: finds the lines worth looking at, keeps boots, cycles and time, and asks the dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects import CONFIGURED, REGISTRY, Dialect, Line
from heaptrail.dialects.literal import literal_of
from heaptrail.dialects.plain import NO_FORM, PlainForm
from heaptrail.model.observations import Block, Dump, Event, HeapSample, Mark, Problem, Task
from heaptrail.reading.boots import BANNER_NEEDLES, SYSTEMS, Boots, banner
from heaptrail.reading.cleaning import clean
from heaptrail.reading.decorations import numbering_of, undecorated, without_number
from heaptrail.reading.finder import Finder
from heaptrail.reading.panel import Panel
from heaptrail.reading.stamped import unstamped
from heaptrail.reading.stamps import Prefixes, Timeline, strip_prefixes
from heaptrail.registry import resolve

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

    from heaptrail.limits import Limits
    from heaptrail.model.evidence import FootprintRule
    from heaptrail.model.observations import AnyObservation
    from heaptrail.reading.sources import Chunk, Marker
    from heaptrail.reading.stamps import Moment

_FIRST_STAMP_LINES = 50
_FIRST_RUN_BYTES, _LONGEST_RUN_BYTES = 4 << 10, 256 << 10
"""A run over stamped lines is first tried on few: it costs a copy, and fails wherever other lines fall in between."""
_BANNER, _BOOT, _CYCLE, _DIALECTS = 1, 2, 4, 8
"""What a substring that was found in a line may be: the bits from `_DIALECTS` on are the dialects', in order."""
_OBSERVED = (HeapSample, Task, Block, Dump, Event)
"""What shows that the boot goes on."""


def make_dialects(name: str, limits: Limits, form: PlainForm = NO_FORM) -> list[Dialect]:
    """The dialects to ask: all of them for `auto`, else the named one and its companions.

    Those that read what the user describes (`csv`, `regex`) are asked first where `form` describes something.

    Raises:
        UsageError: No dialect has that name, or the description of the user's lines is wrong.
    """
    described = [each for each, given in (("regex", form.pattern is not None), ("csv", bool(form.columns))) if given]
    names = [each for each in REGISTRY if each not in CONFIGURED] if name == "auto" else [name]
    made: list[Dialect] = []
    for each in dict.fromkeys([*described, *names]):
        dialect = resolve(REGISTRY, each, kind="dialect")
        made.append(dialect(limits, form) if each in CONFIGURED else dialect(limits))
    if name != "auto":
        made += [resolve(REGISTRY, each, kind="dialect")(limits) for each in getattr(made[-1], "companions", ())]
    return made


class Session:
    """The reading of one log, fed with chunks and markers in order.

    Args:
        dialects: Fresh ones, for this log only.
        cycle_mark, boot_mark: The user's patterns, searched in the visible text of a line.
        marked: The log is a capture, whose markers may tell the cycles.
        first_boot: Number of the log's first boot.
        system: The dialect that the user named, None where the log must show it.

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
        system: str | None = None,
    ) -> None:
        self._panel = Panel(dialects, first_bit=_DIALECTS)
        self._limits = limits
        self._cycle_mark = cycle_mark
        self._boot_mark = boot_mark
        self._boots = Boots()
        self._boots.number = first_boot
        self._cycle: int | None = 0 if cycle_mark is not None or marked else None
        self._prefixes = Prefixes()
        self._numbering: int | None = None
        self._timeline = Timeline()
        self._zero_known = False
        self._system = system
        self._lowest_free: dict[tuple[str | None, str | None], int] = {}
        self._cycle_literal = "" if cycle_mark is None else literal_of(cycle_mark.pattern) or ""
        self._finder = self._make_finder()
        self._t_s: float | None = None
        self._next_mark = -1
        self._run_bytes = _FIRST_RUN_BYTES
        self.line = 0
        self.cycle_marks = 0
        self.found_by: set[str] = set()

    def _make_finder(self) -> Finder:
        needles = self._panel.needles()
        self._mark_literals: list[bytes] = []
        for needle in BANNER_NEEDLES:
            needles[needle] = needles.get(needle, 0) | _BANNER
        every_line = False
        for mark, bit in ((self._cycle_mark, _CYCLE), (self._boot_mark, _BOOT)):
            literal = None if mark is None else literal_of(mark.pattern)
            if literal is not None:
                self._mark_literals.append(needle := literal.encode())
                needles[needle] = needles.get(needle, 0) | bit
            every_line |= mark is not None and literal is None
        return Finder(needles, every_line=every_line)

    @property
    def boot(self) -> int:
        """The boot that is running."""
        return self._boots.number

    def chunk(self, chunk: Chunk) -> Iterator[AnyObservation]:
        """Read some whole lines."""
        data = chunk.data
        self._next_mark = -1
        if not self._zero_known and not chunk.times_s:
            self._find_zero(data)
        position, found = self._run(chunk, 0, 0)
        while found:
            yield from found
            position, found = self._run(chunk, position, 0)
        for start, end, held in [*self._finder.lines(data, position), (len(data), len(data), 0)]:
            while position < start and (position := self._skip(chunk, position, start)) < start:
                stop = data.find(b"\n", position)
                if stop < 0:
                    stop = len(data)
                if not self._finder.every_line and self._panel.passes(data[position:stop]):
                    self.line += 1
                else:
                    yield from self._line(chunk, position, stop, 0)
                position = stop + 1
            if start < position or not held:
                continue
            position, found = self._run(chunk, start, held)
            if not found:
                found = self._line(chunk, start, end, held)
                position = end + 1
            yield from found

    def _run(self, chunk: Chunk, start: int, held: int) -> tuple[int, list[AnyObservation]]:
        """Let a dialect that alone is asked read many lines in one go: where it stopped, and what it found."""
        dialect = None if chunk.times_s or self._finder.every_line else self._panel.runner(held)
        if dialect is None:
            return start, []
        data = chunk.data
        stop = len(data)
        if self._mark_literals:
            if self._next_mark < start:
                places = (data.find(literal, start) for literal in self._mark_literals)
                self._next_mark = min((at for at in places if at >= 0), default=stop)
            stop = stop if self._next_mark == stop else data.rfind(b"\n", start, self._next_mark) + 1
        line = Line("", self.line + 1, self.boot, self._cycle, None)
        run = self._panel.run(dialect, data, (start, stop), line)
        if run is None:
            return self._stamped_run(dialect, data, (start, stop), line)
        self.line += run.lines
        return run.end, self._heard(dialect, run.found)

    def _stamped_run(
        self, dialect: Dialect, data: bytes, span: tuple[int, int], line: Line
    ) -> tuple[int, list[AnyObservation]]:
        """The same where every line carries a time stamp: what was found gets the time of its line."""
        start, stop = span
        bare = unstamped(data, start, min(stop, start + self._run_bytes))
        run = None if bare is None else self._panel.run(dialect, bare.text, (0, len(bare.text)), line)
        if bare is None or run is None:
            self._run_bytes = _FIRST_RUN_BYTES
            return start, []
        self._run_bytes = min(2 * self._run_bytes, _LONGEST_RUN_BYTES)
        first = self._moment_of(bare.stamps[0])
        self._t_s, self.line = first.t_s, line.number
        found: list[AnyObservation] = [] if first.jump is None else [self._problem("clock_jump", first.jump)]
        for observation in run.found:
            at = observation.line - line.number
            if at < 0:  # the record before, which knows its time
                found.append(observation)
            else:
                found.append(msgspec.structs.replace(observation, t_s=self._moment_of(bare.stamps[at]).t_s))
        self._t_s = self._moment_of(bare.stamps[run.lines - 1]).t_s
        self.line += run.lines - 1
        return bare.end(start, run.end, run.lines), self._heard(dialect, found)

    def _moment_of(self, stamp: bytes) -> Moment:
        return self._timeline.at(self._prefixes.strip(stamp.decode("ascii")))

    def _skip(self, chunk: Chunk, position: int, stop: int) -> int:
        """Pass over the lines before `stop` that nobody wants; where the next wanted one begins."""
        panel, data = self._panel, chunk.data
        if self._finder.every_line or panel.wants:
            return position
        if panel.due is None:
            self.line += chunk.line_ends(position, stop) + (stop == len(data) and not data.endswith(b"\n"))
            return stop
        while position < stop and self.line + 1 < panel.due:
            position = data.find(b"\n", position) + 1 or len(data)
            self.line += 1
        return position

    def _find_zero(self, data: bytes) -> None:
        """Let time begin with the first stamp of the log, not with the first line that is looked at."""
        if self.line == 0:
            first = data[: _FIRST_STAMP_LINES * self._limits.line_bytes].split(b"\n", _FIRST_STAMP_LINES)
            shown = [clean(line[: self._limits.line_bytes]) for line in first[:_FIRST_STAMP_LINES]]
            self._numbering = numbering_of([line for at, line in enumerate(shown, 1) if line or at < len(shown)])
        position = 0
        for at in range(_FIRST_STAMP_LINES):
            end = data.find(b"\n", position)
            raw = data[position : end if end >= 0 else len(data)][: self._limits.line_bytes]
            prefixed = strip_prefixes(self._shown(raw, self.line + at + 1))
            self._system = self._system or prefixed.system
            if prefixed.host or prefixed.device:
                self._timeline.at(prefixed)
                break
            if end < 0:
                return
            position = end + 1
        self._zero_known = True

    def _shown(self, raw: bytes, number: int) -> str:
        """The text of a line, without what a web page put around it."""
        text = clean(raw)
        if self._numbering is not None:
            text = without_number(text, number + self._numbering)
        return undecorated(text)

    def _line(self, chunk: Chunk, start: int, end: int, held: int) -> list[AnyObservation]:
        """What one line says; `held` are the bits of the substrings that were found in it."""
        self.line += 1
        raw = chunk.data[start:end]
        found: list[AnyObservation] = []
        if len(raw) > self._limits.line_bytes:
            raw = raw[: self._limits.line_bytes]
            text = f"line {self.line} is longer than {len(raw):,} bytes and was cut there"
            found.append(self._problem("long_line", text))
        prefixed = self._prefixes.strip(self._shown(raw, self.line))
        text = prefixed.text
        self._system = self._system or prefixed.system
        t_s = chunk.time_at(start) if chunk.times_s else None
        reset = None
        if prefixed.host is not None or prefixed.device is not None:
            moment = self._timeline.at(prefixed)
            reset = moment.reset
            if t_s is None:
                t_s = moment.t_s
            self._t_s = t_s
            if moment.jump is not None:
                found.append(self._problem("clock_jump", moment.jump))
        self._t_s = t_s
        if held & (_BANNER | _BOOT) or self._finder.every_line:
            found += self._began(text)
        if reset is not None:
            found += self._reset("clock", "clock began anew", why=reset)
        if self._cycle_mark is not None and self._cycle_literal in text and self._cycle_mark.search(text):
            found.append(self._cycle_ends(text.strip()[:80]))
        for dialect, said in self._panel.hear(
            Line(text, self.line, self._boots.number, self._cycle, t_s, self._system), held
        ):
            found += self._heard(dialect, said)
        if chunk.cut_line and end == len(chunk.data) and self._panel.told:
            text = "the last line has no line end, so the log may have been cut there"
            found.append(self._problem("cut_line", text))
        return found

    def _began(self, text: str) -> list[AnyObservation]:
        """Whether the line is one that a system prints when it starts."""
        if self._boot_mark is not None and self._boot_mark.search(text):
            return self._reset("boot mark", text.strip()[:80])
        name = banner(text)
        if name is None:
            return []
        self._system = self._system or SYSTEMS.get(name)
        return self._reset(name, name)

    def _heard(self, dialect: Dialect, found: list[AnyObservation]) -> list[AnyObservation]:
        """Pass on what a dialect found, unless a figure in it shows that the device was reset before."""
        if not found:
            return found
        self.found_by.add(dialect.name)
        boot = self.boot
        passed: list[AnyObservation] = []
        for observation in found:
            if isinstance(observation, HeapSample) and observation.min_free_bytes is not None:
                passed += self._rise(observation)
            if boot != self.boot and observation.boot == boot:
                passed.append(_moved(observation, self.boot, None if self._cycle is None else 0))
            else:
                passed.append(observation)
            if isinstance(observation, _OBSERVED):
                self._boots.observed()
        return passed

    def _rise(self, sample: HeapSample) -> list[AnyObservation]:
        """The least free heap so far can only fall within one boot."""
        low = sample.min_free_bytes
        heap = (sample.dialect, sample.heap)  # what two consoles call the heap need not be one
        before = self._lowest_free.get(heap)
        began: list[AnyObservation] = []
        if low is not None:
            if sample.boot == self.boot and before is not None and low > before:
                why = f"the least free heap so far rose from {before:,} to {low:,} B"
                began = self._reset("figures", "least free heap rose", why=why, line=sample.line)
            self._lowest_free[heap] = low
        return began

    def _reset(self, kind: str, label: str, *, why: str | None = None, line: int | None = None) -> list[AnyObservation]:
        """The device began anew: close what is open, then count from the start."""
        line = self.line if line is None else line
        found: list[AnyObservation] = []
        for _, open_still in self._panel.finish():
            if any(not isinstance(observation, Problem) for observation in open_still):
                self._boots.observed()
            found += open_still
        if not self._boots.sign(kind, line):
            return found
        self._lowest_free.clear()
        self._timeline.forget_device()
        if self._cycle is not None:
            self._cycle = 0
        found.append(Mark(what="boot", label=label, line=line, boot=self.boot, cycle=self._cycle, t_s=self._t_s))
        if why is not None:
            text = f"{why}: within one boot that cannot be, so the device was reset unseen"
            found.append(self._problem("unexpected_reset", text))
        return found

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


def _moved(observation: AnyObservation, boot: int, cycle: int | None) -> AnyObservation:
    """The same in the boot that its own figures prove; the tracer's state in that boot is unknown."""
    if isinstance(observation, HeapSample):
        return msgspec.structs.replace(observation, boot=boot, cycle=cycle, tracer=None)
    return msgspec.structs.replace(observation, boot=boot, cycle=cycle)
