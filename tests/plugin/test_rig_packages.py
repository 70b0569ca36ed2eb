"""The plugin with the consoles of real rig packages, from the extra `rigs`.

They are no part of `dev`: labgrid brings its own build of pyserial, which overwrites pyserial's files, and
pytest-embedded starts a process of its own in every pytest run.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PLAYER = ROOT / "out" / "rtplayer" / "rtplayer"
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"

BOARD = f"""
import os, pty, subprocess, tty

class Board:
    '''The player behind a pseudo terminal, as a board is behind a serial port.'''

    def __init__(self):
        board, cable = pty.openpty()
        tty.setraw(cable)
        command = [{str(PLAYER)!r}, "--rounds-per-second", "20", "--speed", "0"]
        self.program = subprocess.Popen(command, stdin=board, stdout=board, cwd={str(WORKLOAD.parent)!r})
        self.port = os.ttyname(cable)

    def off(self):
        self.program.kill()
        self.program.wait()
"""
HUNT = f"leak_hunt({str(WORKLOAD)!r}, console={{console}}, elf={str(PLAYER)!r})"


@pytest.fixture(scope="session", autouse=True)
def _player() -> None:
    folder = PLAYER.parent
    command = ["make", "-s", "-C", str(WORKLOAD.parent), f"OUT={folder}"]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)


def failed_with_the_leak(done: pytest.RunResult) -> bool:
    done.assert_outcomes(failed=1)
    return "softvol_ap_update_mode (softvolume.c:" in done.stdout.str()


def test_a_dut_of_pytest_embedded_is_a_console(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(f"""{BOARD}
BOARD = Board()

def pytest_configure(config):
    config.option.port = BOARD.port

def pytest_sessionfinish():
    BOARD.off()
""")
    pytester.makepyfile(f"""
import pytest

@pytest.mark.limit_leaks(below="400 B/cycle", cycles=6)
def test_playback(dut, leak_hunt):
    {HUNT.format(console="dut")}
""")

    options = ("-p", "no:labgrid", "--embedded-services", "serial")
    assert failed_with_the_leak(pytester.runpytest_subprocess(*options))


@pytest.mark.parametrize("driver", ["serial", "external"])
def test_a_console_driver_of_labgrid_is_a_console(pytester: pytest.Pytester, driver: str) -> None:
    pytester.makepyfile(f"""{BOARD}
import pytest
from labgrid import Target
from labgrid.driver import ExternalConsoleDriver, SerialDriver
from labgrid.resource import RawSerialPort

@pytest.fixture
def serial():
    board, target = Board(), Target("board")
    RawSerialPort(target, "port", port=board.port)
    console = SerialDriver(target, "console")
    target.activate(console)
    yield console
    target.deactivate(console)
    board.off()

@pytest.fixture
def external(monkeypatch):
    monkeypatch.chdir({str(WORKLOAD.parent)!r})
    target = Target("board")
    command = "{PLAYER} --rounds-per-second 20 --speed 0"
    console = ExternalConsoleDriver(target, "console", cmd=command)
    target.activate(console)
    yield console
    target.deactivate(console)

@pytest.mark.limit_leaks(below="400 B/cycle", cycles=6)
def test_playback({driver}, leak_hunt):
    {HUNT.format(console=driver)}
""")

    assert failed_with_the_leak(pytester.runpytest_subprocess("-p", "no:pytest_embedded"))
