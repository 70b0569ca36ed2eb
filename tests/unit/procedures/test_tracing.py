"""Recordings of event streams that cannot begin: each ends with a sentence, and leaves nothing switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter, read_capture
from heaptrail.clock import SystemClock
from heaptrail.procedures.target import transport_for
from heaptrail.procedures.tracing import record_stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from heaptrail.procedures.hunt import HuntOutcome
    from heaptrail.procedures.workload import Workload


@pytest.fixture
def record(workload: Callable[..., Workload], tmp_path: Path) -> Callable[..., tuple[HuntOutcome, list[str]]]:
    def run(*faults: str) -> tuple[HuntOutcome, list[str]]:
        clock, path, board = SystemClock(), tmp_path / "run.cast", workload(*faults)
        capture = CaptureWriter(path, CaptureHeader(), clock)
        outcome = record_stream(board, transport_for(board), capture, clock=clock, cycles=5)
        with path.open("rb") as file:
            _, events = read_capture(file)
            return outcome, [event.text.strip() for event in events if event.kind == "i" and event.text.strip()]

    return run


def test_a_console_without_a_stream_is_told_with_what_it_said(
    record: Callable[..., tuple[HuntOutcome, list[str]]],
) -> None:
    outcome, typed = record()

    assert outcome.error is not None
    assert "`memleak stream` was answered with 'nothing', not with a stream" in outcome.error.sentence
    assert "HT_STREAM=1" in outcome.error.try_this
    assert (typed, outcome.left_armed) == (["memleak stream"], False)


def test_a_stream_of_another_version_is_switched_off_again(
    record: Callable[..., tuple[HuntOutcome, list[str]]],
) -> None:
    outcome, typed = record("--wire", "7")

    assert outcome.error is not None
    assert "sends an event stream of version 7, and this program reads version 1" in outcome.error.sentence
    assert typed == ["memleak stream", "memleak stream 0"]


def test_a_silent_console_ends_the_attempt(record: Callable[..., tuple[HuntOutcome, list[str]]]) -> None:
    outcome, _ = record("--silent")

    assert outcome.error is not None
    assert outcome.phase == "connect"
    assert "a prompt did not come within 5 s" in outcome.error.sentence


def test_a_device_that_begins_anew_is_asked_for_its_stream_again(
    record: Callable[..., tuple[HuntOutcome, list[str]]],
) -> None:
    outcome, typed = record("--wire", "1", "--reboots", "1", "--reboot-at", "3")

    assert (outcome.error, outcome.reboots, outcome.phase) == (None, 1, "done")
    assert typed.count("memleak stream") == 2
    assert typed[-1] == "memleak stream 0"
