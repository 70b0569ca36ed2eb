"""`heaptrail trace` on the running player: the stream over its console, recorded, ended, interrupted and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from integration.adapter import Adapter, ConsoleServer

from heaptrail.model.report import Report
from heaptrail.reading.streams import load_stream
from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
DEADLINE_S = 120.0
pytestmark = pytest.mark.sanitizer


@pytest.fixture
def console(players: dict[str, Path]) -> str:
    assert players["leaking"].exists()
    return "exec:../../out/rtplayer/rtplayer --rounds-per-second 100 --speed 0"


@pytest.fixture
def live(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]], console: str
) -> Callable[..., tuple[int, str, str]]:
    def run(*options: str | Path) -> tuple[int, str, str]:
        done = heaptrail("trace", "--workload", WORKLOAD, "--console", console, *options)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_stream_recorded_over_the_console_names_the_leak_and_who_alone_frees(
    live: Callable[..., tuple[int, str, str]],
) -> None:
    status, shown, said = live("--cycles", "20", "--format", "json", "--output", "-")

    assert status == 1, said
    report = msgspec.json.decode(shown, type=Report)
    leak = report.findings[0]
    assert leak.finding_class == "leak"
    assert {site.name for site in leak.sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert "freed only by softvol_ap_destroy (softvolume.c:" in " ".join(leak.evidence)
    assert report.cycles is not None
    assert report.cycles >= 20
    assert [problem.what for problem in report.problems] == []
    assert "note:" not in said


def test_the_recording_is_one_file_that_tells_the_same_again(
    live: Callable[..., tuple[int, str, str]],
    heaptrail: Callable[..., subprocess.CompletedProcess[str]],
    players: dict[str, Path],
    tmp_path: Path,
) -> None:
    _, shown, said = live("--cycles", "12", "--capture", tmp_path / "run.cast", "--format", "json", "--output", "-")

    again = heaptrail("trace", "run.cast", "--elf", players["leaking"], "--format", "json")

    assert f"recorded {tmp_path / 'run.cast'}" in said
    assert again.returncode == 1, again.stderr
    first, second = (msgspec.json.decode(text, type=Report) for text in (shown, again.stdout))
    assert second.findings[0].evidence == first.findings[0].evidence
    typed = [json.loads(line)[2] for line in (tmp_path / "run.cast").read_text().splitlines()[1:] if '"i"' in line]
    assert [text.strip() for text in typed if "memleak" in text] == ["memleak stream", "memleak stream 0"]


def recording(console: str, capture: Path, *options: str) -> subprocess.Popen[str]:
    """A trace without an end, of which something is on the disk already."""
    command = ("trace", "--workload", str(WORKLOAD), "--console", console, "--capture", str(capture), *options)
    running = subprocess.Popen(
        [sys.executable, "-m", "heaptrail", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"XDG_CACHE_HOME": str(capture.parent / "cache")},
    )
    deadline_s = time.monotonic() + DEADLINE_S
    while rounds_in(capture) < 20:
        assert time.monotonic() < deadline_s
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(0.05)
            pytest.fail(running.communicate()[1])
    return running


def rounds_in(capture: Path) -> int:
    return capture.read_text(encoding="utf-8", errors="replace").count(" complete") if capture.exists() else 0


def test_control_c_ends_the_stream_in_order_and_the_report_is_on_what_there_is(console: str, tmp_path: Path) -> None:
    running = recording(console, tmp_path / "run.cast", "--format", "json", "--output", "-")

    running.send_signal(signal.SIGINT)
    shown, said = running.communicate(timeout=DEADLINE_S)

    assert running.returncode == 130, said
    report = msgspec.json.decode(shown, type=Report)
    assert report.verdict == "leak"
    assert {site.name for site in report.findings[0].sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert "heaptrail: stream off frames=" in (tmp_path / "run.cast").read_text()
    assert "could not be switched off" not in said


def test_nothing_that_was_received_is_lost_when_the_recorder_is_killed(console: str, tmp_path: Path) -> None:
    running = recording(console, tmp_path / "run.cast")

    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=DEADLINE_S)

    stream, infos = load_stream([tmp_path / "run.cast"])
    assert infos[0].settings is not None
    assert stream.counts.frames > 0
    assert (stream.counts.lost_events, stream.counts.restarts) == (0, 0)
    assert stream.counts.damaged_frames <= 1, "the one that was on its way"


def test_without_a_workload_somebody_else_drives_and_the_time_ends_it(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]], players: dict[str, Path]
) -> None:
    done = heaptrail("trace", "--console", f"exec:{players['leaking']}", "--for", "1s", "--elf", players["leaking"])

    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("Inconclusive: the stream holds 0 cycles")


def by_way_of(console: str, heaptrail: Callable[..., subprocess.CompletedProcess[str]], elf: Path) -> Report:
    options = ("--cycles", "12", "--elf", elf, "--format", "json", "--output", "-")
    done = heaptrail("trace", "--workload", WORKLOAD, "--console", console, *options)
    assert done.returncode == 1, done.stderr
    return msgspec.json.decode(done.stdout, type=Report)


def test_a_stream_over_a_serial_port_is_whole(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]], players: dict[str, Path], tmp_path: Path
) -> None:
    program = ProcessTransport(f"{players['leaking']} --rounds-per-second 100 --speed 0", cwd=WORKLOAD.parent)
    adapter = Adapter(program, tmp_path / "ttyUSB7")
    try:
        report = by_way_of(str(tmp_path / "ttyUSB7"), heaptrail, players["leaking"])
    finally:
        adapter.close()

    assert {site.name for site in report.findings[0].sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert report.problems == ()


def test_a_stream_over_a_terminal_server_is_whole(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]], players: dict[str, Path]
) -> None:
    program = ProcessTransport(f"{players['leaking']} --rounds-per-second 100 --speed 0", cwd=WORKLOAD.parent)
    server = ConsoleServer(program)
    try:
        report = by_way_of(f"socket://127.0.0.1:{server.port}", heaptrail, players["leaking"])
    finally:
        server.close()

    assert {site.name for site in report.findings[0].sites} == {"softvol_ap_update_mode", "resample_ap_update_mode"}
    assert report.problems == ()


def test_a_console_without_a_stream_is_one_sentence(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    board = ROOT / "tests" / "unit" / "procedures" / "fake_device.py"

    done = heaptrail("trace", "--console", f'exec:"{sys.executable}" "{board}"', "--for", "1s")

    assert done.returncode == 2
    assert done.stderr.count("heaptrail: ") == 1
    assert "`memleak stream` was answered with" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "trace was given neither a recorded stream nor a console"),
        (("run.cast", "--console", "exec:true"), "trace was given run.cast and a console"),
        (("--console", "exec:true", "--for", "soon"), "--for 'soon' is no length of time"),
        (("--console", "exec:no-such-program"), "the program no-such-program cannot be started"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(
    heaptrail: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...], says: str
) -> None:
    done = heaptrail("trace", *arguments)

    assert done.returncode == 2
    assert says in done.stderr
    assert "try:" in done.stderr
    assert "Traceback" not in done.stderr
