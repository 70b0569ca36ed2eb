"""Recording an event stream live: switch it on, let the workload run, switch it off.

The console's line carries frames and text. All of it is recorded as it comes; the text alone is handed to the console's
conversation, which so finds its prompts and echoes. What ends a hunt ends a recording, in the same ways.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.dialects import ConsoleCommands
from heaptrail.errors import TargetError
from heaptrail.procedures.console import Deadline
from heaptrail.procedures.driver import OutOfMemory
from heaptrail.procedures.hunt import Hunt, HuntOutcome, HuntProgress
from heaptrail.wire import VERSION
from heaptrail.wire.beside import TextBeside

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.capture import MarkWhat
    from heaptrail.clock import Clock
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Workload
    from heaptrail.transports import Line

_ON = re.compile(r"heaptrail: stream on wire=(\d{1,4})\b")
_OFF = re.compile(r"heaptrail: stream off frames=(\d+) bytes=\d+ events=\d+ dropped=(\d+)")
_COMMANDS = ConsoleCommands(arm="memleak stream", collect="memleak stream 0")
_LISTEN_S = 1.0
_QUIET_S = 0.05
"""A frame of 256 bytes takes 22 ms at 115,200 baud; what stands there for longer is no frame on its way."""


def record_stream(
    workload: Workload,
    transport: Line,
    capture: Recorder,
    *,
    clock: Clock,
    cycles: int | None = None,
    longest_s: float | None = None,
    progress: Callable[[HuntProgress], None] | None = None,
) -> HuntOutcome:
    """Record once, and close the transport and the capture whatever happens.

    Args:
        workload: What to do on the device; without steps somebody else drives it.
        transport: Closed as yet.
        capture: Open.
        clock: For every deadline.
        cycles: Stop after this many rounds.
        longest_s: Stop after this time; without it and `cycles` only Ctrl-C ends the recording.
        progress: Told about every step; must be quick.

    Returns:
        How it ended, as of a hunt; `dumps` is 1 where the device said how much it had sent.
    """
    tap = _Tap(transport, capture)
    run = _Tracing(workload, _COMMANDS, tap, _Typed(capture), clock=clock, progress=progress)
    run.limit(tap, cycles, longest_s)
    try:
        run.go()
    finally:
        tap.close()
        capture.close()
    return run.outcome()


class _Tap:
    """A line whose bytes are all recorded, and of which only the text is read."""

    def __init__(self, transport: Line, capture: Recorder) -> None:
        self._transport = transport
        self._capture = capture
        self.text = TextBeside()

    def open(self) -> None:
        self._transport.open()

    def read(self, timeout_s: float) -> bytes:
        data = self._transport.read(timeout_s)
        self._capture.output(data)
        if data:
            return self.text.feed(data)
        return self.text.settle() if timeout_s >= _QUIET_S else b""

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()


class _Typed:
    """A recorder of what is typed and marked: what is received was recorded by the tap, frames and all."""

    def __init__(self, capture: Recorder) -> None:
        self._capture = capture

    def output(self, data: bytes) -> None:
        pass

    def input(self, data: bytes) -> None:
        self._capture.input(data)

    def mark(self, what: MarkWhat, label: str = "") -> None:
        self._capture.mark(what, label)

    def close(self) -> None:
        pass


class _Tracing(Hunt):
    _cycles_wanted: int | None = None
    _deadline: Deadline | None = None

    def limit(self, tap: _Tap, cycles: int | None, longest_s: float | None) -> None:
        """When to stop."""
        self._tap = tap
        self._cycles_wanted = cycles
        self._longest_s = longest_s

    def _phases(self) -> None:
        self._say("trace", "switching the event stream on")
        self._stream_on()
        if self._deadline is None and self._longest_s is not None:
            self._deadline = Deadline(self._clock, self._longest_s)
        try:
            if self._plan.start:
                self._say("start", "starting the workload")
                self._start()
            while not self._enough():
                self._say("trace", f"recording, {self._tap.text.frames:,} frames", self._all_cycles, self._goal())
                self._listen()
        except OutOfMemory:
            self._notes.append(f"the workload ended: {self._console.lines.out_of_memory}")
        if self._plan.stop:
            self._say("stop", "stopping the workload")
            self._stop()
        self._say("collect", "switching the event stream off")
        self._stream_off()
        self._say("done", "recorded")

    def _stream_on(self) -> None:
        self._armed = True  # before it is true, so that an interrupt here switches it off
        command = _COMMANDS.arm or ""
        answer = self._console.command(command)
        found = [match for line in answer if (match := _ON.search(line))]
        if not found:
            self._armed = False
            said = next((line.strip() for line in answer if line.strip()), "nothing")
            raise TargetError(
                f"{self._workload.target.console}: `{command}` was answered with {said[:100]!r}, not with a stream",
                try_this="firmware with the agent of this repository, built with -DHT_STREAM=1 and an output for the "
                "stream (docs/agent.md)",
            )
        if int(found[0][1]) != VERSION:
            self._console.command(_COMMANDS.collect or "")
            self._armed = False
            raise TargetError(
                f"{self._workload.target.console} sends an event stream of version {found[0][1]}, and this program "
                f"reads version {VERSION}",
                try_this="the heaptrail that belongs to the firmware's agent",
            )
        self._console.mark("tracer on")

    def _stream_off(self) -> None:
        answer = self._console.command(_COMMANDS.collect or "")
        self._armed = False
        self._console.mark("tracer off")
        told = next((match for line in answer if (match := _OFF.search(line))), None)
        if told is None:
            self._notes.append("the device did not say how much it sent, so the end of the stream may be missing")
            return
        self._dumps = 1
        if int(told[1]) != self._tap.text.frames and not self._reboots:
            self._notes.append(f"{self._tap.text.frames:,} of {int(told[1]):,} frames arrived whole")
        if int(told[2]):
            self._notes.append(
                f"the device dropped {int(told[2]):,} events: the line is too slow for them, or HT_STREAM_FRAMES too "
                "small"
            )

    def _goal(self) -> int:
        return self._cycles_wanted or 0

    def _enough(self) -> bool:
        if self._cycles_wanted is not None and self._all_cycles >= self._cycles_wanted:
            return True
        return self._deadline is not None and self._deadline.expired

    def _listen(self) -> None:
        """One round where rounds are driven or told and wanted, else a moment."""
        if self._plan.cycle or self._cycles_wanted is not None:
            self._one_round(f"round {self._all_cycles + 1}")
        else:
            left_s = self._deadline.left_s if self._deadline is not None else _LISTEN_S
            self._console.pause(min(_LISTEN_S, left_s))
