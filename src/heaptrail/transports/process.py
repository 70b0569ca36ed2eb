"""A program on a pseudo terminal of its own: `exec:./prog args`.

The terminal keeps its usual settings (it echoes, and hands over whole lines), so the program behaves as it does when a
person starts it in a shell. POSIX only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Self

from heaptrail.errors import TargetError, UsageError

_READ_BYTES = 64 * 1024
_WRITE_TIMEOUT_S = 10.0
"""A terminal takes 4 KB that nobody reads; a program that then reads nothing for this long is stuck."""
_GRACE_S = 1.0
"""What a program gets for each of hang-up, terminate and kill."""
_ROWS_COLUMNS = (50, 250)
"""Wide enough that no program breaks its lines for us."""


class ProcessTransport:
    """A program of this machine, driven over a pseudo terminal.

    Args:
        command: The program and its arguments as in a shell; nothing is expanded.
        cwd: Folder in which it runs, and to which a relative program path refers; None is the current one.

    Raises:
        UsageError: The command is empty or its quotes do not close.
    """

    def __init__(self, command: str, *, cwd: Path | None = None) -> None:
        try:
            self._argv = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"exec:{command}: {error}", try_this="close the quotes in the command") from error
        if not self._argv:
            raise UsageError("exec: names no program", try_this="write it as exec:./program arguments")
        self._name = f"the program {self._argv[0]}"
        self._cwd = cwd
        self._master: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def from_target(cls, target: str, *, baud: int, cwd: Path | None = None) -> Self:
        """From `exec:./prog args`; a pseudo terminal has no speed, so `baud` means nothing."""
        del baud
        return cls(target.removeprefix("exec:"), cwd=cwd)

    @property
    def pid(self) -> int | None:
        """The program's process id, None before `open`."""
        return self._process.pid if self._process else None

    def open(self) -> None:
        """Start the program. Raises `TargetError` when it cannot be started."""
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *_ROWS_COLUMNS, 0, 0))
        os.set_blocking(master, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - running the user's own program is what this is for
                self._argv,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=self._cwd,
                start_new_session=True,
                # Makes the terminal the program's own, so that control-C reaches it and closing hangs up on it.
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no other thread runs here
            )
        except OSError as error:
            os.close(master)
            raise self._cannot_start(error) from error
        finally:
            os.close(slave)
        self._master = master

    def read(self, timeout_s: float) -> bytes:
        """What the program printed; see `Transport.read`."""
        master = self._opened()
        ended = self._process is not None and self._process.poll() is not None
        if not _wait(master, select.POLLIN, 0 if ended else timeout_s):
            if ended:  # something else holds the terminal open, the program itself is gone
                raise self._gone()
            return b""
        try:
            data = os.read(master, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:  # EIO: every holder of the terminal's other end has closed it
            raise self._gone() from error
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes) -> None:
        """Type `data`. Raises `TargetError` when the program is gone or reads nothing any more."""
        master = self._opened()
        if self._process is not None and self._process.poll() is not None:
            raise self._gone()
        deadline_s = time.monotonic() + _WRITE_TIMEOUT_S
        while data:
            try:
                data = data[os.write(master, data) :]
            except BlockingIOError:
                if not _wait(master, select.POLLOUT, deadline_s - time.monotonic()):
                    raise TargetError(
                        f"{self._name} has read nothing for {_WRITE_TIMEOUT_S:.0f} s",
                        try_this="see whether it still runs, or waits for something else",
                    ) from None
            except OSError as error:
                raise self._gone() from error

    def close(self) -> None:
        """Hang up, then terminate, then kill; the program is reaped."""
        master, self._master = self._master, None
        if master is not None:
            os.close(master)
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)

    def _opened(self) -> int:
        if self._master is None:
            raise TargetError(f"{self._name} is not running", try_this="open the transport first")
        return self._master

    def _gone(self) -> TargetError:
        assert self._process is not None
        try:
            status = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return TargetError(
                f"{self._name} closed its terminal and runs on", try_this="run it in the foreground, not as a daemon"
            )
        if status >= 0:
            return TargetError(
                f"{self._name} ended with exit status {status}", try_this="run it by hand and see what it says"
            )
        with contextlib.suppress(ValueError):  # a real-time signal has no name
            return TargetError(
                f"{self._name} was killed by {signal.Signals(-status).name}",
                try_this="run it under a debugger, or see who sends the signal",
            )
        return TargetError(f"{self._name} was killed by signal {-status}", try_this="see who sends the signal")

    def _cannot_start(self, error: OSError) -> TargetError:
        folder = self._cwd or Path()
        if not folder.is_dir():
            return TargetError(f"{self._name}: there is no folder {folder}", try_this="correct the folder")
        where = f" in {folder}" if self._cwd else ""
        return TargetError(
            f"{self._name} cannot be started{where}: {error.strerror}",
            try_this="build it first, make it executable, or correct the path",
        )


def _wait(fd: int, events: int, timeout_s: float) -> bool:
    """Whether `fd` is ready, or its other end gone, within `timeout_s`."""
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))
