"""The watch: listens to a console that somebody else drives, records it, and keeps the latest figures at hand.

A thread does all that touches the console and the capture; a screen asks for a `Glimpse` whenever it draws. Nothing is
typed unless a key asks for it. A console that is gone is opened again, for as long as the watch lasts.
"""

from __future__ import annotations

import queue
import re
import threading
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from heaptrail.errors import HeaptrailError, TargetError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.model.observations import HeapSample, Mark, Problem, Task
from heaptrail.model.report import Report
from heaptrail.procedures.claim import FIRST_LOOK_CYCLES, LOOK_RATIO
from heaptrail.reading.cleaning import clean
from heaptrail.reading.session import Session, make_dialects
from heaptrail.reading.sources import Chunk, Marker, open_source
from heaptrail.transports import scheme_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from heaptrail.capture import MarkWhat
    from heaptrail.clock import Clock
    from heaptrail.dialects import ConsoleCommands
    from heaptrail.model.observations import AnyObservation
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Workload
    from heaptrail.reading.sources import Source
    from heaptrail.transports import Transport

POINTS_KEPT = 2_000
"""Readings on the curve; when there are more, every other one of the older half is let go."""
LINES_KEPT = 200
_PUMP_S = 0.05
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_NEWLINES = {"cr": "\r", "lf": "\n", "crlf": "\r\n"}


class Reading(msgspec.Struct, frozen=True):
    """One point of the curve."""

    t_s: float
    boot: int
    free_bytes: int


class Glimpse(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at one moment.

    Args:
        listening: The console is open.
        elapsed_s: Since the watch began.
        boots, cycles: Resets seen, and cycles of the boot that is running.
        readings: How many; `points` are those kept for the curve, oldest first.
        latest: The last one.
        tasks: Last rows, the smallest stack reserve first.
        armed: The tracer was switched on by a key; None while unknown.
        lines: The console's last lines, without control sequences.
        news: What happened to the watch itself, oldest first.
        report: On the run up to the last look, None before the first.
        failed: What ended the watch, or None.
    """

    listening: bool
    elapsed_s: float
    boots: int
    cycles: int
    readings: int
    points: tuple[Reading, ...]
    latest: HeapSample | None
    tasks: tuple[Task, ...]
    armed: bool | None
    lines: tuple[str, ...]
    news: tuple[str, ...]
    report: Report | None
    failed: HeaptrailError | None


class Watch:
    """Listens until `stop`; `start` before.

    Args:
        workload: For the console, its line end, and the marks.
        dialect: Whose lines to read.
        commands: What the keys type.
        transport: Closed as yet.
        capture: Open; closed by `stop`.
        clock: For times and pauses.
        look: Begins to judge what is recorded by now, elsewhere. Asked on the same grid as a soak's looks, counted in
            readings.
        sample_every_s: Type the sampling command so often; None never does.
    """

    def __init__(
        self,
        workload: Workload,
        dialect: str,
        commands: ConsoleCommands,
        transport: Transport,
        capture: Recorder,
        *,
        clock: Clock,
        look: Callable[[], Future[Report]],
        sample_every_s: float | None = None,
    ) -> None:
        self._workload = workload
        self._commands = commands
        self._transport = transport
        self._capture = capture
        self._clock = clock
        self._look = look
        self._sample_every_s = sample_every_s
        self._begun_s = clock.monotonic()
        self._next_sample_s = self._begun_s + (sample_every_s or 0.0)
        plan = workload.workload
        self._session = Session(
            make_dialects(dialect, DEFAULT_LIMITS),
            DEFAULT_LIMITS,
            cycle_mark=re.compile(plan.cycle_mark) if plan.cycle_mark else None,
            boot_mark=re.compile(plan.boot_mark) if plan.boot_mark else None,
            marked=True,
        )
        self._partial = b""
        self._wishes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="heaptrail-watch", daemon=True)
        self._listening = False
        self._points: list[Reading] = []
        self._readings = self._cycles = 0
        self._latest: HeapSample | None = None
        self._tasks: dict[str, Task] = {}
        self._armed: bool | None = None
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._news: deque[str] = deque(maxlen=LINES_KEPT)
        self._report: Report | None = None
        self._pending: Future[Report] | None = None
        self._next_look = float(FIRST_LOOK_CYCLES)
        self._failed: HeaptrailError | None = None

    # --- asked by the screen

    def go_on_from(self, parts: Sequence[Path], offset_s: float) -> None:
        """Take in what an earlier watch recorded, so that its curve and its counts go on; before `start`.

        Args:
            parts: Of the run, in order.
            offset_s: Seconds since the run's start.

        Raises:
            HeaptrailError: They cannot be read.
        """
        earlier: Source | None = None
        for path in parts:
            with open_source(path, DEFAULT_LIMITS) as source:
                if earlier is not None:
                    source.go_on_from(earlier)
                source.goes_on = True
                for item in source:
                    for seen in self._session.chunk(item) if isinstance(item, Chunk) else self._session.marker(item):
                        self._note(seen, seen.t_s or 0.0)
                earlier = source
        self._begun_s -= offset_s
        while self._next_look <= self._readings:
            self._next_look *= LOOK_RATIO
        self._capture.mark("step", "resumed: another watch goes on with the run")
        if scheme_of(self._workload.target.console) == "exec":
            self._mark_boot()
        self._begin_look()

    def start(self) -> None:
        """Open the console and begin. Raises `TargetError` when it cannot be opened."""
        self._transport.open()
        self._listening = True
        self._thread.start()

    def stop(self) -> None:
        """End, and close the console and the capture; may be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._transport.close()
        self._capture.close()

    def arm(self) -> None:
        """Switch the tracer on, or off where it was switched on here."""
        self._wishes.put(self._toggle_tracer)

    def sample(self) -> None:
        """Read the heap now."""
        self._wishes.put(self._type_sample)

    def list_blocks(self) -> None:
        """List live blocks now, so that the next look can name sites."""
        self._wishes.put(self._type_list)

    def mark_cycle(self) -> None:
        """A cycle ends now; the mark does not count where the workload file's pattern tells the cycles."""
        self._wishes.put(self._mark_cycle)

    def look_now(self) -> None:
        """Judge what is recorded by now."""
        self._wishes.put(self._begin_look)

    def glimpse(self) -> Glimpse:
        """What is known now."""
        with self._lock:
            tasks = sorted(self._tasks.values(), key=_reserve)
            return Glimpse(
                listening=self._listening,
                elapsed_s=self._clock.monotonic() - self._begun_s,
                boots=self._session.boot,
                cycles=self._cycles,
                readings=self._readings,
                points=tuple(self._points),
                latest=self._latest,
                tasks=tuple(tasks),
                armed=self._armed,
                lines=tuple(self._lines),
                news=tuple(self._news),
                report=self._report,
                failed=self._failed,
            )

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._step()
                except TargetError as error:
                    self._reopen(error)
        except HeaptrailError as error:  # the capture cannot be written, or the evidence contradicts the ELF
            self._tell(error.sentence)
            with self._lock:
                self._failed = error
                self._listening = False

    def _step(self) -> None:
        data = self._transport.read(_PUMP_S)
        self._capture.output(data)
        if data:
            self._take_in(data)
        while not self._wishes.empty():
            self._wishes.get()()
        now_s = self._clock.monotonic()
        if self._sample_every_s is not None and now_s >= self._next_sample_s:
            self._next_sample_s = now_s + self._sample_every_s
            self._type_sample()
        if self._pending is not None and self._pending.done():
            report, self._pending = self._pending.result(), None
            with self._lock:
                self._report = report
        if self._readings >= self._next_look and self._pending is None:
            while self._next_look <= self._readings:
                self._next_look *= LOOK_RATIO
            self._begin_look()

    def _take_in(self, data: bytes) -> None:
        joined = self._partial + data
        cut = joined.rfind(b"\n") + 1
        self._partial = joined[cut:][-DEFAULT_LIMITS.line_bytes :]
        if not cut:
            return
        whole = joined[:cut]
        t_s = self._clock.monotonic() - self._begun_s
        with self._lock:
            self._lines.extend(clean(line)[:400] for line in whole.splitlines()[-LINES_KEPT:])
            for observation in self._session.chunk(Chunk(whole, (0,), (t_s,))):
                self._note(observation, t_s)

    def _note(self, observation: AnyObservation, t_s: float) -> None:
        if isinstance(observation, HeapSample) and observation.free_bytes is not None:
            self._readings += 1
            self._latest = observation
            self._points.append(Reading(t_s, observation.boot, observation.free_bytes))
            if len(self._points) > POINTS_KEPT:
                self._points = self._points[: POINTS_KEPT // 2 : 2] + self._points[POINTS_KEPT // 2 :]
        elif isinstance(observation, Task):
            if observation.name in self._tasks or len(self._tasks) < DEFAULT_LIMITS.tasks:
                self._tasks[observation.name] = observation
        elif isinstance(observation, Mark):
            self._cycles = observation.cycle or 0
            if observation.what == "boot":
                self._armed = None
                self._news.append(f"the device began anew: {observation.label}")
        elif isinstance(observation, Problem):
            self._news.append(observation.text)

    def _reopen(self, why: TargetError) -> None:
        self._capture.mark("step", f"console lost: {why.sentence[:160]}")
        self._tell(f"{why.sentence}; waiting for it to come back")
        with self._lock:
            self._listening = False
        self._transport.close()
        pause_s = _FIRST_PAUSE_S
        while not self._stopping.wait(pause_s):
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                self._transport.open()
            except TargetError:
                continue
            self._partial = b""
            self._capture.mark("step", "console back")
            if scheme_of(self._workload.target.console) == "exec":
                self._mark_boot()
            self._tell("the console is back")
            with self._lock:
                self._listening = True
            return

    def _mark_boot(self) -> None:
        """A program that is started again begins anew, whether it says so or not."""
        self._capture.mark("boot")
        self._take_marker("boot", "another process")

    def _take_marker(self, what: MarkWhat, label: str) -> None:
        marker = Marker(what, label, self._clock.monotonic() - self._begun_s)
        with self._lock:
            for observation in self._session.marker(marker):
                self._note(observation, marker.t_s)

    def _tell(self, text: str) -> None:
        with self._lock:
            self._news.append(text)

    # --- what keys ask for

    def _type(self, command: str | None, what: str) -> bool:
        if command is None:
            self._tell(f"this console has no command to {what}")
            return False
        data = (command + _NEWLINES[self._workload.target.newline]).encode()
        for piece in (data[i : i + 1] for i in range(len(data))) if self._workload.target.char_delay_s else (data,):
            self._capture.input(piece)
            self._transport.write(piece)
            self._clock.sleep(self._workload.target.char_delay_s)
        return True

    def _type_sample(self) -> None:
        self._type(self._commands.sample, "read the heap")

    def _type_list(self) -> None:
        self._type(self._commands.peek, "list live blocks")

    def _toggle_tracer(self) -> None:
        on = not self._armed
        if self._type(self._commands.arm if on else self._commands.collect, "trace"):
            self._capture.mark("step", "tracer on" if on else "tracer off")
            self._tell(f"tracer {'on' if on else 'off'}")
            with self._lock:
                self._armed = on

    def _mark_cycle(self) -> None:
        self._capture.mark("cycle", "by hand")
        self._take_marker("cycle", "by hand")

    def _begin_look(self) -> None:
        if self._pending is None:
            self._pending = self._look()


def _reserve(task: Task) -> tuple[bool, int]:
    """The smallest stack reserve first, tasks without one last."""
    left = task.stack_free_min_bytes if task.stack_free_min_bytes is not None else task.stack_free_min_words
    return left is None, left or 0
