"""A hunt whose device has a gdb server: the findings are confirmed by what the memory shows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from integration.adapter import ConsoleServer

from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Heaptrail

WORKLOAD = """
[target]
console = "socket://127.0.0.1:{console}"
elf = "player"
gdb = "127.0.0.1:{gdb}"
[workload]
start = [{{ send = "rtplayer_test boot.wav" }}, {{ send = "l" }}]
stop = [{{ send = "rtpc q", sleep_s = 0.2 }}]
cycle_mark = 'playback round \\d+ complete'
warmup_cycles = 2
measured_cycles = 8
traced_cycles = 8
"""


@pytest.fixture
def gdbserver() -> str:
    found = shutil.which("gdbserver")
    if found is None:
        text = "needs gdbserver (apt-get install gdbserver)"
        if os.environ.get("HEAPTRAIL_NO_SKIP"):
            pytest.fail(text)
        pytest.skip(text)
    return found


class OnDemand:
    """A gdb server like one on a probe: it halts the program only when a client connects."""

    def __init__(self, program: str, pid_file: Path) -> None:
        self._program, self._pid_file = program, pid_file
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.clients = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # closed before anybody came
            return
        self.clients += 1
        with client:
            command = [self._program, "--attach", "-", self._pid_file.read_text().strip()]
            self._server = subprocess.Popen(command, stdin=client, stdout=client, stderr=subprocess.DEVNULL)
            self._server.wait()

    def close(self) -> None:
        """Let the program go: one that is still traced cannot be reaped."""
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._server is not None:
            self._server.terminate()
        self._thread.join()
        self._listener.close()


def test_lost_blocks_are_confirmed_by_the_targets_memory(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail, gdbserver: str
) -> None:
    shutil.copy(players["leaking"], tmp_path / "player")
    shutil.copy(players["leaking"].parent / "boot.wav", tmp_path / "boot.wav")
    script = tmp_path / "start.sh"
    script.write_text(f"cd {tmp_path}\necho $$ > pid\nexec ./player --rounds-per-second 50 --speed 0\n")
    console = ConsoleServer(ProcessTransport(f"sh {script}"))
    debugger = OnDemand(gdbserver, tmp_path / "pid")
    (tmp_path / "heaptrail.toml").write_text(WORKLOAD.format(console=console.port, gdb=debugger.port))

    try:
        done = heaptrail("hunt", "--format", "json")
    finally:
        debugger.close()
        console.close()

    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert debugger.clients == 1
    assert not [problem for problem in report["problems"] if problem["what"] == "gdb"], report["problems"]
    leaks = [finding for finding in report["findings"] if finding["class"] == "leak"]
    sites = [site for finding in leaks for site in finding["sites"]]
    assert any("Unreachable, by a RAM image" in line for finding in leaks for line in finding["evidence"])
    assert sum(site["unreachable_blocks"] or 0 for site in sites) >= 8
    assert {capture["format"] for capture in report["provenance"]["captures"]} >= {"cast", "image"}
    again = heaptrail("ram", "hunt.core", "--elf", "player")
    assert again.returncode == 1, again.stderr
    assert "3,856 B" in again.stdout


def test_a_gdb_server_that_does_not_answer_costs_no_finding(
    players: dict[str, Path], tmp_path: Path, heaptrail: Heaptrail
) -> None:
    shutil.copy(players["leaking"], tmp_path / "player")
    shutil.copy(players["leaking"].parent / "boot.wav", tmp_path / "boot.wav")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    text = WORKLOAD.format(console=0, gdb=port).replace(
        "socket://127.0.0.1:0", "exec:./player --rounds-per-second 50 --speed 0"
    )
    (tmp_path / "heaptrail.toml").write_text(text)

    done = heaptrail("hunt", "--format", "json")

    assert done.returncode in (1, 3), done.stderr
    report = json.loads(done.stdout)
    (problem,) = [problem for problem in report["problems"] if problem["what"] == "gdb"]
    assert "no gdb server answers" in problem["text"]
    assert report["findings"]
