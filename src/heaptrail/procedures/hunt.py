"""The hunt: the case's procedure from beginning to end, on a device that may do anything.

Readings of `free` with the tracer off, then the tracer on for some more rounds, then the end of the workload, and the
list of what is still live. The hunt drives and records; it judges nothing, so it knows no dialect but the commands of
its console. One tracer it knows by its answers: heaptrail's own, which has better commands than those it shares with
Tina's. Whatever happens, it ends in bounded time, the capture is closed, and the outcome says how it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from heaptrail.dialects import REGISTRY
from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.procedures.console import LONGEST_DUMP_S, ConsoleTimeout, Rebooted
from heaptrail.procedures.driver import Driver, OutOfMemory
from heaptrail.procedures.listing import AGENT_SAYS, Listing, listing_of, told
from heaptrail.registry import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.clock import Clock
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Workload
    from heaptrail.transports import Line

Phase = Literal["connect", "start", "warm-up", "measure", "trace", "stop", "collect", "done"]

MAX_REBOOTS = 3
"""A device that resets more often than this does not come far enough to be measured."""
_SITES_PAUSE = 4.0
"""The counters of sites are listed again when so many times the last listing's own duration has passed."""
FEWEST_READINGS = 6
"""A round may be over before `free` has answered once. A phase goes on until it has this many readings, or as many as
rounds were asked for, but never longer than four times the rounds."""


class HuntProgress(msgspec.Struct, frozen=True):
    """What happens now: `done` of `total` rounds of the phase (total 0 where there is nothing to count).

    `free_bytes` is the latest reading as far as a generic look at the answer tells, for the eye only. `takes_s` is how
    long the device will be busy with it, where that can be told.
    """

    phase: Phase
    done: int
    total: int
    text: str
    free_bytes: int | None = None
    takes_s: float | None = None


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
    commands: ConsoleCommands | None,
    transport: Line,
    capture: Recorder,
    *,
    clock: Clock,
    progress: Callable[[HuntProgress], None] | None = None,
) -> HuntOutcome:
    """Hunt once, and close the transport and the capture whatever happens.

    Args:
        workload: What to do on the device.
        commands: What to type; a command that is None is left out and noted. None asks the console what it is.
        transport: Closed as yet.
        capture: Open.
        clock: For every deadline.
        progress: Told about every step; must be quick.

    Returns:
        How it ended. Errors and Ctrl-C are part of it and are not raised, since what was recorded until then counts.
    """
    run = Hunt(workload, commands, transport, capture, clock=clock, progress=progress)
    try:
        run.go()
    finally:
        transport.close()
        capture.close()
    return run.outcome()


class Hunt(Driver):
    """One hunt; `heaptrail.procedures.tracing` goes through phases of its own in the same frame."""

    def __init__(
        self,
        workload: Workload,
        commands: ConsoleCommands | None,
        transport: Line,
        capture: Recorder,
        *,
        clock: Clock,
        progress: Callable[[HuntProgress], None] | None,
    ) -> None:
        super().__init__(workload, commands, transport, capture, clock=clock)
        self._tell = progress or (lambda _: None)
        self._phase: Phase = "connect"
        self._measured = False
        self._listing: Listing | None = None
        self._counted_s = self._counting_s = 0.0
        self._error: HeaptrailError | None = None
        self._out_of_memory: str | None = None

    def outcome(self) -> HuntOutcome:
        """How it ended."""
        return HuntOutcome(
            phase=self._phase,
            interrupted=self._interrupted,
            error=self._error,
            reboots=self._reboots,
            cycles=self._all_cycles,
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
            self._end("interrupted, leaving the device in order")
        except ConsoleTimeout as error:
            self._error = error
            self._end("giving up, leaving the device in order")
        except TargetError as error:  # the other end is gone, nothing can be put in order
            self._error = error
        except HeaptrailError as error:  # the capture cannot be written
            self._error = error
            self._console.stop_recording()
            self._end("nothing more can be recorded, leaving the device in order")

    def _through_reboots(self) -> None:
        self._say("connect", "opening the console")
        self._transport.open()
        while True:
            try:
                self._say("connect", "waiting for the prompt")
                self._connect()
                if not self._readings:
                    self._sample()
                self._phases()
            except Rebooted:
                self._note_reboot()
            else:
                return

    def _note_reboot(self) -> None:
        self._begin_boot()
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
            self._say("start", "starting the workload")
            self._start()
            self._rounds("warm-up", self._plan.warmup_cycles, "letting caches fill")
            if not self._measured:
                self._rounds("measure", self._plan.measured_cycles, "reading free, tracer off")
                self._measured = True
            self._trace()
        except OutOfMemory:
            self._out_of_memory = self._console.lines.out_of_memory
            self._notes.append(f"the workload ended in the phase {self._phase}: {self._out_of_memory}")
            self._sample()
            self._peek()
        if self._plan.stop:
            self._say("stop", "stopping the workload")
            self._stop()
        if self._armed or self._lists:
            self._announce("collect")
        self._collect()
        self._say("done", "recorded")

    def _trace(self) -> None:
        wanted = self._plan.traced_cycles
        if not wanted:
            return
        self._say("trace", "switching the tracer on", total=wanted)
        if not self._arm():
            return
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
                self._announce(phase, done, wanted)
                self._peek()
                due.pop(0)
                continue
            if done >= wanted and (self._readings - readings >= enough or done >= 4 * wanted):
                return
            self._say(phase, what, done, wanted)
            for _ in range(every):
                self._one_round(f"round {done + 1} of {wanted} ({phase})")
            self._sample()
            self._count_sites()

    # --- heaptrail's own tracer

    def _type(self, command: str, *, lists: bool = False, longest_s: float | None = None) -> list[str] | None:
        answer = super()._type(command, lists=lists, longest_s=longest_s)
        shares = self._workload.target.dialect == "auto" and self._commands.sites is None
        if shares and any(line.strip().startswith(AGENT_SAYS) for line in answer or ()):
            own = resolve(REGISTRY, "heaptrail", kind="dialect")
            self._commands = own.commands  # type: ignore[attr-defined]  # the registry's promise
        return answer

    def _count_sites(self, *, always: bool = False) -> None:
        """List each site's counters, so that its growth is known round by round, in a fifth of the time at most."""
        if not self._armed or self._commands.sites is None:
            return
        begun_s = self._clock.monotonic()
        if not always and begun_s - self._counted_s < _SITES_PAUSE * self._counting_s:
            return
        self._listing = listing_of(self._type(self._commands.sites, longest_s=LONGEST_DUMP_S) or ())
        self._counted_s = self._clock.monotonic()
        self._counting_s = self._counted_s - begun_s

    def _announce(self, phase: Phase, done: int = 0, total: int = 0) -> None:
        """Say that live blocks will be listed now, and how long that takes, before it is asked for."""
        last = phase == "collect"
        self._count_sites(always=True)
        if self._listing is None:
            text = "collecting what is still live, tracer off" if last else "listing live blocks"
            self._say(phase, text, done, total)
            return
        size_bytes = self._listing.case_bytes if last else self._listing.compact_bytes
        text, seconds = told(self._listing.blocks, size_bytes, self._workload.target)
        self._say(phase, text, done, total, takes_s=seconds)

    def _say(self, phase: Phase, text: str, done: int = 0, total: int = 0, *, takes_s: float | None = None) -> None:
        self._phase = phase
        self._tell(HuntProgress(phase, min(done, total), total, text, self._free_bytes, takes_s))

    def _end(self, text: str) -> None:
        """Leave the device in order, early."""
        self._wind_down(lambda: self._tell(HuntProgress(self._phase, 0, 0, text, self._free_bytes)))
