"""From the workload file to the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.model.verdict import JudgeSettings
from heaptrail.procedures.target import capture_header, transport_for
from heaptrail.transports.process import ProcessTransport
from heaptrail.transports.replay import ReplayTransport
from heaptrail.transports.serial import SerialTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.procedures.workload import Workload


@pytest.mark.parametrize(
    ("console", "kind"),
    [
        ("exec:./prog 'an argument'", ProcessTransport),
        ("replay:run.cast", ReplayTransport),
        ("/dev/ttyUSB0", SerialTransport),
        ("rfc2217://host:2217", SerialTransport),
    ],
)
def test_the_console_chooses_the_transport(workload: Callable[..., Workload], console: str, kind: type) -> None:
    assert isinstance(transport_for(workload(target={"console": console})), kind)


def test_the_capture_knows_all_that_reading_it_needs(workload: Callable[..., Workload]) -> None:
    header = capture_header(workload(), dialect="tina", build_id="00ff", started_unix_s=1.5)

    assert header.cycle_mark == r"playback round \d+ complete"
    assert header.boot_mark == r"\*\*\* board boot"
    assert (header.dialect, header.build_id, header.warmup_cycles) == ("tina", "00ff", 2)
    assert header.judge == JudgeSettings(warmup_cycles=2)
