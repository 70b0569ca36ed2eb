"""Everything that pyserial opens: a port, `socket://host:port`, `rfc2217://host:port`, `loop://`.

The only module that imports pyserial, whose errors become sentences here.
"""

from __future__ import annotations

import contextlib
import errno
import io
import select
import time
from typing import Self

import serial
from serial.tools import list_ports

from heaptrail.errors import TargetError, UsageError

_READ_BYTES = 64 * 1024
_WRITE_TIMEOUT_S = 10.0
_SLICE_S = 0.02
"""Ports without a file descriptor are asked in steps of this: a later time-out cannot be set cheaply on them (an RFC
2217 port negotiates anew whenever one is changed)."""

_GONE = "look at the cable and the power, or whether another program opened the port"


class SerialTransport:
    """A serial port, or a network port that behaves like one.

    Args:
        url: What `serial.serial_for_url` takes.
        baud: Symbols a second; means nothing for `socket://`.
    """

    def __init__(self, url: str, *, baud: int) -> None:
        self._url = url
        self._baud = baud
        self._port: serial.Serial | None = None
        self._fd: int | None = None

    @classmethod
    def from_target(cls, target: str, *, baud: int) -> Self:
        """From a port's name or a pyserial URL."""
        return cls(target, baud=baud)

    def open(self) -> None:
        """Connect.

        Raises:
            TargetError: There is no such port, it may not be opened, or nobody answers at the address.
            UsageError: The URL or the baud rate means nothing.
        """
        try:
            self._port = serial.serial_for_url(
                self._url, baudrate=self._baud, timeout=0, write_timeout=_WRITE_TIMEOUT_S, do_not_open=True
            )
            with contextlib.suppress(ValueError, AttributeError):
                self._port.exclusive = True  # only ports of this machine can be kept from others
            self._port.open()
        except (serial.SerialException, OSError) as error:
            self._port = None
            raise self._cannot_open(error) from error
        except (ValueError, OverflowError) as error:
            self._port = None
            raise UsageError(
                f"{self._url}: {error}",
                try_this="a port such as /dev/ttyUSB0, socket://host:port or rfc2217://host:port",
            ) from error
        try:
            self._fd = self._port.fileno()
        except (AttributeError, io.UnsupportedOperation):
            self._fd = None

    def read(self, timeout_s: float) -> bytes:
        """What arrived; see `Transport.read`."""
        port = self._opened()
        try:
            if self._fd is not None:
                poll = select.poll()
                poll.register(self._fd, select.POLLIN)
                return bytes(port.read(_READ_BYTES)) if poll.poll(max(0.0, timeout_s) * 1000) else b""
            return self._read_in_slices(port, timeout_s)
        except (serial.SerialException, OSError, TypeError) as error:  # TypeError: pyserial's port closed under a read
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises `TargetError` when the port is gone or flow control holds it up."""
        port = self._opened()
        try:
            port.write(data)
        except serial.SerialTimeoutException as error:
            raise TargetError(
                f"{self._url} took no more bytes for {_WRITE_TIMEOUT_S:.0f} s",
                try_this="look at flow control (RTS/CTS), and whether the device is halted",
            ) from error
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Let go of the port."""
        port, self._port, self._fd = self._port, None, None
        if port is not None:
            with contextlib.suppress(serial.SerialException, OSError):
                port.close()

    def _read_in_slices(self, port: serial.Serial, timeout_s: float) -> bytes:
        deadline_s = time.monotonic() + timeout_s
        while True:
            waiting = port.in_waiting
            if waiting:
                return bytes(port.read(min(waiting, _READ_BYTES)))
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return b""
            time.sleep(min(_SLICE_S, left_s))

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise TargetError(f"{self._url} is not open", try_this="open the transport first")
        return self._port

    def _gone(self, error: Exception) -> TargetError:
        return TargetError(f"{self._url} is gone: {error}", try_this=_GONE)

    def _cannot_open(self, error: Exception) -> TargetError:
        number = getattr(error, "errno", None)
        if number == errno.ENOENT:
            ports = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
            return TargetError(
                f"there is no port {self._url}", try_this=f"one that this machine has: {ports}; or plug the adapter in"
            )
        if number in (errno.EACCES, errno.EPERM):
            return TargetError(
                f"{self._url} may not be opened by this user",
                try_this="join the group that owns it (sudo usermod -aG dialout $USER), then log in again",
            )
        if number in (errno.EAGAIN, errno.EBUSY):
            return TargetError(
                f"{self._url} is in use by another program", try_this=f"close it; fuser {self._url} names it"
            )
        if "://" in self._url:
            return TargetError(f"{self._url}: {error}", try_this="see whether the server runs and the port is right")
        return TargetError(f"{self._url} cannot be opened as a serial port: {error}", try_this="name another port")
