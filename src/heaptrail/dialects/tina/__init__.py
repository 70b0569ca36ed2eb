"""Tina RTOS, Allwinner's FreeRTOS distribution (R128, V821, D1s), and heaptrail's own agent, which prints the same.

Source: the console's format strings in the firmware (`free`, `top`, `memleak`, `memallocate`), the case, and the
agent's `ht_console.c`. Sizes are those asked for; frames are the addresses of the call instructions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from heaptrail.dialects import ConsoleCommands
from heaptrail.dialects.text import PROMPT, Place, place, problem
from heaptrail.dialects.tina.heap import HeapTables
from heaptrail.dialects.tina.records import Listing, read_frame
from heaptrail.dialects.tina.tasks import TaskTables
from heaptrail.model.evidence import FootprintRule
from heaptrail.model.observations import Mark

if TYPE_CHECKING:
    from heaptrail.dialects import Line, Run
    from heaptrail.limits import Limits
    from heaptrail.model.observations import AnyObservation, RawFrame, TracerState

_COMMAND = re.compile(r"(?:^|\s)[\w.:/~@-]{0,32}[>$#]\s*(memleak|memallocate)(?:\s+([!-~]+(?:\s+[!-~]+)*))?\s*$")
_MISUSE = re.compile(r"(double free checked|free null pointer)\s*!")
_FILTER = re.compile(r"\d\s*:\s*filter thread\s*=\s*(\S.*?)\s*$")
_NOTE = re.compile(r"memleak\s*:\s+(\d+) (\S.*?)\s*$")
_NOTES = (
    ("not recorded", "overflow"),
    ("counted under other", "overflow"),
    ("allocations failed", "alloc_failed"),
    ("without a hook", "missed_frees"),
)
_RARE_WORDS = ("!", "filter thread", "Memory Leak Check")
_LINE_CHARACTERS = 400
"""Four times the longest line of this console, a log prefix included. A longer one is not matched: the time that some
patterns take grows with the square of the length."""
_PATIENCE_LINES = 8
"""So many lines behind one of ours are looked at whatever they hold: torn lines and the closing prompt are there."""
_REPORT_LINES = 40
"""A double-free report is a handful of lines; a frame this far behind is another's."""


class _Misuse:
    """A double-free or free-null report whose frames are still coming."""

    def __init__(self, line: Line, what: str) -> None:
        self.where: Place = place(line, "tina")
        self.what = what
        self.frames: list[RawFrame] = []
        self.prefix: str | None = None
        self.note: str | None = None
        self.last_line = line.number


class Tina:
    """Tina RTOS (Allwinner): free with its task table, memleak, top."""

    name: ClassVar[str] = "tina"
    sample_line: ClassVar[str] = "    007: ptr = 0x08760960, size = 0x00000f00, thread = AudioRender"
    firmware_options: ClassVar[str] = "CONFIG_COMPONENTS_MEMLEAK, MEMORY_LEAK_BACKTRACE_LEVEL; or heaptrail's agent"
    tells: ClassVar[str] = "heap totals, tasks with stack reserve, live blocks with task and backtrace, double frees"
    cannot_tell: ClassVar[str] = "largest free block, blocks that were live before `memleak 1`, frees as they happen"
    commands: ClassVar[ConsoleCommands | None] = ConsoleCommands(
        sample="free",
        arm="memleak 1",
        peek="memleak show",
        collect="memleak 0",
        prompt=r"(?:c906|m33|rv|dsp|hifi\d?|console)>",
        help=r"\bmemleak\b",
        needs="CONFIG_COMPONENTS_MEMLEAK with MEMORY_LEAK_BACKTRACE_LEVEL, or heaptrail's agent",
    )
    companions: ClassVar[tuple[str, ...]] = ("heaptrail", "firmware")
    triggers: ClassVar[tuple[bytes, ...]] = (
        b"heaptrail: begin",
        b"Bytes",
        b" Heap:",
        b"KiB Mem",
        b"HWM",
        b"Priority",
        b"ptr",
        b"backtrace",
        b"memleak",
        b"memallocate",
        b"!!!",
        b"filter thread",
        b"Memory Leak Check",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heap = HeapTables()
        self._tasks = TaskTables()
        self._listing = Listing(limits)
        self._misuse: _Misuse | None = None
        self._left = 0
        self._boot = 1
        self._tracer: TracerState | None = None
        self._filter: str | None = None

    @property
    def wants(self) -> int:
        """See `Dialect`."""
        waits = self._listing.waits or self._heap.waits or self._misuse is not None
        return max(self._left if waits else 0, self._tasks.wants)

    @property
    def runs(self) -> bool:
        """See `Dialect`."""
        return self._listing.runs and self._misuse is None and not self._heap.waits and not self._tasks.wants

    def run(self, data: bytes, at: int, stop: int, line: Line) -> Run | None:
        """See `Dialect`: records as they are printed while nothing else is."""
        if not self.runs or line.boot != self._boot:
            return None
        run = self._listing.run(data, at, stop, line)
        if run is not None:
            self._left = _PATIENCE_LINES
        return run

    def feed(self, line: Line) -> list[AnyObservation]:
        """See `Dialect`."""
        found: list[AnyObservation] = []
        if line.boot != self._boot:
            found += self.finish()
            self._boot = line.boot
        if len(line.text) > _LINE_CHARACTERS:
            self._left = max(0, self._left - 1)
            return found
        read = self._read(line)
        if read is not None:
            self._left = _PATIENCE_LINES
            return found + read
        self._left = max(0, self._left - 1)
        found += self._tasks.row(line)
        if not found and PROMPT.match(line.text):
            found += self._listing.close(over=True)
            self._tasks.close()
            self._left = 0
        return found

    def _read(self, line: Line) -> list[AnyObservation] | None:
        """What the line says outside a task table; None when it is not one of ours."""
        text = line.text
        if "heaptrail: begin " in text:
            return self._close_misuse() + self._heap.close() + self._listing.give_up()
        if ("race" in text or "back" in text) and (read := self._frame(line)) is not None:
            return read
        if "mem" in text and ((read := self._command(line)) is not None or (read := self._note(line)) is not None):
            return read
        read = self._block_or_table(line)
        return self._rare(line) if read is None else read

    def _block_or_table(self, line: Line) -> list[AnyObservation] | None:
        read = self._listing.record(line) if self._listing.waits or "ptr" in line.text else None
        if read is None:
            read = self._table_line(line)
        return None if read is None else self._close_misuse() + read

    def _table_line(self, line: Line) -> list[AnyObservation] | None:
        read = self._heap.figure(line, self._tracer)
        if read is None:
            read = self._heap.heading(line)
        if read is not None:
            self._listing.interrupt()
            self._tasks.close()
            return read
        if ("Stack" in line.text or "HWM" in line.text or "KiB Mem" in line.text) and self._tasks.heading(line):
            return self._heap.close()
        return None

    def _frame(self, line: Line) -> list[AnyObservation] | None:
        report = self._misuse
        if report is None:
            return self._listing.frame(line)
        frame, prefix = read_frame(line.text)
        if line.number - report.last_line > _REPORT_LINES or (frame and report.prefix not in (None, prefix)):
            return self._close_misuse() + (self._listing.frame(line) or [])
        if frame is not None:
            report.prefix = prefix
            report.last_line = line.number
            if frame.pc and len(report.frames) < self._limits.frames_per_block:
                report.frames.append(frame)
        return []

    def _close_misuse(self) -> list[AnyObservation]:
        report, self._misuse = self._misuse, None
        if report is None:
            return []
        if report.what == "double_free":
            text = "the tracer saw a block freed twice, or one that it never recorded"
        else:
            text = "the tracer saw a null pointer freed"
        if report.note:
            text = f"{text} ({report.note})"
        return [problem(report.where, report.what, text, tuple(report.frames))]

    def _command(self, line: Line) -> list[AnyObservation] | None:
        match = _COMMAND.search(line.text)
        if match is None:
            return None
        command, arguments = match[1], (match[2] or "").split()
        where = place(line, "tina")
        if command == "memallocate":
            task = " ".join(arguments) or None
            found = self._listing.ask(line, tracer_on=False, task=task)
            if task is not None:
                found.append(problem(where, "filter_active", f"the listing is of the task {task} only"))
            return found
        if arguments[:1] == ["1"]:
            return self._listing.close(over=True) + self._armed(where, arguments[1:])
        if arguments == ["0"]:
            found = self._listing.ask(line, tracer_on=self._tracer == "on")
            self._tracer = "off"
            return [*found, Mark(what="step", label="tracer off", **where)]
        if arguments == ["show"]:
            return self._listing.ask(line, tracer_on=self._tracer == "on")
        return []

    def _armed(self, where: Place, names: list[str]) -> list[AnyObservation]:
        self._tracer = "on"
        found: list[AnyObservation] = [Mark(what="step", label="tracer on", **where)]
        if names:
            self._filter = ", ".join(names)
            found.append(problem(where, "filter_active", f"only allocations of {self._filter} are recorded"))
        elif self._filter is not None:
            # memleak.c clears the filter flag in memleak_detect_stop alone, not in the command `memleak 0`.
            text = f"an earlier `memleak 1 {self._filter}` may still be in force: this tracer then records nothing"
            found.append(problem(where, "filter_active", text))
        return found

    def _note(self, line: Line) -> list[AnyObservation] | None:
        """The agent's own lines, which begin with `memleak:`."""
        match = _NOTE.search(line.text)
        if match is None:
            return None
        count, said = match[1], match[2]
        if self._misuse is not None and (said.startswith(("double frees", "frees of null"))):
            self._misuse.note = f"{count} {said}"
            return self._close_misuse()
        what = next((what for words, what in _NOTES if words in said), None)
        if what is None:
            return None
        if "not recorded" in said:
            self._listing.distrust()
        return [problem(place(line, "tina"), what, f"the tracer says: {count} {said}")]

    def _rare(self, line: Line) -> list[AnyObservation] | None:
        text = line.text
        if not any(word in text for word in _RARE_WORDS):
            return None
        where = place(line, "tina")
        if (match := _MISUSE.search(text)) is not None:
            found = self._close_misuse()
            self._misuse = _Misuse(line, "double_free" if match[1].startswith("double") else "free_null")
            return found
        if (match := _FILTER.search(text)) is not None:
            return [problem(where, "filter_active", f"only allocations of {match[1]} are recorded")]
        if "Memory Leak Check have been opened" in text:
            self._tracer = "on"
            return []
        return None

    def finish(self) -> list[AnyObservation]:
        """See `Dialect`. It is also called at a reset: what was open cannot go on, and the tracer's state is lost."""
        found = self._close_misuse() + self._heap.close() + self._listing.close(over=False)
        self._tasks.close()
        self._tracer = None
        self._filter = None
        return found

    def footprint(self) -> FootprintRule | None:
        """heap_4's header and alignment: 8 bytes on 32-bit, 16 on 64-bit; None where the log does not show which.

        Eight printed digits show nothing: the R128's C906 is a 64-bit CPU and prints eight.
        """
        if self._listing.wide:
            basis = "heap_4 on a 64-bit CPU (an address or size above 32 bits was printed)"
            return FootprintRule(header_bytes=16, align_bytes=16, basis=basis)
        if self._listing.narrow:
            basis = "heap_4 on a 32-bit CPU (a block stands at an address that is no multiple of 16)"
            return FootprintRule(header_bytes=8, align_bytes=8, basis=basis)
        return None
