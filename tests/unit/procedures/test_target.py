"""From the workload file to the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import UsageError
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


def test_the_capture_knows_the_firmwares_own_lines(workload: Callable[..., Workload]) -> None:
    described = workload(target={"regex": {"pattern": r"free: (?P<free>\d+)"}, "csv": {"columns": ["t_s", "free"]}})

    header = capture_header(described, dialect="tina", build_id=None, started_unix_s=None)

    assert (header.pattern, header.columns) == (r"free: (?P<free>\d+)", ("t_s", "free"))


def test_a_wrong_description_is_refused_before_the_device_is_driven(workload: Callable[..., Workload]) -> None:
    described = workload(target={"regex": {"pattern": "free: ("}})

    with pytest.raises(UsageError, match="no regular expression"):
        capture_header(described, dialect="tina", build_id=None, started_unix_s=None)
