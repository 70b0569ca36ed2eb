"""The moves that every procedure on a device is made of: start, one round, a reading, a listing, stop.

They are driven by `heaptrail.procedures.hunt` and `heaptrail.procedures.soak`, which decide what comes when. A move
knows no dialect but the commands of its console, and where nobody named one it asks the console (`identify`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from heaptrail.dialects import ConsoleCommands
from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.procedures.console import LONGEST_DUMP_S, Console, ConsoleTimeout, Deadline
from heaptrail.procedures.identify import identify, is_refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.clock import Clock
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Step, Workload
    from heaptrail.transports import Line

_AFTER_OUT_OF_MEMORY_S = 3.0
"""After an allocation failed the workload gets three times its slowest round to end another, and this at least."""
_AT_AN_UNKNOWN_PACE_S = 60.0
"""The same where no round has ended yet."""
_WIND_DOWN_STEP_S = 3.0
_WIND_DOWN_PROMPT_S = 10.0
"""Time for a listing that is being printed to come to its end."""
_WIND_DOWN_DUMP_S = 60.0
_PUMP_S = 0.25
_FREE = re.compile(r"(?i)^(?!.*\bmin).*\bfree\b\D{0,16}?(\d+)")


class OutOfMemory(Exception):  # noqa: N818 - no error: a turn of events that the procedure must deal with
    """The workload ended because the heap is used up; what is known must be collected now."""


class Driver:
    """A device, its console and what is known about it now.

    Args:
        workload: What to do on the device.
        commands: What to type; a command that is None is left out. None asks the console what it is.
        transport: To the console.
        capture: Takes everything down.
        clock: For every deadline.
    """

    def __init__(
        self,
        workload: Workload,
        commands: ConsoleCommands | None,
        transport: Line,
        capture: Recorder,
        *,
        clock: Clock,
    ) -> None:
        self._workload = workload
        self._plan = workload.workload
        self._commands = commands or ConsoleCommands()
        self._unknown = commands is None
        self._tried = False
        self._moment: str | None = None
        self._transport = transport
        self._clock = clock
        self._console = Console(transport, capture, clock, workload)
        self._free_bytes: int | None = None
        self._running = self._armed = self._lists = self._interrupted = False
        self._driven = self._earlier_cycles = 0
        self._slowest_cycle_s = 0.0
        self._reboots = self._readings = self._dumps = 0
        self._notes: list[str] = []

    def _connect(self) -> None:
        """Find the prompt, and at the first time what to type behind it."""
        self._console.connect()
        if self._unknown:
            found = identify(self._console)
            self._commands, self._unknown, self._tried = found.commands, False, not found.known
            self._notes.append(f"the console is taken for {found.dialect}: {found.because}")

    def _type(self, command: str, *, lists: bool = False, longest_s: float | None = None) -> list[str] | None:
        """The answer to a command; None, and a note, where the console does not know it. `lists` is of live blocks."""
        answer = self._console.command(command, longest_s=longest_s)
        if not is_refused(command, answer):
            return answer
        note = f"this console does not know `{command}`{self._needs() if lists else ''}"
        if note not in self._notes:
            self._notes.append(note)
        return None

    def _needs(self) -> str:
        """What listing blocks takes in the firmware, as the end of a sentence."""
        return f"; that takes {self._commands.needs}" if self._commands.needs else ""

    @property
    def _all_cycles(self) -> int:
        """Rounds over all boots."""
        return self._earlier_cycles + self._cycles

    def _begin_boot(self) -> None:
        """The device began anew: nothing runs on it, and its rounds count from 0."""
        self._reboots += 1
        self._earlier_cycles += self._cycles
        self._driven = 0
        self._console.lines.begin_boot()
        self._running = self._armed = False

    @property
    def _cycles(self) -> int:
        """Rounds in this boot."""
        return self._driven if self._plan.cycle_mark is None else self._console.lines.cycles

    def _start(self) -> None:
        """Begin the workload, and remember when that was, where the console can tell."""
        if self._commands.tasks is not None and self._type(self._commands.tasks) is None:
            self._commands = msgspec.structs.replace(self._commands, tasks=None)
        self._moment = None
        if self._commands.moment is not None and self._commands.moment_pattern is not None:
            pattern = re.compile(self._commands.moment_pattern)
            answer = self._type(self._commands.moment) or []
            self._moment = next((match[1] for line in answer if (match := pattern.search(line)) is not None), None)
        self._console.mark("workload start")
        self._running = True
        for step in self._plan.start:
            self._console.perform(step)

    def _one_round(self, which: str) -> None:
        """Go through a round; `which` names it in an error. Raises `OutOfMemory` when the heap is used up."""
        begun_s, before = self._clock.monotonic(), self._cycles
        if self._plan.cycle:
            try:
                for step in self._plan.cycle:
                    self._console.perform(step)
            except ConsoleTimeout:
                if self._console.lines.out_of_memory:
                    raise OutOfMemory from None
                raise
        if self._plan.cycle_mark is None:
            self._driven += 1
            self._console.mark("cycle")
        else:
            self._await_mark(before, which)
        self._slowest_cycle_s = max(self._slowest_cycle_s, self._clock.monotonic() - begun_s)

    def _await_mark(self, before: int, which: str) -> None:
        """Wait for the line that ends a round; several that come at once all count."""
        deadline = Deadline(self._clock, self._plan.cycle_timeout_s)
        last_chance: Deadline | None = None
        while self._cycles <= before:
            if self._console.lines.out_of_memory and last_chance is None:
                pace_s = 3 * self._slowest_cycle_s or _AT_AN_UNKNOWN_PACE_S
                last_chance = Deadline(self._clock, max(_AFTER_OUT_OF_MEMORY_S, pace_s))
            if last_chance is not None and last_chance.expired:
                raise OutOfMemory
            if deadline.expired:
                raise ConsoleTimeout(
                    f"{self._workload.target.console}: {which} did not end within "
                    f"{self._plan.cycle_timeout_s:g} s: no line matched {self._plan.cycle_mark!r}; the last that came "
                    f"was {self._console.lines.sample()}",
                    try_this="correct cycle_mark, or give [workload] a longer cycle_timeout_s",
                )
            self._console.pump(min(_PUMP_S, deadline.left_s))

    def _arm(self) -> bool:
        """Switch the tracer on, where the console has one; False, and a note, where it has not.

        Where blocks can be listed and nothing needs to be switched on, the allocator itself keeps what is listed.
        """
        if self._commands.arm is None and self._commands.peek is not None and self._commands.collect is not None:
            self._lists = True
            return True
        if self._commands.arm is None or self._commands.collect is None:
            note = "this console has no command for a tracer, so no allocation sites were recorded"
            self._notes.append(f"{note}{self._needs()}")
            return False
        self._armed = True  # before it is true, so that an interrupt here switches it off
        if self._type(self._commands.arm, lists=True) is None:
            self._armed = False
            return False
        self._console.mark("tracer on")
        return True

    def _list(self, command: str) -> bool:
        """List live blocks, only those of this run where the console can tell them; False where it cannot list."""
        since = self._commands.since
        windowed = since is not None and self._moment is not None
        typed = since.replace("{moment}", self._moment) if since is not None and self._moment is not None else command
        if self._type(typed, lists=True, longest_s=LONGEST_DUMP_S) is None:
            if windowed:
                self._moment = None
                return self._list(command)
            self._lists = False
            return False
        self._dumps += 1
        return True

    def _sample(self) -> None:
        """Read the heap."""
        if self._commands.sample is None:
            return
        answer = self._type(self._commands.sample)
        if answer is None:
            if self._tried or (self._commands.arm is None and self._commands.peek is None):
                raise TargetError(
                    f"{self._workload.target.console}: the console does not know `{self._commands.sample}`, and "
                    f"nothing else tells of its heap",
                    try_this="set the right dialect (heaptrail list dialects), or its commands in [target.commands]",
                )
            self._commands = msgspec.structs.replace(self._commands, sample=None)
            return
        self._readings += 1
        for line in answer:
            if match := _FREE.match(line):
                self._free_bytes = int(match[1])
                return

    def _peek(self) -> None:
        """List live blocks while the tracer runs on."""
        if (self._armed or self._lists) and self._commands.peek is not None:
            self._list(self._commands.peek)

    def _stop(self) -> None:
        """End the workload, so that its memory is given back."""
        if not self._plan.stop:
            return
        self._console.mark("workload stop")
        for step in self._plan.stop:
            self._console.perform(step)
        self._console.settle(timeout_s=2.0)
        self._running = False
        self._console.mark("teardown done")

    def _collect(self, *, sample: bool = True) -> None:
        """List what is still live, switch the tracer off, and read the heap a last time."""
        if (self._armed or self._lists) and self._commands.collect is not None:
            if self._commands.tasks is not None:
                self._type(self._commands.tasks)
            self._list(self._commands.collect)
            if self._armed:
                self._armed = False
                self._console.mark("tracer off")
        if sample:
            self._sample()

    def _wind_down(self, say: Callable[[], None]) -> None:
        """`say` what happens, then stop the workload and the tracer in bounded time; a second Ctrl-C ends this, too."""
        try:
            say()
            self._console.watch_boots = False
            if self._running or self._armed:
                self._console.answers(_WIND_DOWN_STEP_S)  # its Enter also ends whatever was half typed
            if self._running and self._plan.stop:
                self._console.mark("workload stop")
                for step in self._plan.stop:
                    self._try(step)
                self._running = False
                self._console.mark("teardown done")
            if self._armed and self._commands.collect is not None:
                longest_s = _WIND_DOWN_DUMP_S if self._console.answers(_WIND_DOWN_PROMPT_S) else _WIND_DOWN_STEP_S
                self._console.command(self._commands.collect, longest_s=longest_s, idle_s=_WIND_DOWN_STEP_S)
                self._dumps += 1
                self._armed = False
                self._console.mark("tracer off")
        except (HeaptrailError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                self._interrupted = True
            if self._armed:
                self._notes.append(
                    "the tracer could not be switched off: reset the device, or type the command by hand"
                )

    def _try(self, step: Step) -> None:
        """Do a step of the end; what fails is noted."""
        try:
            self._console.perform(step, longest_s=_WIND_DOWN_STEP_S)
        except ConsoleTimeout as error:
            self._notes.append(f"while stopping: {error.sentence}")
