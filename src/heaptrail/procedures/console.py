"""Talking to a console: find the prompt, type a line, know which of what comes back is its answer.

A console is shared. Other tasks print between the lines of an answer, behind a prompt, or into an echo; a slow one
loses characters; one that is not there says nothing. So an answer is fenced: it begins behind the echo of the command
and ends at the next prompt that begins a line. A shell could be made to print random marks instead, as labgrid does;
an RTOS console has no command for that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from heaptrail.errors import TargetError
from heaptrail.procedures.lines import KEPT_LINES, LineWatcher

if TYPE_CHECKING:
    from heaptrail.clock import Clock
    from heaptrail.parts import Recorder
    from heaptrail.procedures.workload import Step, Workload
    from heaptrail.transports import Line

QUIET_S = 0.2
"""A line with nothing on it for this long has settled: 2,300 characters at 115,200 baud."""
ECHO_WAIT_S = 0.3
"""How long after a prompt the echo of what was typed may still come; then the console does not echo."""
NUDGE_EVERY_S = 1.0
"""Between two Enters to a console that shows no prompt. A booting device needs time, a login line needs one Enter."""
LONGEST_DUMP_S = 900.0
"""16,000 blocks with 16 frames each are 9 MB, which takes 13 minutes at 115,200 baud."""
_PART_OF_A_LINE_S = 0.05
_STEP_S = 1.0
"""A step that expects nothing is done when its answer is complete, when the line is quiet, or at the latest now."""
_ATTEMPTS = 3
_PUMP_S = 0.1
_ANY_PROMPT = re.compile(r"[\w./:@~\[\] -]{0,32}[>#$]")
"""What the prompts of the RTOSes' shells have in common: `c906>`, `nsh>`, `msh />`, `uart:~$`, `esp32>`, `OHOS #`."""


class ConsoleTimeout(TargetError):  # noqa: N818 - says what happened, as TimeoutError does
    """The device did not say in time what it had to say. The line to it is still there."""


class Rebooted(Exception):  # noqa: N818 - no error: a turn of events that the procedure must deal with
    """The device began anew while it was watched."""


class Deadline:
    """A moment on the given clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._at_s = clock.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until then, never below 0."""
        return max(0.0, self._at_s - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.left_s <= 0


class Console:
    """A device's console over an open transport; everything that passes is recorded.

    Args:
        transport: Open.
        capture: Takes down both directions.
        clock: For every deadline.
        workload: For the prompt, the line end, the pace, and the marks to watch for.

    Attributes:
        lines: What came, as lines.
        watch_boots: Whether a boot raises `Rebooted`.
        prompt_shown: The prompt as it stood there when it was found; empty where it was not seen alone on its line.
    """

    def __init__(self, transport: Line, capture: Recorder, clock: Clock, workload: Workload) -> None:
        self._transport = transport
        self._capture: Recorder | None = capture
        self._clock = clock
        self._target = workload.target
        self._prompt = re.compile(workload.target.prompt) if workload.target.prompt else None
        self._newline = {"cr": "\r", "lf": "\n", "crlf": "\r\n"}[workload.target.newline]
        self._echoes: bool | None = None
        self._last_data_s = clock.monotonic()
        self.lines = LineWatcher(cycle_mark=workload.workload.cycle_mark, boot_mark=workload.workload.boot_mark)
        self.watch_boots = False
        self.prompt_shown = ""

    # --- bytes

    def pump(self, timeout_s: float) -> None:
        """Take in what arrives within `timeout_s`, at once when something is there. Raises `Rebooted` when watching."""
        data = self._transport.read(timeout_s)
        if self._capture is not None:
            self._capture.output(data)
        if not data:
            return
        self._last_data_s = self._clock.monotonic()
        boots = self.lines.boots
        self.lines.feed(data)
        if self.watch_boots and self.lines.boots > boots:
            if self._capture is not None:
                self._capture.mark("boot")
            raise Rebooted

    def pause(self, seconds: float) -> None:
        """Let `seconds` pass while the device goes on talking."""
        deadline = Deadline(self._clock, seconds)
        while not deadline.expired:
            self.pump(min(_PUMP_S, deadline.left_s))

    def settle(self, quiet_s: float = QUIET_S, timeout_s: float = 3.0) -> bool:
        """Wait until nothing has come for `quiet_s`; False where the device never stops talking."""
        deadline = Deadline(self._clock, timeout_s)
        begun_s = self._clock.monotonic()
        while (left_s := max(begun_s, self._last_data_s) + quiet_s - self._clock.monotonic()) > 0:
            if deadline.expired:
                return False
            self.pump(min(left_s, deadline.left_s))
        return True

    def type(self, text: str) -> int:
        """Send characters, at the pace that the console can take. Returns the number of the line that comes next."""
        self.pump(0)
        if self.at_prompt():
            self.lines.forget_partial()
        number = self.lines.count
        data = text.encode("utf-8", "surrogateescape")
        pieces = [data[i : i + 1] for i in range(len(data))] if self._target.char_delay_s else [data]
        for piece in pieces:
            if self._capture is not None:
                self._capture.input(piece)
            self._transport.write(piece)
            if self._target.char_delay_s:
                self._clock.sleep(self._target.char_delay_s)
        return number

    def mark(self, what: str) -> None:
        """Write a step marker; `cycle` stands for the end of a cycle and `boot` for a reset."""
        if self._capture is None:
            return
        if what in ("cycle", "boot"):
            self._capture.mark("cycle" if what == "cycle" else "boot")
        else:
            self._capture.mark("step", what)

    def stop_recording(self) -> None:
        """Go on without a capture, so that a device can be left in order when the disk is full."""
        self._capture = None

    # --- prompts and answers

    def at_prompt(self) -> bool:
        """Whether a prompt, and nothing behind it, stands on the line that has not ended."""
        return (self._prompt or _ANY_PROMPT).fullmatch(self.lines.partial.strip()) is not None

    def connect(self) -> None:
        """Find the prompt, and where none was configured keep the one that is found.

        Raises:
            ConsoleTimeout: None came; the sentence says which was expected, how long, and what came instead.
        """
        self.watch_boots = False
        deadline = Deadline(self._clock, self._target.answer_timeout_s)
        while True:
            self.settle(timeout_s=min(NUDGE_EVERY_S, deadline.left_s))
            # One that stood there before may be a stranger's text; one that answers Enter is a prompt.
            number = self.lines.count
            self.answers(min(NUDGE_EVERY_S, deadline.left_s))
            if self._prompt is None and self.at_prompt():
                self.settle(_PART_OF_A_LINE_S, NUDGE_EVERY_S)  # the beginning of a longer line may look like a prompt
            if self.at_prompt() or self._prompt_line_since(number):
                self.prompt_shown = self._shown_prompt(number)
                self._prompt = self._prompt or re.compile(re.escape(self.prompt_shown))
                self.watch_boots = True
                return
            if deadline.expired:
                raise self._no_prompt(f"within {self._target.answer_timeout_s:g} s")

    def answers(self, timeout_s: float) -> bool:
        """Whether Enter brings a prompt within `timeout_s`."""
        number = self.type(self._newline)
        deadline = Deadline(self._clock, timeout_s)
        while not (self.at_prompt() or self._prompt_line_since(number)):
            if deadline.expired:
                return False
            self.pump(min(_PUMP_S, deadline.left_s))
        return True

    def command(self, text: str, *, longest_s: float | None = None, idle_s: float | None = None) -> list[str]:
        """Type a command and return the lines of its answer; lines of other tasks may stand among them.

        Args:
            text: The command, without line end.
            longest_s: When to give up on an answer that never ends; None takes four times `answer_timeout_s`.
            idle_s: When to give up on a silent device; None takes the file's `answer_timeout_s`.

        Raises:
            ConsoleTimeout: No prompt came back.
        """
        usual_s = self._target.answer_timeout_s
        longest_s, idle_s = longest_s or 4 * usual_s, idle_s or usual_s
        for _ in range(_ATTEMPTS):
            answer = self._ask(text, longest_s, idle_s)
            if answer is not None:
                return answer
        raise ConsoleTimeout(
            f"{self._target.console}: the console lost the first character of `{text}` {_ATTEMPTS} times",
            try_this="set char_delay_s = 0.01 in [target]",
        )

    def _ask(self, text: str, longest_s: float, idle_s: float) -> list[str] | None:
        """One attempt; None when the console swallowed the first character and so did something else."""
        number = self.type(text + self._newline)
        fence = _Fence(text, self._prompt, echoes=self._echoes)
        asked_s, nudged = self._clock.monotonic(), False
        deadline = Deadline(self._clock, longest_s)
        while True:
            number = self._take_since(number, fence)
            now_s = self._clock.monotonic()
            if fence.closed(now_s, at_prompt=self.at_prompt()):
                if fence.lost_a_character:
                    return None
                self._echoes = bool(self._echoes or fence.echo_seen)
                return fence.answer
            if deadline.expired or now_s - max(asked_s, self._last_data_s) >= idle_s:
                if nudged:
                    raise self._no_prompt(f"after `{text}` within {now_s - asked_s + idle_s:.0f} s")
                # A line of another task may have run into the prompt. Enter brings a new one.
                nudged, asked_s, deadline = True, now_s, Deadline(self._clock, idle_s)
                self.type(self._newline)
            self.pump(_PUMP_S)

    def _prompt_line_since(self, number: int) -> bool:
        """Whether a prompt has come and another task's line behind it."""
        if self._prompt is None:
            return any(_ANY_PROMPT.fullmatch(line.strip()) for line in self.lines.since(number))
        return any(self._prompt.match(line.lstrip()) for line in self.lines.since(number))

    def _shown_prompt(self, number: int) -> str:
        shown = [line.strip() for line in (*self.lines.since(number), self.lines.partial)]
        return next((text for text in reversed(shown) if (self._prompt or _ANY_PROMPT).fullmatch(text)), "")

    # --- steps of a workload

    def perform(self, step: Step, *, longest_s: float | None = None) -> None:
        """Do one step of the workload file. Raises `ConsoleTimeout` when what it expects does not come."""
        timeout_s = step.timeout_s if longest_s is None else min(step.timeout_s, longest_s)
        for _ in range(_ATTEMPTS):
            begin = self.lines.count
            if step.send is not None:
                begin = self.type(step.send + (self._newline if step.enter else ""))
            fence = _Fence(step.send or "", self._prompt, echoes=self._echoes)
            if step.expect is not None:
                self._expect(step, fence, begin, timeout_s)
            elif step.send is not None:
                self._until_answered(fence, begin, min(timeout_s, _STEP_S))
            if not fence.lost_a_character:
                break
        if step.sleep_s:
            self.pause(step.sleep_s if longest_s is None else min(step.sleep_s, longest_s))

    def _until_answered(self, fence: _Fence, number: int, timeout_s: float) -> None:
        """Wait for the answer of something that may bring no prompt, such as a program in the foreground."""
        deadline, quiet = Deadline(self._clock, timeout_s), Deadline(self._clock, QUIET_S)
        while not (deadline.expired or quiet.expired):
            number = self._take_since(number, fence)
            if fence.closed(self._clock.monotonic(), at_prompt=self.at_prompt()):
                return
            received = self.lines.received_bytes
            self.pump(min(deadline.left_s, quiet.left_s))
            if self.lines.received_bytes > received:
                quiet = Deadline(self._clock, QUIET_S)

    def _expect(self, step: Step, fence: _Fence, begin: int, timeout_s: float) -> None:
        wanted = re.compile(step.expect or "")
        echo = step.send.strip() if step.send else None
        deadline = Deadline(self._clock, timeout_s)
        while True:
            for line in [*self.lines.since(begin), self.lines.partial]:
                text = line.removesuffix(echo) if echo else line
                if wanted.search(text):
                    return
            begin = self._take_since(begin, fence)
            if fence.lost_a_character and self.at_prompt():
                return
            if deadline.expired:
                after = f" after sending {step.send!r}" if step.send else ""
                raise ConsoleTimeout(
                    f"{self._target.console}: nothing matched {step.expect!r} within {timeout_s:g} s{after}; "
                    f"the last that came was {self.lines.sample()}",
                    try_this="correct the step in [workload], or give it a longer timeout_s",
                )
            self.pump(min(_PUMP_S, deadline.left_s))

    def _take_since(self, number: int, fence: _Fence) -> int:
        for line in self.lines.since(number):
            fence.take(line)
        return self.lines.count

    def _no_prompt(self, when: str) -> ConsoleTimeout:
        wanted = f"the prompt {self._prompt.pattern!r}" if self._prompt else "a prompt"
        where = f"{self._target.console}: {wanted} did not come {when}"
        if not self.lines.received_bytes:
            return ConsoleTimeout(
                f"{where}, and nothing else came either",
                try_this="look at the power, the cable (TX and RX crossed?), the port and newline in [target]",
            )
        where += f"; {self.lines.received_bytes:,} bytes came, the last of them {self.lines.sample()}"
        if self.lines.looks_like_noise():
            return ConsoleTimeout(
                f"{where}, which looks like noise", try_this=f"another baud than {self._target.baud} in [target]"
            )
        return ConsoleTimeout(where, try_this="set prompt in [target], or bring the console to its prompt by hand")


class _Fence:
    """Holds what belongs to the answer of one command.

    The echo is followed even when lines of other tasks fall into it: `fr`, `round 3 done`, `ee`.

    Attributes:
        answer: The lines behind the echo, up to the prompt.
        echo_seen: The echo came, whole.
    """

    def __init__(self, text: str, prompt: re.Pattern[str] | None, *, echoes: bool | None) -> None:
        self._text = self._left = text.strip()
        self._prompt = prompt
        self._prompt_s: float | None = None
        self._prompt_seen = self._ended = False
        self._begun = echoes is False  # a console that does not echo answers at once
        self._swallowed = False
        self.echo_seen = False
        self.answer: list[str] = []

    @property
    def lost_a_character(self) -> bool:
        """The console echoed all but the first character, and so did something else than it was told."""
        return self._swallowed and not self.echo_seen

    def take(self, line: str) -> None:
        """The next line."""
        if self._ended:
            return
        match = self._prompt.match(line.lstrip()) if self._prompt else None
        if not self.echo_seen and self._is_echo((line.lstrip()[match.end() :] if match else line).strip()):
            self._begun = self.echo_seen = True
            self.answer.clear()
        elif match:
            self._prompt_seen = True
            self._ended = self._begun
        else:
            self.answer.append(line)
            del self.answer[:-KEPT_LINES]

    def closed(self, now_s: float, *, at_prompt: bool) -> bool:
        """Whether the answer is complete: a prompt behind the echo, or a prompt and no echo in time."""
        if self._ended or (at_prompt and self._begun):
            return True
        if not (at_prompt or self._prompt_seen):
            return False
        if self._prompt_s is None:
            self._prompt_s = now_s
        return now_s - self._prompt_s >= ECHO_WAIT_S

    def _is_echo(self, line: str) -> bool:
        if not line or not self._text:
            return False
        if line.endswith(self._text):
            return True
        self._swallowed |= self._left == self._text and line == self._text[1:]
        if self._left.startswith(line):
            self._left = self._left[len(line) :].lstrip()
            return not self._left
        return False
