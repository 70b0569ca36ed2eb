"""The soak: the workload runs until a claim is proven or refuted, through resets, lost adapters and restarts.

It drives and records as the hunt does, and at the looks of `heaptrail.procedures.claim` asks what is known so far. The
looks are taken elsewhere (another thread), so that the console is never kept waiting. Whatever happens, what was
recorded stays, the device is left in order where it can be reached, and the outcome says how it ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.procedures.claim import FIRST_LOOK_CYCLES, Claim, Look, State, next_look
from heaptrail.procedures.console import ConsoleTimeout, Deadline, Rebooted
from heaptrail.procedures.driver import Driver, OutOfMemory
from heaptrail.transports import scheme_of
from heaptrail.units import format_hours, plural

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from heaptrail.clock import Clock
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Workload
    from heaptrail.transports import Transport

FRUITLESS_AT_MOST = 5
"""Attachments in a row without one completed round, after which the device is given up."""
READINGS_AT_MOST = 4_000
"""From this many rounds on `free` is read less often, so that days of soaking fit into memory when they are judged: the
number of readings then grows with the logarithm of the run, and more of them would not sharpen the verdict."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
"""Between two attempts to open a console that is gone."""
_LEAST_WATCH_S = 3.0
_WATCH_AT_AN_UNKNOWN_PACE_S = 60.0
"""How long a round may take to end, before the workload counts as not running; else three times the usual length."""
_HOUR_S = 3600.0


class SoakProgress(msgspec.Struct, frozen=True):
    """What happens now; `total` rounds is what the claim will need, None where not known yet."""

    text: str
    done: int
    total: int | None
    free_bytes: int | None = None


class SoakOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a soak ended.

    Args:
        state: Of the claim at the last look.
        look: The last one, None where none was taken.
        cycles: Rounds seen over all boots, those of resumed runs included.
        readings, dumps: Answers to the sampling command, and listings of live blocks.
        reboots: Times that the device began anew.
        lost: Times that the console was gone.
        time_over: It ended because the time given was over.
        interrupted: The user pressed Ctrl-C.
        left_armed: The tracer may still run on the device.
        out_of_memory: The device's own line about it, or None.
        error: What ended it early, or None.
        notes: Sentences about what was not as planned.
    """

    state: State = "open"
    look: Look | None = None
    cycles: int = 0
    readings: int = 0
    dumps: int = 0
    reboots: int = 0
    lost: int = 0
    time_over: bool = False
    interrupted: bool = False
    left_armed: bool = False
    out_of_memory: str | None = None
    error: HeaptrailError | None = None
    notes: tuple[str, ...] = ()


def soak(
    workload: Workload,
    commands: ConsoleCommands | None,
    transport: Transport,
    capture: Recorder,
    *,
    claim: Claim,
    look: Callable[[], Future[Look]],
    clock: Clock,
    longest_s: float | None = None,
    resumed: Look | None = None,
    traced: bool = True,
    progress: Callable[[SoakProgress], None] | None = None,
    news: Callable[[str], None] | None = None,
) -> SoakOutcome:
    """Soak once, and close the transport and the capture whatever happens.

    Args:
        workload: What to do on the device.
        commands: What to type; a command that is None is left out. None asks the console what it is.
        transport: Closed as yet; opened again whenever the console was gone.
        capture: Open.
        claim: What shall be proven.
        look: Begins to judge what is recorded by now, elsewhere.
        clock: For every deadline.
        longest_s: When to stop in any case, None for never.
        resumed: What is known of a run that is gone on with, None for a new one.
        traced: Switch the tracer on before the workload is started, where the console has one.
        progress: Told about every round; must be quick.
        news: Told what belongs into the night's log: the plan, looks, what went wrong and how it went on.

    Returns:
        How it ended. Errors and Ctrl-C are part of it and are not raised, since what was recorded until then counts.
    """
    run = _Soak(workload, commands, transport, capture, clock=clock)
    run.set_out(claim, look, longest_s=longest_s, resumed=resumed, traced=traced, progress=progress, news=news)
    try:
        run.go()
    finally:
        transport.close()
        capture.close()
    return run.outcome()


class _TimeOverError(Exception):
    """The time that the user gave is over."""


class _Soak(Driver):
    def set_out(
        self,
        claim: Claim,
        look: Callable[[], Future[Look]],
        *,
        longest_s: float | None,
        resumed: Look | None,
        traced: bool,
        progress: Callable[[SoakProgress], None] | None,
        news: Callable[[str], None] | None,
    ) -> None:
        """Take in the terms; see `soak`."""
        self._claim = claim
        self._take_look = look
        self._begun_s = self._clock.monotonic()
        self._end = None if longest_s is None else Deadline(self._clock, longest_s)
        self._traced = traced and self._plan.traced_cycles > 0
        self._tell = progress or (lambda _: None)
        self._news = news or (lambda _: None)
        self._latest = resumed
        self._resuming = resumed is not None
        self._pending: Future[Look] | None = None
        self._settled_before = 0
        self._lost = self._fruitless = 0
        self._fresh_program = self._just_reset = self._time_over = False
        self._error: HeaptrailError | None = None
        self._out_of_memory: str | None = None
        self._next_look = float(FIRST_LOOK_CYCLES)
        self._listings_due = [FIRST_LOOK_CYCLES / 3, 2 * FIRST_LOOK_CYCLES / 3]
        self._needed: int | None = None
        if resumed is not None:
            self._go_on_from(resumed)

    def outcome(self) -> SoakOutcome:
        return SoakOutcome(
            state=self._latest.state if self._latest is not None else "open",
            look=self._latest,
            cycles=self._all_cycles,
            readings=self._readings,
            dumps=self._dumps,
            reboots=self._reboots,
            lost=self._lost,
            time_over=self._time_over,
            interrupted=self._interrupted,
            left_armed=self._armed,
            out_of_memory=self._out_of_memory,
            error=self._error,
            notes=tuple(self._notes),
        )

    def go(self) -> None:
        """The whole run; every way to end leads through here."""
        try:
            self._through_everything()
        except _TimeOverError:
            self._time_over = True
            self._order("the time given is over")
        except KeyboardInterrupt:
            self._interrupted = True
            self._order("interrupted, leaving the device in order")
        except TargetError as error:
            self._error = error
            if isinstance(error, ConsoleTimeout):
                self._order("giving up, leaving the device in order")
        except HeaptrailError as error:  # the capture cannot be written or read
            self._error = error
            self._console.stop_recording()
            self._order("nothing more can be recorded, leaving the device in order")

    def _through_everything(self) -> None:
        self._say_plan()
        if self._resuming:
            self._console.mark("resumed: another process goes on with the run")
        try:
            self._transport.open()
        except TargetError as error:
            if not self._resuming:  # a wrong name must be told at once
                raise
            self._reopen(error)
        self._fresh_program = scheme_of(self._workload.target.console) == "exec" and self._resuming
        while True:
            rounds = self._all_cycles
            try:
                self._attach()
                self._rounds()
            except Rebooted:
                self._count_fruitless(rounds, TargetError("the device begins anew again and again", try_this=_SEE))
                self._after_reboot()
            except OutOfMemory:
                self._out_of_memory = self._console.lines.out_of_memory
                self._news(f"the heap is used up: {self._out_of_memory}")
                self._sample()
                self._peek()
                break
            except TargetError as error:
                self._count_fruitless(rounds, error)
                self._reopen(error)
            else:
                break
        self._say("stopping the workload")
        self._stop()
        # Readings after the stop are told apart by its marker; without one they would add to what was judged.
        self._collect(sample=bool(self._plan.stop))

    # --- attaching

    def _attach(self) -> None:
        """Come to the prompt, find out whether the workload runs, and start it where it does not."""
        self._say("waiting for the prompt")
        boots = self._console.lines.boots
        first = not self._readings and not self._resuming and not self._lost
        if self._fresh_program:
            self._console.mark("boot")
        self._connect()
        if not first and (self._fresh_program or self._console.lines.boots > boots):
            self._new_boot()
            self._fresh_program = False
        elif not (first or self._just_reset or (self._running and self._still_running())):
            # What it held may be freed and its caches may fill again, so the cycles before and after are kept apart.
            self._console.mark("boot")
            self._news("the workload no longer runs and is started again, which counts as a reset")
            self._new_boot()
        self._just_reset = False
        if self._running:
            self._news("the workload runs on")
            return
        if self._traced and not self._armed:
            # From the beginning, since readings with the tracer on and off are never compared with one another.
            self._say("switching the tracer on")
            self._traced = self._arm()
        if first:
            self._sample()
        self._say("starting the workload")
        self._start()

    def _still_running(self) -> bool:
        """Whether rounds still end; where the driver makes the rounds itself, a failing one will tell."""
        if self._plan.cycle_mark is None:
            return True
        usual_s = self._latest.cycle_s if self._latest is not None else None
        pace_s = self._slowest_cycle_s or usual_s
        watch = Deadline(self._clock, max(_LEAST_WATCH_S, 3 * pace_s) if pace_s else _WATCH_AT_AN_UNKNOWN_PACE_S)
        before = self._console.lines.cycles
        while self._console.lines.cycles == before:
            if watch.expired:
                return False
            self._console.pump(min(0.25, watch.left_s))
        return True

    def _reopen(self, why: TargetError) -> None:
        """Open the console again, however long that takes within the time given."""
        self._lost += 1
        gone_s = self._clock.monotonic()
        self._console.mark(f"console lost: {why.sentence[:160]}")
        self._news(f"{why.sentence}; waiting for it to come back")
        self._transport.close()
        self._console.lines.forget_partial()
        pause_s = _FIRST_PAUSE_S
        while True:
            self._say(f"the console is gone, {self._ago(gone_s)} ago")
            if self._end is not None and self._end.expired:
                raise TargetError(f"{why.sentence}; it did not come back in the time given", try_this=why.try_this)
            self._clock.sleep(pause_s if self._end is None else min(pause_s, self._end.left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                self._transport.open()
            except TargetError:
                continue
            break
        self._fresh_program = scheme_of(self._workload.target.console) == "exec"
        self._console.mark(f"console back after {self._ago(gone_s)}")
        self._news(f"the console is back after {self._ago(gone_s)}")

    def _after_reboot(self) -> None:
        self._news(f"the device began anew after {plural(self._cycles, 'cycle')}")
        self._new_boot()
        self._just_reset = True

    def _new_boot(self) -> None:
        self._settled_before += max(0, self._cycles - self._plan.warmup_cycles)
        self._begin_boot()

    def _count_fruitless(self, rounds_before: int, why: TargetError) -> None:
        """Give up a device that never completes a round between two troubles."""
        self._fruitless = 0 if self._all_cycles > rounds_before else self._fruitless + 1
        if self._fruitless >= FRUITLESS_AT_MOST:
            raise TargetError(
                f"{why.sentence}; {FRUITLESS_AT_MOST} times in a row no round was completed", try_this=why.try_this
            )

    # --- rounds and looks

    def _rounds(self) -> None:
        """Go round until a look settles the claim."""
        while not self._settled_by_look():
            if self._end is not None and self._end.expired:
                raise _TimeOverError
            for _ in range(self._every):
                self._say("soaking")
                self._one_round(f"round {self._cycles + 1} of the boot")
            if self._pending is not None:
                continue  # nothing is added to what is being judged, so that the final report judges the same
            self._sample()
            if self._listings_due and self._settled >= self._listings_due[0]:
                self._listings_due = [due for due in self._listings_due if due > self._settled]
                self._peek()
            if self._settled >= self._next_look:
                self._peek()
                self._pending = self._take_look()

    def _settled_by_look(self) -> bool:
        if self._pending is not None and self._pending.done():
            look, self._pending = self._pending.result(), None
            self._latest = look
            self._needed = look.needed_cycles
            self._next_look = next_look(max(look.settled_cycles, self._next_look))
            self._news(look.sentence)
        return self._latest is not None and self._latest.state != "open"

    @property
    def _settled(self) -> int:
        """Cycles after the warm-up, over all boots."""
        return self._settled_before + max(0, self._cycles - self._plan.warmup_cycles)

    @property
    def _every(self) -> int:
        """Rounds between two readings: as the workload file says, and fewer readings the longer the run has lasted."""
        return max(self._plan.sample_every_cycles, self._settled // READINGS_AT_MOST)

    def _go_on_from(self, look: Look) -> None:
        """Count on from what an earlier process recorded."""
        self._earlier_cycles = look.cycles - look.boot_cycles
        self._settled_before = look.settled_cycles - max(0, look.boot_cycles - self._plan.warmup_cycles)
        self._console.lines.cycles = self._driven = look.boot_cycles
        self._next_look = next_look(look.settled_cycles)
        self._listings_due = [due for due in self._listings_due if due > look.settled_cycles]
        self._needed = look.needed_cycles
        self._running, self._armed = look.running, look.armed

    # --- telling

    def _say_plan(self) -> None:
        warmup = f" after {plural(self._plan.warmup_cycles, 'cycle')} of warm-up" if self._plan.warmup_cycles else ""
        loss = self._claim.settings.largest_single_loss_bytes
        if self._latest is not None:
            self._news(f"resumed: {self._latest.sentence}")
            return
        tolerance = self._claim.tolerance(None, None)
        if tolerance is None:
            self._news(f"claim: below {self._claim.text}; how many cycles that takes is known after the first ones")
            return
        self._needed = self._claim.cycles_needed(tolerance)
        if self._needed is None:
            self._news(f"claim: below {self._claim.text}, which no run of a practical length proves")
            return
        self._news(
            f"claim: below {self._claim.text}; that takes about {plural(self._needed, 'cycle')}{warmup} where nothing "
            f"is lost, for single losses of at most {loss:,} B; a leak shows sooner"
        )

    def _say(self, text: str) -> None:
        self._tell(SoakProgress(text, self._settled, self._needed, self._free_bytes))

    def _ago(self, since_s: float) -> str:
        return format_hours((self._clock.monotonic() - since_s) / _HOUR_S)

    def _order(self, text: str) -> None:
        self._wind_down(lambda: self._say(text))


_SEE = "heaptrail parse shows where each boot begins in the capture; the reason stands before it"
