"""pyserial on a real pseudo terminal, a real socket, and names that lead nowhere."""

from __future__ import annotations

import os
import socket
import time
import tty
from typing import TYPE_CHECKING

import pytest
import serial

from heaptrail.errors import TargetError, UsageError
from heaptrail.transports.serial import SerialTransport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 10.0


def read_exactly(transport: SerialTransport, count: int) -> bytes:
    seen = b""
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < count and time.monotonic() < deadline:
        seen += transport.read(0.5)
    return seen


@pytest.fixture
def board() -> Iterator[tuple[int, str]]:
    """The far end of a serial line, and the name of the port."""
    far, near = os.openpty()
    tty.setraw(near)
    try:
        yield far, os.ttyname(near)
    finally:
        os.close(near)
        os.close(far)


def test_a_port_carries_every_byte_both_ways(board: tuple[int, str]) -> None:
    far, name = board
    transport = SerialTransport.from_target(name, baud=115200)
    transport.open()
    try:
        os.write(far, bytes(range(256)))
        assert read_exactly(transport, 256) == bytes(range(256))
        transport.write(bytes(range(256)))
        assert os.read(far, 1000) == bytes(range(256))
        assert transport.read(0.01) == b""
    finally:
        transport.close()
        transport.close()


def test_a_port_in_use_is_said(board: tuple[int, str]) -> None:
    _, name = board
    first = SerialTransport(name, baud=115200)
    first.open()
    try:
        with pytest.raises(TargetError, match="is in use by another program"):
            SerialTransport(name, baud=115200).open()
    finally:
        first.close()


def test_an_adapter_that_is_pulled_is_said() -> None:
    far, near = os.openpty()
    transport = SerialTransport(os.ttyname(near), baud=115200)
    transport.open()
    os.close(near)
    os.close(far)
    try:
        with pytest.raises(TargetError, match="is gone"):
            read_exactly(transport, 1)
    finally:
        transport.close()


def test_a_port_that_does_not_exist_lists_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Port:
        device = "/dev/ttyUSB7"

    monkeypatch.setattr("heaptrail.transports.serial.list_ports.comports", lambda: [Port()])

    with pytest.raises(TargetError, match="there is no port /dev/ttyNOPE9") as caught:
        SerialTransport("/dev/ttyNOPE9", baud=115200).open()
    assert "/dev/ttyUSB7" in caught.value.try_this


def test_a_port_of_another_group_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)

    with pytest.raises(TargetError, match="may not be opened") as caught:
        SerialTransport("/dev/ttyUSB0", baud=115200).open()
    assert "usermod" in caught.value.try_this


def test_a_file_that_is_no_port_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(TargetError, match="cannot be opened as a serial port"):
        SerialTransport(str(path), baud=115200).open()


@pytest.mark.parametrize("url", ["telnet://host:23", "socket://host"])
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises((UsageError, TargetError), match=url):
        SerialTransport(url, baud=115200).open()


def test_a_socket_carries_bytes_and_its_end_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        transport = SerialTransport(f"socket://127.0.0.1:{server.getsockname()[1]}", baud=115200)
        transport.open()
        try:
            board, _ = server.accept()
            with board:
                board.settimeout(DEADLINE_S)
                board.sendall(b"c906>" * 1000)
                assert read_exactly(transport, 5000) == b"c906>" * 1000
                transport.write(b"free\r")
                assert board.recv(100) == b"free\r"
            with pytest.raises(TargetError, match="is gone"):
                read_exactly(transport, 1)
        finally:
            transport.close()


def test_a_server_that_is_not_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TargetError, match=f"socket://127.0.0.1:{port}.*[Rr]efused"):
        SerialTransport(f"socket://127.0.0.1:{port}", baud=115200).open()


def test_a_port_without_a_descriptor_is_read_in_time() -> None:
    transport = SerialTransport("loop://", baud=115200)
    transport.open()
    try:
        assert transport.read(0.01) == b""
        transport.write(b"echo")
        assert read_exactly(transport, 4) == b"echo"
    finally:
        transport.close()


def test_a_line_held_up_by_flow_control_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = SerialTransport("loop://", baud=115200)
    transport.open()

    def stuck(_: bytes) -> int:
        raise serial.SerialTimeoutException("Write timeout")

    monkeypatch.setattr(transport._opened(), "write", stuck)
    with pytest.raises(TargetError, match="took no more bytes") as caught:
        transport.write(b"x")
    transport.close()
    assert "flow control" in caught.value.try_this


def test_nothing_is_read_before_it_is_opened() -> None:
    with pytest.raises(TargetError, match="is not open"):
        SerialTransport("loop://", baud=115200).read(0)
