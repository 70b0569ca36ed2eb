"""A capture in the place of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter
from heaptrail.errors import FormatError, TargetError, UsageError
from heaptrail.transports import scheme_of
from heaptrail.transports.replay import ReplayTransport

if TYPE_CHECKING:
    from pathlib import Path


class HandClock:
    """Moved by the test, or by whoever sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    clock = HandClock()
    path = tmp_path / "run.cast"
    with CaptureWriter(path, CaptureHeader(), clock) as capture:
        capture.output(b"c906>")
        capture.input(b"free\r")
        clock.now_s = 2.0
        capture.output(b"free\r\nFree : 7\xff Bytes\r\n")
        capture.mark("cycle")
    return path


def test_the_output_comes_as_fast_as_it_is_read(recorded: Path) -> None:
    transport = ReplayTransport.from_target(f"replay:{recorded}", baud=115200)
    transport.open()
    transport.write(b"whatever")

    assert transport.read(0) + transport.read(0) == b"c906>free\r\nFree : 7\xff Bytes\r\n"
    with pytest.raises(TargetError, match="the capture ends here"):
        transport.read(0)
    transport.close()


def test_the_output_comes_when_it_came(recorded: Path) -> None:
    clock = HandClock()
    transport = ReplayTransport(recorded, times=True, clock=clock)
    transport.open()

    assert transport.read(0.5) == b"c906>"
    assert [transport.read(0.5) for _ in range(3)] == [b""] * 3
    assert transport.read(1.0).startswith(b"free")
    assert clock.now_s == 2.0
    transport.close()


def test_in_lockstep_an_answer_waits_for_its_question(recorded: Path) -> None:
    transport = ReplayTransport(recorded, lockstep=True, clock=HandClock())
    transport.open()

    assert transport.read(0) == b"c906>"
    assert transport.read(0.1) == b""
    transport.write(b"fr")
    assert transport.read(0.1) == b""
    transport.write(b"ee\r")
    assert transport.read(0).startswith(b"free\r\nFree")
    transport.close()


def test_in_lockstep_another_question_is_refused(recorded: Path) -> None:
    transport = ReplayTransport.from_target(f"replay:{recorded.name}?lockstep", baud=0, cwd=recorded.parent)
    transport.open()
    transport.read(0)

    with pytest.raises(TargetError, match=r"b'reboot' was sent where the capture has b'free\\r'"):
        transport.write(b"reboot")
    transport.close()


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "plain.log"
    log.write_text("c906>free\n")

    with pytest.raises(FormatError, match=r"plain\.log"):
        ReplayTransport(log).open()
    with pytest.raises(TargetError, match=r"gone.cast cannot be opened: No such file"):
        ReplayTransport(tmp_path / "gone.cast").open()
    with pytest.raises(UsageError, match="no option 'fast'"):
        ReplayTransport.from_target("replay:x.cast?fast", baud=0)


@pytest.mark.parametrize(
    ("target", "scheme"),
    [("exec:./p", "exec"), ("replay:a.cast?times", "replay"), ("/dev/ttyUSB0", "serial"), ("socket://h:1", "serial")],
)
def test_a_target_tells_its_transport(target: str, scheme: str) -> None:
    assert scheme_of(target) == scheme
