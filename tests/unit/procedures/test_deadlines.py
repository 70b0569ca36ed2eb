"""Waiting, on a clock that the test moves: hours pass at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter
from heaptrail.dialects import ConsoleCommands
from heaptrail.procedures.console import Console, ConsoleTimeout, Deadline
from heaptrail.procedures.hunt import hunt
from heaptrail.procedures.workload import Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from heaptrail.procedures.workload import Workload


class HandClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class ScriptedBoard:
    """Says each text at its time, and answers Enter with a prompt from a given time on; time passes as it is read."""

    def __init__(self, clock: HandClock, script: list[tuple[float, str]], *, prompt_from_s: float = 1e9) -> None:
        self._clock = clock
        self._script = list(script)
        self._prompt_from_s = prompt_from_s
        self._waiting = b""
        self.written: list[tuple[float, bytes]] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def read(self, timeout_s: float) -> bytes:
        data, self._waiting = self._waiting, b""
        if data:
            return data
        if self._script and self._script[0][0] <= self._clock.now_s + timeout_s:
            at_s, text = self._script.pop(0)
            self._clock.now_s = max(self._clock.now_s, at_s)
            return text.encode()
        self._clock.now_s += max(timeout_s, 1e-6)
        return b""

    def write(self, data: bytes) -> None:
        self.written.append((self._clock.now_s, data))
        if self._clock.now_s >= self._prompt_from_s and data.endswith(b"\r"):
            self._waiting += data.replace(b"\r", b"\r\n") + b"c906>"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def capture(tmp_path: Path, clock: HandClock) -> CaptureWriter:
    return CaptureWriter(tmp_path / "run.cast", CaptureHeader(), clock)


def test_a_deadline_passes_and_is_never_negative(clock: HandClock) -> None:
    deadline = Deadline(clock, 5)
    assert not deadline.expired
    clock.sleep(7)
    assert deadline.expired
    assert deadline.left_s == 0


def test_a_board_that_boots_for_minutes_is_waited_for(
    workload: Callable[..., Workload], clock: HandClock, capture: CaptureWriter
) -> None:
    board = ScriptedBoard(clock, [(n, f"loading module {n}\r\n") for n in range(1, 90)], prompt_from_s=95.0)
    console = Console(board, capture, clock, workload(target={"answer_timeout_s": 120.0}))

    console.connect()

    assert 95 <= clock.now_s < 99
    assert console.at_prompt()


def test_the_prompt_is_asked_for_once_a_second_and_no_longer_than_allowed(
    workload: Callable[..., Workload], clock: HandClock, capture: CaptureWriter
) -> None:
    board = ScriptedBoard(clock, [])
    console = Console(board, capture, clock, workload(target={"answer_timeout_s": 10.0}))

    with pytest.raises(ConsoleTimeout, match="within 10 s"):
        console.connect()

    assert 10 <= clock.now_s <= 11
    assert 7 <= len(board.written) <= 11


def test_a_step_waits_as_long_as_it_says(
    workload: Callable[..., Workload], clock: HandClock, capture: CaptureWriter
) -> None:
    board = ScriptedBoard(clock, [(3500.0, "song over\r\n")])
    console = Console(board, capture, clock, workload())

    console.perform(Step(expect="song over", timeout_s=3600.0))
    assert 3500 <= clock.now_s < 3501
    with pytest.raises(ConsoleTimeout, match="within 60 s"):
        console.perform(Step(expect="song over", timeout_s=60.0))
    assert 3560 <= clock.now_s < 3561


def test_a_round_of_an_hour_that_never_ends_is_given_up_after_its_time(
    workload: Callable[..., Workload], clock: HandClock, capture: CaptureWriter
) -> None:
    board = ScriptedBoard(clock, [], prompt_from_s=0.0)
    outcome = hunt(
        workload(start=[], stop=[], cycle_timeout_s=3600.0), ConsoleCommands(sample="free"), board, capture, clock=clock
    )

    assert outcome.error is not None
    assert "round 1 of 2 (warm-up) did not end within 3600 s" in outcome.error.sentence
    assert 3600 <= clock.now_s < 3620


def test_characters_are_sent_with_the_pause_between_them(
    workload: Callable[..., Workload], clock: HandClock, capture: CaptureWriter
) -> None:
    board = ScriptedBoard(clock, [])
    console = Console(board, capture, clock, workload(target={"char_delay_s": 0.5}))
    begun_s = clock.now_s

    console.type("free\r")

    assert [data for _, data in board.written] == [b"f", b"r", b"e", b"e", b"\r"]
    assert clock.now_s - begun_s == pytest.approx(2.5, abs=0.01)
