"""heaptrail's own agent: what stands between its begin line and its end line (SPEC.md, "Agent text").

Source: `agent/src/ht_console.c`. A dump is three things: a begin line, lines of known forms, an end line that counts
and sums them up. So this dialect knows whether it saw all of a dump, where others must guess. While a dump is open it
holds the console: no other dialect is asked, or its blocks, printed as Tina RTOS prints them, would be read twice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.overheads import MeasuredOverheads
from heaptrail.dialects.text import PROMPT, Place, number_ranges, place, problem
from heaptrail.model.evidence import FootprintRule
from heaptrail.model.observations import Block, Dump, RawFrame, SiteCount

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.dialects import Line
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation, SizeKind

_BEGIN = re.compile(
    r"heaptrail: begin (\w+) text=(\d{1,4}) agent=(\S{1,32}) build=(\w{1,40}) .*\bfilters=(\d{1,4})"
    r"(?P<sizes> sizes=block)? state=(\w{1,8})"
)
_END = re.compile(r"heaptrail: end (\w+) ((?:\w+=\d{1,10} )+)sum=([0-9A-F]{8})$")
_FRAME = re.compile(r"(?:backtrace : |(at|freed at|freed before at) )0x((?:[0-9A-F]{8}){1,2})$")
_RECORD = re.compile(r"(\d{3,10}): ptr = 0x((?:[0-9a-f]{8}){1,2}), size = 0x([0-9a-f]{8}), thread = (.*)$")
_MISUSE = re.compile(r"(double free checked|free null pointer)!!!!$")
_NOTE = re.compile(r"memleak: (?:(\d{1,10}) )?(\S.*)$")
_FILTER = re.compile(r"\d{3}: filter thread = (.*)$")
_SITE = re.compile(
    r"site (\d{3,5}): live = (\d{1,10}), bytes = (\d{1,10}), allocs = (\d{1,10}), frees = (\d{1,10}),"
    r" failed = (\d{1,10}), unrecorded = (\d{1,10}), first = (\d{1,10}), last = (\d{1,10}), oldest = (\d{1,10})"
    r"(?:, (?:other|no stack))?$"
)
_COMPACT_STACK = re.compile(r"@([s+])(\d{1,5})((?: (?:[0-9A-F]{8}){1,2}){0,8})$")
_COMPACT_TASK = re.compile(r"@t(\d{1,3}) (\d{1,10}) (.*)$")
_COMPACT_BLOCK = re.compile(r"@b ((?:[0-9A-F]{8}){1,2}) ([0-9a-f]{1,8}) (\d{1,3}) s(\d{1,5}) t(\d{1,3}) q(\d{1,10})$")
_UNKNOWN_OVERHEAD = 255  # or so much and more
_PATIENCE_LINES = 400
"""So many lines of other tasks may come between two lines of a dump; then its rest is taken for lost."""
_NO_TASK_IDS = (0, 0xFFFF_FFFF)
"""Before the scheduler runs, and in an interrupt."""
_TEXT_VERSION = 1
_FNV_BASIS, _FNV_PRIME = 2166136261, 16777619


class _Open:
    """A dump that is being printed."""

    def __init__(self, line: Line, what: str, dump: int, filters: int, *, off: bool, block_sizes: bool) -> None:
        self.where: Place = place(line, "heaptrail")
        self.what = what
        self.dump = dump
        self.filters = filters
        self.off = off
        self.size_kind: SizeKind = "block" if block_sizes else "requested"
        self.filter_names: list[str] = []
        self.items = 0
        self.size_bytes = 0
        self.lines = 0
        self.sum = _FNV_BASIS
        self.left = _PATIENCE_LINES
        self.last_number = 0
        self.gaps: list[tuple[int, int]] = []
        self.lost_stacks: set[int] = set()
        self.stacks: dict[int, list[RawFrame]] = {}
        self.tasks: dict[int, tuple[str | None, int | None]] = {}
        self.frames: dict[str | None, list[RawFrame]] = {}
        self.pending: Callable[[], AnyObservation] | None = None

    def add_to_sum(self, text: str) -> None:
        """FNV-1a over the line without blanks at its ends, and a line feed."""
        value = self.sum
        for byte in f"{text}\n".encode("utf-8", "replace"):
            value = ((value ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF
        self.sum = value
        self.lines += 1
        self.left = _PATIENCE_LINES

    def frames_of(self, kind: str | None) -> tuple[RawFrame, ...]:
        """The frames read since the line that they belong to."""
        return tuple(self.frames.get(kind, ()))


class HeaptrailAgent:
    """heaptrail's own agent: its dumps, compact ones too, and its sites.

    Everything else on that console (`free`, the commands themselves) is Tina's, or any FreeRTOS product's own words, so
    those are asked together with it.
    """

    name: ClassVar[str] = "heaptrail"
    sample_line: ClassVar[str] = "@b 08760960 f00 8 s2 t0 q41"
    firmware_options: ClassVar[str] = "the agent of this repository (agent/), with a console command `memleak`"
    tells: ClassVar[str] = (
        "live blocks with task, backtrace and birth, whether a dump is whole, counters of each site and who frees"
    )
    cannot_tell: ClassVar[str] = "blocks that were live before `memleak 1`, the order of frees"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free", arm="memleak 1", peek="memleak show compact", collect="memleak 0", sites="memleak sites"
    )
    triggers: ClassVar[tuple[bytes, ...]] = (b"heaptrail: ",)
    companions: ClassVar[tuple[str, ...]] = ("tina", "freertos", "firmware")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: _Open | None = None
        self._dumps = 0
        self._wide = False
        self._narrow = False
        self._overheads = MeasuredOverheads()

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        return self._open.left if self._open is not None else 0

    @property
    def holds(self) -> bool:
        """Whether the lines are this dialect's alone, until its dump ends."""
        return self._open is not None

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        text = line.text.strip(" \t")
        if text.startswith("heaptrail: begin "):
            return self._begin(line, text)
        if text.startswith("heaptrail: end "):
            return self._end(line, text)
        dump = self._open
        if dump is None:
            return []
        dump.left -= 1
        if dump.left == 0 or line.boot != dump.where["boot"] or PROMPT.match(text):
            return self._cut(dump)
        found = self._read(line, dump, text)
        if found is None:
            return []  # another task's line, or one of ours that was damaged: the sum will show that
        dump.add_to_sum(text)
        return found

    def _begin(self, line: Line, text: str) -> list[AnyObservation]:
        found = self._cut(self._open) if self._open is not None else []
        match = _BEGIN.match(text)
        if match is None or int(match[2]) > _TEXT_VERSION:
            what = "corrupt" if match is None else "newer_format"
            said = "damaged" if match is None else f"of a newer format ({match[2]})"
            return [
                *found,
                problem(place(line, self.name), what, f"a begin line of the agent is {said}; the dump is left"),
            ]
        if match[1] != "sites":
            self._dumps += 1
        self._open = _Open(
            line, match[1], self._dumps, int(match[5]), off=match[7] == "off", block_sizes=match["sizes"] is not None
        )
        self._open.add_to_sum(text)
        return found

    def _read(self, line: Line, dump: _Open, text: str) -> list[AnyObservation] | None:
        """What the line says; None when it is not the agent's."""
        if (match := _FRAME.match(text)) is not None:
            frames = dump.frames.setdefault(match[1], [])
            if len(frames) < self._limits.frames_per_block:
                frames.append(RawFrame(pc=int(match[2], 16), kind="call"))
            return []
        for pattern, reader in (
            (_COMPACT_BLOCK, self._compact_block),
            (_RECORD, self._record),
            (_SITE, self._site),
            (_COMPACT_STACK, self._compact_stack),
            (_COMPACT_TASK, self._compact_task),
            (_MISUSE, self._misuse),
            (_FILTER, self._filter),
            (_NOTE, self._note),
        ):
            if (match := pattern.match(text)) is not None:
                # A note stands between the two stacks of a misuse report, which it belongs to.
                found = [] if pattern is _NOTE else self._flush(dump)
                return found + reader(place(line, self.name), dump, match)
        return None

    def _filter(self, _where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        dump.filter_names.append(match[1])
        return []

    def _note(self, where: Place, _dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        if "while paused" not in match[2]:
            return []  # the end line says the same in numbers
        return [problem(where, "paused", f"the tracer was paused and did not record {match[1]} allocations")]

    def _record(self, where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        number, address, size_bytes = int(match[1]), int(match[2], 16), int(match[3], 16)
        if number > dump.last_number + 1:
            dump.gaps.append((dump.last_number + 1, number - 1))
        dump.last_number = number
        task = match[4] or None

        def block() -> Block:
            return Block(
                dump=dump.dump,
                address=address,
                size_bytes=size_bytes,
                size_kind=dump.size_kind,
                task=task,
                frames=dump.frames_of(None),
                **where,
            )

        return self._counted(dump, size_bytes, block)

    def _counted(self, dump: _Open, size_bytes: int, block: Callable[[], Block]) -> list[AnyObservation]:
        dump.items += 1
        dump.size_bytes += size_bytes
        if dump.items <= self._limits.records_per_dump:
            dump.pending = block
        elif dump.items == self._limits.records_per_dump + 1:
            text = f"the listing has more than {self._limits.records_per_dump:,} records; the rest is left out"
            return [problem(dump.where, "too_many", text)]
        return []

    def _site(self, where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        dump.items += 1
        number, live, size, allocs, frees, failed, unrecorded, first, last, oldest = (
            int(match[i]) for i in range(1, 11)
        )
        dump.size_bytes += size

        def site() -> SiteCount:
            return SiteCount(
                site=number,
                live_blocks=live,
                live_bytes=size,
                allocations=allocs,
                frees=frees,
                failed=failed,
                unrecorded=unrecorded,
                first_sequence=first if allocs else None,
                last_sequence=last if allocs else None,
                oldest_death_allocations=oldest if frees else None,
                frames=dump.frames_of("at"),
                freed_by=dump.frames_of("freed at"),
                **where,
            )

        dump.pending = site
        return []

    def _misuse(self, where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        what = "double_free" if match[1].startswith("double") else "free_null"

        def report() -> AnyObservation:
            text = "a null pointer was freed" if what == "free_null" else "a block was freed twice"
            before = dump.frames_of("freed before at")
            if before:
                text += "; freed before at " + " ".join(f"0x{frame.pc:08X}" for frame in before)
            return problem(where, what, text, dump.frames_of(None))

        dump.pending = report
        return []

    def _compact_stack(self, _where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        frames = [RawFrame(pc=int(digits, 16), kind="call") for digits in match[3].split()]
        known = dump.stacks.setdefault(int(match[2]), [])
        known += frames[: self._limits.frames_per_block - len(known)]
        return []

    def _compact_task(self, _where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        task_id = int(match[2])
        dump.tasks[int(match[1])] = (match[3] or None, None if task_id in _NO_TASK_IDS else task_id)
        return []

    def _compact_block(self, where: Place, dump: _Open, match: re.Match[str]) -> list[AnyObservation]:
        stack = int(match[4])
        if stack not in dump.stacks:
            dump.lost_stacks.add(stack)
        task, task_id = dump.tasks.get(int(match[5]), (None, None))
        block = Block(
            dump=dump.dump,
            address=int(match[1], 16),
            size_bytes=int(match[2], 16),
            size_kind=dump.size_kind,
            task=task,
            task_id=task_id,
            sequence=int(match[6]),
            frames=tuple(dump.stacks.get(stack, ())),
            **where,
        )
        if dump.size_kind == "requested" and int(match[3]) < _UNKNOWN_OVERHEAD:
            self._overheads.add(block.size_bytes, int(match[3]))
        return self._counted(dump, block.size_bytes, lambda: block)

    def _end(self, line: Line, text: str) -> list[AnyObservation]:
        dump = self._open
        if dump is None:
            said = "an end line of the agent has no begin line; what stood between them may be lost"
            return [problem(place(line, self.name), "missing_records", said)]
        match = _END.match(text)
        if match is None or match[1] != dump.what:
            return self._cut(dump)
        self._open = None
        found = self._flush(dump)
        counts = {name: int(value) for name, value in (pair.split("=") for pair in match[2].split())}
        declared, lines = counts.get("items"), counts.get("lines")
        whole = declared == dump.items and lines == dump.lines and int(match[3], 16) == dump.sum
        if not whole:
            said = (
                f"{dump.items} of {declared} entries and {dump.lines} of {lines} lines of this dump arrived as printed"
            )
            if dump.gaps:
                said += f"; the records {number_ranges(dump.gaps)} are missing"
            found.append(problem(dump.where, "missing_records" if declared != dump.items else "torn_record", said))
        found += self._limits_of(dump, counts)
        if dump.off and not dump.items:
            found.append(problem(dump.where, "tracer_off", "the tracer was off, so this empty dump says nothing"))
        elif dump.what != "sites":
            fits = dump.items <= self._limits.records_per_dump
            found.append(
                Dump(
                    dump=dump.dump,
                    declared_blocks=declared,
                    declared_bytes=counts.get("bytes"),
                    complete=whole and fits and not counts.get("unrecorded"),
                    **dump.where,
                )
            )
        return found

    def _limits_of(self, dump: _Open, counts: dict[str, int]) -> list[AnyObservation]:
        """What the agent says that it did not see."""
        said = (
            ("unrecorded", "overflow", "blocks were live beyond the agent's pool of records: counted, not listed"),
            ("other", "overflow", "allocations found the agent's table of stacks full: counted under `other`"),
            ("failed", "alloc_failed", "allocations failed"),
            ("missed", "missed_frees", "blocks went away without a free that the agent saw"),
        )
        found: list[AnyObservation] = [
            problem(dump.where, what, f"{counts[key]:,} {text}") for key, what, text in said if counts.get(key)
        ]
        if dump.filters:
            names = ", ".join(dump.filter_names) or f"{dump.filters} tasks"
            found.append(problem(dump.where, "filter_active", f"only allocations of {names} are recorded"))
        if dump.lost_stacks:
            text = f"the stacks {', '.join(f's{number}' for number in sorted(dump.lost_stacks)[:8])} were lost"
            found.append(problem(dump.where, "torn_record", text))
        return found

    def _flush(self, dump: _Open) -> list[AnyObservation]:
        """Give out what the frames up to here belong to."""
        pending, dump.pending = dump.pending, None
        found = [] if pending is None else [pending()]
        dump.frames = {}
        for block in found:
            if isinstance(block, Block):
                self._wide |= block.address > 0xFFFF_FFFF
                self._narrow |= block.address % 16 != 0
        return found

    def _cut(self, dump: _Open) -> list[AnyObservation]:
        """The end line never came."""
        self._open = None
        found = self._flush(dump)
        found.append(problem(dump.where, "missing_records", "this dump has no end line: its rest was lost"))
        if dump.what != "sites":
            found.append(Dump(dump=dump.dump, complete=False, **dump.where))
        return found

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`."""
        return self._cut(self._open) if self._open is not None else []

    def footprint(self) -> FootprintRule | None:
        """heap_4's, as far as addresses show the CPU's width; another where a compact listing's overheads say so."""
        return self._overheads.rule(self._supposed_footprint())

    def _supposed_footprint(self) -> FootprintRule | None:
        if self._wide:
            basis = "heap_4 on a 64-bit CPU (an address above 32 bits was printed)"
            return FootprintRule(header_bytes=16, align_bytes=16, basis=basis)
        if self._narrow:
            basis = "heap_4 on a 32-bit CPU (a block stands at an address that is no multiple of 16)"
            return FootprintRule(header_bytes=8, align_bytes=8, basis=basis)
        return None
