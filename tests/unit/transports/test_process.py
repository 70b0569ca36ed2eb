"""A real program on a real pseudo terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import TargetError, UsageError
from heaptrail.transports.process import ProcessTransport

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 10.0


def python(code: str) -> str:
    return f'"{sys.executable}" -u -c "{code}"'


def read_until(transport: ProcessTransport, wanted: bytes) -> bytes:
    seen = b""
    deadline = time.monotonic() + DEADLINE_S
    while wanted not in seen:
        assert time.monotonic() < deadline, f"{wanted!r} did not come, this did: {seen!r}"
        seen += transport.read(0.5)
    return seen


def read_to_the_end(transport: ProcessTransport) -> TargetError:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            transport.read(0.5)
        except TargetError as error:
            return error
    pytest.fail("the end of the program was not told")


def test_a_program_sees_a_terminal_of_its_own_and_what_is_typed() -> None:
    transport = ProcessTransport.from_target(
        "exec:" + python("import os; print(os.isatty(0), os.tcgetpgrp(0) == os.getpgrp()); print(input()[::-1])"),
        baud=115200,
    )
    transport.open()
    try:
        assert b"True True" in read_until(transport, b"\n")
        transport.write(b"hello\r")
        assert b"olleh" in read_until(transport, b"olleh")
    finally:
        transport.close()


def test_a_quiet_program_gives_nothing_in_time() -> None:
    transport = ProcessTransport(python("input()"))
    transport.open()
    try:
        assert transport.read(0.01) == b""
    finally:
        transport.close()


def test_a_relative_path_refers_to_the_given_folder(tmp_path: Path) -> None:
    program = tmp_path / "prog"
    program.write_text("#!/bin/sh\npwd\n")
    program.chmod(0o755)
    transport = ProcessTransport.from_target("exec:./prog", baud=0, cwd=tmp_path)
    transport.open()
    try:
        assert str(tmp_path).encode() in read_until(transport, b"\n")
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("raise SystemExit(3)", "ended with exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
    ],
)
def test_the_end_of_a_program_is_told_after_its_last_words(code: str, sentence: str) -> None:
    transport = ProcessTransport(python(f"print('last words'); {code}"))
    transport.open()
    try:
        read_until(transport, b"last words")
        assert sentence in read_to_the_end(transport).sentence
    finally:
        transport.close()


def test_a_program_whose_child_keeps_the_terminal_open_is_still_seen_to_end() -> None:
    transport = ProcessTransport('sh -c "trap  HUP; sleep 3 & exit 4"')
    transport.open()
    try:
        assert "exit status 4" in read_to_the_end(transport).sentence
    finally:
        transport.close()


def test_writing_to_a_program_that_is_gone_is_said() -> None:
    transport = ProcessTransport(python("pass"))
    transport.open()
    try:
        read_to_the_end(transport)
        with pytest.raises(TargetError, match="ended with exit status 0"):
            transport.write(b"free\r")
    finally:
        transport.close()


def test_control_c_reaches_the_program() -> None:
    transport = ProcessTransport(
        python("import signal\ntry: print('up'); signal.pause()\nexcept KeyboardInterrupt: print('interrupted')")
    )
    transport.open()
    try:
        read_until(transport, b"up")
        transport.write(b"\x03")
        assert b"interrupted" in read_until(transport, b"interrupted")
    finally:
        transport.close()


@pytest.mark.parametrize("ignored", ["", "SIGHUP", "SIGHUP SIGTERM"])
def test_closing_ends_the_program_however_stubborn_and_reaps_it(ignored: str) -> None:
    ignore = "".join(f"signal.signal(signal.{name}, signal.SIG_IGN);" for name in ignored.split())
    loop = "\n    signal.sigtimedwait([], 1)"
    transport = ProcessTransport(python(f"import signal; {ignore} print('up')\nwhile True:{loop}"))
    transport.open()
    read_until(transport, b"up")
    pid = transport.pid
    assert pid is not None

    transport.close()
    transport.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("./not-built arg", "the program ./not-built cannot be started: No such file or directory"),
        ("/etc/passwd", "the program /etc/passwd cannot be started: Permission denied"),
    ],
)
def test_a_program_that_cannot_be_started_is_named(command: str, sentence: str) -> None:
    with pytest.raises(TargetError) as caught:
        ProcessTransport(command).open()
    assert caught.value.sentence == sentence


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no folder"):
        ProcessTransport("true", cwd=tmp_path / "gone").open()


@pytest.mark.parametrize(("command", "message"), [("", "names no program"), ("'half", "No closing quotation")])
def test_a_command_that_makes_no_sense_is_refused(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ProcessTransport(command)


def test_nothing_is_read_before_it_is_opened() -> None:
    with pytest.raises(TargetError, match="is not running"):
        ProcessTransport("true").read(0)
