"""A pretend board on a pseudo terminal, and a workload for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from heaptrail.capture import CaptureHeader, CaptureWriter
from heaptrail.clock import SystemClock
from heaptrail.procedures.console import Console
from heaptrail.procedures.target import transport_for
from heaptrail.procedures.workload import Workload, parse_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAKE_DEVICE = Path(__file__).parent / "fake_device.py"


def make_workload(*faults: str, target: dict[str, Any] | None = None, **plan: Any) -> Workload:
    """A workload for the pretend board with these faults; `plan` replaces keys of [workload]."""
    return parse_workload(
        {
            "target": {
                "console": f'exec:"{sys.executable}" "{FAKE_DEVICE}" {" ".join(faults)}',
                "answer_timeout_s": 5.0,
                **(target or {}),
            },
            "workload": {
                "start": [{"send": "rtplayer_test a.wav", "expect": "playing$"}, {"send": "l"}],
                "stop": [{"send": "rtpc q", "expect": "playback ended"}],
                "cycle_mark": r"playback round \d+ complete",
                "boot_mark": r"\*\*\* board boot",
                "warmup_cycles": 2,
                "measured_cycles": 6,
                "traced_cycles": 6,
                "cycle_timeout_s": 10.0,
                **plan,
            },
        },
        folder=Path(),
    )


@pytest.fixture
def workload() -> Callable[..., Workload]:
    return make_workload


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """Makes a console on a running pretend board; ends it with the test."""
    opened = []

    def make(workload: Workload) -> Console:
        transport = transport_for(workload)
        transport.open()
        capture = CaptureWriter(tmp_path / "run.cast", CaptureHeader(), SystemClock())
        opened.append((transport, capture))
        return Console(transport, capture, SystemClock(), workload)

    yield make
    for transport, capture in opened:
        transport.close()
        capture.close()
