"""Hunts on the real example player at many rounds a second, undisturbed and disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from heaptrail.capture import CaptureWriter, read_capture
from heaptrail.clock import SystemClock
from heaptrail.dialects.tina import Tina
from heaptrail.procedures.hunt import HuntOutcome, HuntProgress, hunt
from heaptrail.procedures.target import capture_header, transport_for
from heaptrail.procedures.workload import Workload, load_workload
from heaptrail.reading import ReadOptions, read_logs
from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from heaptrail.model.evidence import Evidence

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
DEADLINE_S = 60.0


@pytest.fixture
def player(players: dict[str, Path]) -> Workload:
    """The example's own workload file, its player built, at a hundred rounds a second."""
    assert players["leaking"].exists()
    return at_speed(load_workload(WORKLOAD), "--rounds-per-second 100 --speed 0")


def at_speed(workload: Workload, options: str, program: str = "rtplayer") -> Workload:
    console = f"exec:../../out/rtplayer/{program} {options}"
    return msgspec.structs.replace(workload, target=msgspec.structs.replace(workload.target, console=console))


class Hunted:
    """What a hunt left behind."""

    def __init__(self, outcome: HuntOutcome, path: Path) -> None:
        self.outcome = outcome
        with path.open("rb") as file:
            _, reader = read_capture(file)
            self.marks = [event.text for event in reader if event.kind == "m"]
        assert not reader.cut
        self.evidence: Evidence = read_logs([path], ReadOptions())


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Hunted]:
    def go(workload: Workload, watch: Callable[[HuntProgress, ProcessTransport], None] | None = None) -> Hunted:
        path = tmp_path / "hunt.cast"
        transport = transport_for(workload)
        assert isinstance(transport, ProcessTransport)
        header = capture_header(workload, dialect="tina", build_id=None, started_unix_s=0.0)
        assert Tina.commands is not None
        outcome = hunt(
            workload,
            Tina.commands,
            transport,
            CaptureWriter(path, header, SystemClock()),
            clock=SystemClock(),
            progress=None if watch is None else lambda told: watch(told, transport),
        )
        return Hunted(outcome, path)

    return go


def test_the_whole_procedure_at_a_hundred_rounds_a_second(player: Workload, run: Callable[..., Hunted]) -> None:
    done = run(player)

    assert done.outcome.phase == "done"
    assert done.outcome.error is None
    assert done.evidence.boots == 1
    assert len(done.evidence.samples) == done.outcome.readings >= 35
    assert len(done.evidence.dumps) == 4
    *running, stopped = done.evidence.dumps
    leaked = [sum(block.size_bytes == 0xF00 for block in dump.blocks) for dump in running]
    assert leaked == sorted(leaked)
    assert leaked[-1] >= 2 * 14
    assert [dump.workload for dump in done.evidence.dumps] == ["running"] * 3 + ["stopped"]
    assert sum(block.size_bytes == 0xF00 for block in stopped.blocks) >= leaked[-1] - 2


def test_every_round_that_the_player_printed_was_counted(player: Workload, run: Callable[..., Hunted]) -> None:
    done = run(at_speed(player, "--rounds-per-second 1000 --speed 0"))

    cycles = [mark for mark in done.evidence.marks if mark.what == "cycle"]
    assert done.outcome.phase == "done"
    assert len(cycles) == done.outcome.cycles


def test_the_mended_twin_is_hunted_just_the_same(player: Workload, run: Callable[..., Hunted]) -> None:
    done = run(at_speed(player, "--rounds-per-second 100 --speed 0", "rtplayer-mended"))

    assert done.outcome.phase == "done"
    last_running = done.evidence.dumps[-2]
    assert sum(block.size_bytes == 0xF00 for block in last_running.blocks) <= 2


@pytest.mark.parametrize("phase", ["measure", "trace"])
def test_the_player_is_killed_in_mid_hunt(player: Workload, run: Callable[..., Hunted], phase: str) -> None:
    def kill(told: HuntProgress, transport: ProcessTransport) -> None:
        if told.phase == phase and told.done >= 5 and transport.pid is not None:
            os.kill(transport.pid, signal.SIGKILL)

    done = run(player, kill)

    assert done.outcome.error is not None
    assert "was killed by SIGKILL" in done.outcome.error.sentence
    assert done.outcome.phase == phase
    assert len(done.evidence.samples) == done.outcome.readings >= 8


@pytest.mark.parametrize("phase", ["warm-up", "measure", "trace"])
def test_the_player_reboots_in_mid_hunt(player: Workload, run: Callable[..., Hunted], phase: str) -> None:
    rebooted = []

    def reboot(told: HuntProgress, transport: ProcessTransport) -> None:
        if told.phase == phase and told.done >= 3 and not rebooted:
            rebooted.append(told)
            transport.write(b"reboot\r")

    done = run(player, reboot)

    assert done.outcome.phase == "done"
    assert done.outcome.reboots == 1
    assert done.outcome.error is None
    assert done.evidence.boots == 2
    assert done.marks.count("boot") == 1
    assert done.marks.count("step: workload start") == 2
    assert len(done.evidence.dumps) >= 4


def test_the_heap_is_used_up_in_mid_hunt(player: Workload, run: Callable[..., Hunted]) -> None:
    plan = msgspec.structs.replace(player.workload, measured_cycles=30, traced_cycles=1000)
    done = run(msgspec.structs.replace(player, workload=plan))

    assert done.outcome.phase == "done"
    assert done.outcome.out_of_memory is not None
    assert "no memory" in done.outcome.out_of_memory
    assert not done.outcome.left_armed
    assert "alloc_failed" in {problem.what for problem in done.evidence.problems}
    assert done.evidence.dumps[-1].workload == "stopped"
    assert sum(block.size_bytes == 0xF00 for block in done.evidence.dumps[-2].blocks) > 30


def test_control_c_switches_the_tracer_off_and_ends_the_player(player: Workload, run: Callable[..., Hunted]) -> None:
    pids = []

    def interrupt(told: HuntProgress, transport: ProcessTransport) -> None:
        pids.append(transport.pid)
        if told.phase == "trace" and told.done == 7:
            signal.raise_signal(signal.SIGINT)

    done = run(player, interrupt)

    assert done.outcome.interrupted
    assert not done.outcome.left_armed
    assert done.marks[-3:] == ["step: workload stop", "step: teardown done", "step: tracer off"]
    assert done.evidence.dumps[-1].workload == "stopped"
    pid = next(pid for pid in pids if pid is not None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_recorder_that_is_killed_leaves_a_capture_that_reads(player: Workload, tmp_path: Path) -> None:
    capture = tmp_path / "hunt.cast"
    recorder = subprocess.Popen(
        [sys.executable, "-m", "heaptrail", "hunt", str(WORKLOAD), "--capture", str(capture)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not (capture.exists() and capture.read_bytes().count(b" complete\\r") >= 10):
            assert recorder.poll() is None
            assert time.monotonic() < deadline
    finally:
        recorder.kill()
        recorder.wait()

    evidence = read_logs([capture], ReadOptions())

    assert len(evidence.samples) >= 8
    assert sum(mark.what == "cycle" for mark in evidence.marks) >= 10
    assert player.workload.warmup_cycles == 5
