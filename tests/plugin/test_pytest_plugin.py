"""The pytest plugin on the real player: a leak fails the test and leaves the page, the mended twin passes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PLAYERS = ROOT / "out" / "rtplayer"
WORKLOAD = ROOT / "examples" / "rtplayer" / "heaptrail.toml"
OPTIONS = "--rounds-per-second 50 --speed 0"

LEAKING = """
    import pytest

    @pytest.mark.limit_leaks(below="400 B/cycle", cycles=6)
    def test_playback(leak_hunt):
        leak_hunt({workload!r}, console="exec:{player} {options}", elf={player!r})
"""


@pytest.fixture(scope="session", autouse=True)
def _players() -> None:
    subprocess.run(
        ["make", "-s", "-C", str(WORKLOAD.parent), f"OUT={PLAYERS}"], check=True, timeout=120, stdout=subprocess.DEVNULL
    )


def suite(text: str, player: str) -> str:
    return text.format(
        workload=str(WORKLOAD), player=str(PLAYERS / player), options=OPTIONS, wav=str(PLAYERS / "boot.wav")
    )


def test_a_leak_fails_the_test_with_its_site_and_leaves_the_page(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(suite(LEAKING, "rtplayer"))

    done = pytester.runpytest_subprocess("--strict-markers", "--junitxml=out/junit.xml")

    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    assert "a loss below 400 B/cycle was not shown" in text
    assert "softvol_ap_update_mode (softvolume.c:" in text
    assert "Traceback" not in text
    left = pytester.path / "out"
    assert {path.name for path in left.iterdir()} >= {
        "junit.xml",
        "test_playback.heaptrail.html",
        "test_playback.heaptrail.json",
        "test_playback.heaptrail.cast",
    }
    assert b"softvol_ap_update_mode" in (left / "test_playback.heaptrail.html").read_bytes()


def test_the_mended_twin_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(suite(LEAKING.replace("cycles=6", "cycles=120"), "rtplayer-mended"))

    assert pytester.runpytest_subprocess().parseoutcomes() == {"passed": 1}


def test_a_run_too_short_to_show_anything_fails_or_is_skipped_as_the_marker_says(pytester: pytest.Pytester) -> None:
    short = suite(LEAKING.replace("400 B", "1 B"), "rtplayer-mended")
    pytester.makepyfile(test_fail=short, test_skip=short.replace("cycles=6", 'cycles=6, inconclusive="skip"'))

    assert pytester.runpytest_subprocess().parseoutcomes() == {"failed": 1, "skipped": 1}


def test_a_known_leak_passes(pytester: pytest.Pytester) -> None:
    (pytester.path / "known.supp").write_text("leak:AudioTrack.c\n")
    pytester.makepyfile(suite(LEAKING, "rtplayer").replace("elf=", 'suppressions=["known.supp"], elf='))

    assert pytester.runpytest_subprocess().parseoutcomes() == {"passed": 1}


def test_a_marked_test_that_never_hunts_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest

        @pytest.mark.limit_leaks(below="10 B/cycle")
        def test_forgot():
            pass
    """)

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(failed=1)
    assert "call the fixture leak_hunt" in done.stdout.str()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("leak_hunt('none.toml')", "none.toml"),
        ("leak_hunt({workload!r}, console=object())", "console=object has no write()"),
        ("leak_hunt({workload!r}, console='exec:./nothing')", "nothing"),
    ],
)
def test_what_cannot_be_hunted_is_one_sentence(pytester: pytest.Pytester, call: str, says: str) -> None:
    pytester.makepyfile(f"def test_it(leak_hunt):\n    {suite(call, 'rtplayer')}\n")

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(failed=1)
    assert says in done.stdout.str()
    assert "try: " in done.stdout.str()


@pytest.mark.parametrize("below", ["10 B/hour", "a little", "-1 B/cycle"])
def test_a_limit_that_is_none_is_said(pytester: pytest.Pytester, below: str) -> None:
    pytester.makepyfile(suite(LEAKING.replace("400 B/cycle", below), "rtplayer"))

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(failed=1)
    assert "is no loss per cycle" in done.stdout.str()


def test_a_plain_object_with_read_and_write_is_a_console(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        suite(
            """
            import os, pty, shlex, subprocess
            import pytest

            class Terminal:
                def __init__(self):
                    self.master, slave = pty.openpty()
                    command = shlex.split("{player} {options}")
                    self.program = subprocess.Popen(command, stdin=slave, stdout=slave, cwd={folder!r})
                    os.close(slave)
                    os.set_blocking(self.master, False)

                def read(self, size):
                    try:
                        return os.read(self.master, size)
                    except BlockingIOError:
                        return b""

                def write(self, data):
                    os.write(self.master, data)

            @pytest.mark.limit_leaks(below="400 B/cycle", cycles=6)
            def test_playback(leak_hunt):
                terminal = Terminal()
                try:
                    leak_hunt({workload!r}, console=terminal, elf={player!r})
                finally:
                    terminal.program.kill()
                    terminal.program.wait()
            """.replace("{folder!r}", repr(str(WORKLOAD.parent))),
            "rtplayer",
        )
    )

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(failed=1)
    assert "softvol_ap_update_mode" in done.stdout.str()


def test_a_pyserial_port_is_a_console_and_keeps_its_timeout(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        suite(
            """
            import os, pty, shlex, subprocess, tty
            import pytest
            import serial

            @pytest.mark.limit_leaks(below="400 B/cycle", cycles=6)
            def test_playback(leak_hunt):
                board, cable = pty.openpty()
                tty.setraw(cable)
                command = shlex.split("{player} {options}")
                with serial.Serial(os.ttyname(cable), timeout=7) as port:
                    program = subprocess.Popen(command, stdin=board, stdout=board, cwd={folder!r})
                    try:
                        leak_hunt({workload!r}, console=port, elf={player!r})
                    finally:
                        assert port.timeout == 7
                        program.kill()
                        program.wait()
            """.replace("{folder!r}", repr(str(WORKLOAD.parent))),
            "rtplayer",
        )
    )

    done = pytester.runpytest_subprocess()

    done.assert_outcomes(failed=1)
    assert "softvol_ap_update_mode" in done.stdout.str()


def test_a_suite_that_does_not_hunt_loads_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing():
            assert not {name for name in sys.modules if name.startswith("heaptrail.")} - {
                "heaptrail.pytest_plugin", "heaptrail.version"
            }
            assert "numpy" not in sys.modules
    """)

    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").parseoutcomes() == {"passed": 1}
