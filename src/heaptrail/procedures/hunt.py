"""The hunt: the case's procedure from beginning to end, on a device that may do anything.

Readings of `free` with the tracer off, then the tracer on for some more rounds, then the end of the workload, and the
list of what is still live. The hunt drives and records; it judges nothing, so it knows no dialect but the four commands
of its console. Whatever happens, it ends in bounded time, the capture is closed, and the outcome says how it ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.procedures.console import LONGEST_DUMP_S, Console, ConsoleTimeout, Deadline, Rebooted

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.capture import CaptureWriter
    from heaptrail.clock import Clock
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.procedures.workload import Step, Workload
    from heaptrail.transports import Transport

Phase = Literal["connect", "start", "warm-up", "measure", "trace", "stop", "collect", "done"]

MAX_REBOOTS = 3
"""A device that resets more often than this does not come far enough to be measured."""
FEWEST_READINGS = 6
"""A round may be over before `free` has answered once. A phase goes on until it has this many readings, or as many as
rounds were asked for, but never longer than four times the rounds."""
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


class HuntProgress(msgspec.Struct, frozen=True):
    """What happens now: `done` of `total` rounds of the phase (total 0 where there is nothing to count).

    `free_bytes` is the latest reading as far as a generic look at the answer tells, for the eye only.
    """

    phase: Phase
    done: int
    total: int
    text: str
    free_bytes: int | None = None


class HuntOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a hunt ended.

    Args:
        phase: The last one that was begun; `done` when all were.
        interrupted: The user pressed Ctrl-C.
        error: What ended it early, or None.
        reboots: Times that the device began anew in mid-hunt.
        cycles: Rounds seen over all boots.
        readings: Answers to the sampling command.
        dumps: Listings of live blocks.
        left_armed: The tracer may still run on the device.
        out_of_memory: The device's own line about it, or None.
        notes: Sentences about what was not as planned.
    """

    phase: Phase
    interrupted: bool = False
    error: HeaptrailError | None = None
    reboots: int = 0
    cycles: int = 0
    readings: int = 0
    dumps: int = 0
    left_armed: bool = False
    out_of_memory: str | None = None
    notes: tuple[str, ...] = ()


def hunt(
    workload: Workload,
    commands: ConsoleCommands,
    transport: Transport,
    capture: CaptureWriter,
    *,
    clock: Clock,
    progress: Callable[[HuntProgress], None] | None = None,
) -> HuntOutcome:
    """Hunt once, and close the transport and the capture whatever happens.

    Args:
        workload: What to do on the device.
        commands: What to type; a command that is None is left out and noted.
        transport: Closed as yet.
        capture: Open.
        clock: For every deadline.
        progress: Told about every step; must be quick.

    Returns:
        How it ended. Errors and Ctrl-C are part of it and are not raised, since what was recorded until then counts.
    """
    run = _Hunt(workload, commands, transport, capture, clock=clock, progress=progress)
    try:
        run.go()
    finally:
        transport.close()
        capture.close()
    return run.outcome()


class _OutOfMemoryError(Exception):
    """The workload ended because the heap is used up; what is known must be collected now."""


class _Hunt:
    def __init__(
        self,
        workload: Workload,
        commands: ConsoleCommands,
        transport: Transport,
        capture: CaptureWriter,
        *,
        clock: Clock,
        progress: Callable[[HuntProgress], None] | None,
    ) -> None:
        self._workload = workload
        self._plan = workload.workload
        self._commands = commands
        self._transport = transport
        self._clock = clock
        self._tell = progress or (lambda _: None)
        self._console = Console(transport, capture, clock, workload)
        self._phase: Phase = "connect"
        self._free_bytes: int | None = None
        self._running = self._armed = self._measured = self._interrupted = False
        self._driven = self._earlier_cycles = 0
        self._slowest_cycle_s = 0.0
        self._reboots = self._readings = self._dumps = 0
        self._error: HeaptrailError | None = None
        self._out_of_memory: str | None = None
        self._notes: list[str] = []

    def outcome(self) -> HuntOutcome:
        return HuntOutcome(
            phase=self._phase,
            interrupted=self._interrupted,
            error=self._error,
            reboots=self._reboots,
            cycles=self._earlier_cycles + self._cycles,
            readings=self._readings,
            dumps=self._dumps,
            left_armed=self._armed,
            out_of_memory=self._out_of_memory,
            notes=tuple(self._notes),
        )

    def go(self) -> None:
        """All phases; every way to end leads through here."""
        try:
            self._through_reboots()
        except KeyboardInterrupt:
            self._interrupted = True
            self._wind_down("interrupted, leaving the device in order")
        except ConsoleTimeout as error:
            self._error = error
            self._wind_down("giving up, leaving the device in order")
        except TargetError as error:  # the other end is gone, nothing can be put in order
            self._error = error
        except HeaptrailError as error:  # the capture cannot be written
            self._error = error
            self._console.stop_recording()
            self._wind_down("nothing more can be recorded, leaving the device in order")

    def _through_reboots(self) -> None:
        self._say("connect", "opening the console")
        self._transport.open()
        while True:
            try:
                self._say("connect", "waiting for the prompt")
                self._console.connect()
                if not self._readings:
                    self._sample()
                self._phases()
            except Rebooted:
                self._note_reboot()
            else:
                return

    def _note_reboot(self) -> None:
        self._reboots += 1
        self._earlier_cycles += self._cycles
        self._driven = 0
        self._console.lines.begin_boot()
        self._running = self._armed = False
        self._notes.append(f"the device began anew in the phase {self._phase}")
        if self._reboots > MAX_REBOOTS:
            raise TargetError(
                f"{self._workload.target.console}: the device began anew {self._reboots} times; the last time in the "
                f"phase {self._phase}",
                try_this="heaptrail parse shows where each boot begins in the capture; the reason stands before it",
            )

    # --- the phases

    def _phases(self) -> None:
        try:
            self._start()
            self._rounds("warm-up", self._plan.warmup_cycles, "letting caches fill")
            if not self._measured:
                self._rounds("measure", self._plan.measured_cycles, "reading free, tracer off")
                self._measured = True
            self._trace()
        except _OutOfMemoryError:
            self._out_of_memory = self._console.lines.out_of_memory
            self._notes.append(f"the workload ended in the phase {self._phase}: {self._out_of_memory}")
            self._sample()
            self._peek()
        self._stop()
        self._collect()
        self._say("done", "recorded")

    def _start(self) -> None:
        self._say("start", "starting the workload")
        self._console.mark("workload start")
        self._running = True
        for step in self._plan.start:
            self._console.perform(step)

    def _trace(self) -> None:
        wanted = self._plan.traced_cycles
        if not wanted:
            return
        if self._commands.arm is None or self._commands.collect is None:
            self._notes.append("this console has no command for a tracer, so no allocation sites were recorded")
            return
        self._say("trace", "switching the tracer on", total=wanted)
        self._armed = True  # before it is true, so that an interrupt here switches it off
        self._console.command(self._commands.arm)
        self._console.mark("tracer on")
        self._rounds("trace", wanted, "recording live blocks", peeks=[-(-wanted // 3), -(-2 * wanted // 3), wanted])

    def _rounds(self, phase: Phase, wanted: int, what: str, peeks: list[int] | None = None) -> None:
        """Go through `wanted` rounds with a reading every so many, and a listing when each of `peeks` is reached."""
        begun, readings = self._cycles, self._readings
        every = self._plan.sample_every_cycles
        enough = min(FEWEST_READINGS, wanted // every) if self._commands.sample else 0
        due = list(peeks or ())
        while True:
            done = self._cycles - begun
            if due and done >= due[0]:
                self._say(phase, "listing live blocks", done, wanted)
                self._peek()
                due.pop(0)
                continue
            if done >= wanted and (self._readings - readings >= enough or done >= 4 * wanted):
                return
            self._say(phase, what, done, wanted)
            for _ in range(every):
                self._one_round(phase, done, wanted)
            self._sample()

    def _one_round(self, phase: Phase, done: int, wanted: int) -> None:
        begun_s, before = self._clock.monotonic(), self._cycles
        if self._plan.cycle:
            try:
                for step in self._plan.cycle:
                    self._console.perform(step)
            except ConsoleTimeout:
                if self._console.lines.out_of_memory:
                    raise _OutOfMemoryError from None
                raise
        if self._plan.cycle_mark is None:
            self._driven += 1
            self._console.mark("cycle")
        else:
            self._await_mark(before, phase, done, wanted)
        self._slowest_cycle_s = max(self._slowest_cycle_s, self._clock.monotonic() - begun_s)

    def _await_mark(self, before: int, phase: Phase, done: int, wanted: int) -> None:
        """Wait for the line that ends a round; several that come at once all count."""
        deadline = Deadline(self._clock, self._plan.cycle_timeout_s)
        last_chance: Deadline | None = None
        while self._cycles <= before:
            if self._console.lines.out_of_memory and last_chance is None:
                pace_s = 3 * self._slowest_cycle_s or _AT_AN_UNKNOWN_PACE_S
                last_chance = Deadline(self._clock, max(_AFTER_OUT_OF_MEMORY_S, pace_s))
            if last_chance is not None and last_chance.expired:
                raise _OutOfMemoryError
            if deadline.expired:
                raise ConsoleTimeout(
                    f"{self._workload.target.console}: round {done + 1} of {wanted} ({phase}) did not end within "
                    f"{self._plan.cycle_timeout_s:g} s: no line matched {self._plan.cycle_mark!r}; the last that came "
                    f"was {self._console.lines.sample()}",
                    try_this="correct cycle_mark, or give [workload] a longer cycle_timeout_s",
                )
            self._console.pump(min(_PUMP_S, deadline.left_s))

    def _stop(self) -> None:
        if not self._plan.stop:
            return
        self._say("stop", "stopping the workload")
        self._console.mark("workload stop")
        for step in self._plan.stop:
            self._console.perform(step)
        self._console.settle(timeout_s=2.0)
        self._running = False
        self._console.mark("teardown done")

    def _collect(self) -> None:
        if self._armed and self._commands.collect is not None:
            self._say("collect", "collecting what is still live, tracer off")
            self._console.command(self._commands.collect, longest_s=LONGEST_DUMP_S)
            self._dumps += 1
            self._armed = False
            self._console.mark("tracer off")
        self._sample()

    # --- small moves

    @property
    def _cycles(self) -> int:
        """Rounds in this boot."""
        return self._driven if self._plan.cycle_mark is None else self._console.lines.cycles

    def _say(self, phase: Phase, text: str, done: int = 0, total: int = 0) -> None:
        self._phase = phase
        self._tell(HuntProgress(phase, min(done, total), total, text, self._free_bytes))

    def _sample(self) -> None:
        if self._commands.sample is None:
            return
        answer = self._console.command(self._commands.sample)
        self._readings += 1
        for line in answer:
            if match := _FREE.match(line):
                self._free_bytes = int(match[1])
                return

    def _peek(self) -> None:
        if self._armed and self._commands.peek is not None:
            self._console.command(self._commands.peek, longest_s=LONGEST_DUMP_S)
            self._dumps += 1

    def _wind_down(self, text: str) -> None:
        """Stop the workload and the tracer in bounded time; a second Ctrl-C ends this, too."""
        try:
            self._tell(HuntProgress(self._phase, 0, 0, text, self._free_bytes))
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
        try:
            self._console.perform(step, longest_s=_WIND_DOWN_STEP_S)
        except ConsoleTimeout as error:
            self._notes.append(f"while stopping: {error.sentence}")
