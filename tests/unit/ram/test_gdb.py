"""A gdb server of a few lines, sound and broken: what is asked of it, and what a user is told."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

import pytest

from heaptrail.errors import TargetError, UsageError
from heaptrail.ram.gdb import GdbTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board

    MakeBoard = Callable[..., Board]

RAM = 0x2000_0000


class Stopwatch:
    """A clock that moves a quarter of a second each time it is read."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.25
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Server:
    """Answers one client. `replies` overrides what is said to a command; `mangle` changes each packet sent."""

    def __init__(self, board: Board, **options: object) -> None:
        self.board = board
        self.asked: list[bytes] = []
        self._replies: dict[bytes, bytes] = options.get("replies", {})  # type: ignore[assignment]
        self._mangle: Callable[[bytes, int], bytes] = options.get("mangle", lambda packet, _: packet)  # type: ignore[assignment]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.spec = f"gdb:127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            client.settimeout(10)
            pending, sent = b"", b""
            while True:
                try:
                    more = client.recv(65536)
                except ConnectionResetError:  # it left before it read our last answer
                    return
                if not more:
                    return
                pending += more
                while pending:
                    head, pending = pending[:1], pending[1:]
                    if head == b"\x03":
                        sent = self._reply(client, b"S02")
                    elif head == b"-":
                        client.sendall(sent)
                    elif head == b"$":
                        command, _, rest = pending.partition(b"#")
                        pending = rest[2:]
                        self.asked.append(command)
                        answer = self._answer(command)
                        sent = self._reply(client, answer) if answer is not None else sent

    def _reply(self, client: socket.socket, data: bytes) -> bytes:
        packet = b"$%s#%02x" % (data, sum(data) & 0xFF)
        client.sendall(b"+" + self._mangle(packet, len(self.asked)))
        return packet

    def _answer(self, command: bytes) -> bytes | None:
        """The reply, or None to a command that has none (to run on, to detach)."""
        table = {
            **self._replies,
            b"qSupported": b"PacketSize=200",
            b"?": b"T05thread:01;",
            b"g": b"".join(b"%02x000020" % n for n in range(17)),
            b"Z1": b"OK",
            b"z1": b"OK",
        }
        if any(asked.startswith(b"Z1") for asked in self.asked):
            table[b"c"] = self._replies.get(b"c", b"S05")
        for start, reply in table.items():
            if command.startswith(start):
                return reply
        return self._memory(command) if command.startswith(b"m") else None if command in (b"c", b"D") else b""

    def _memory(self, command: bytes) -> bytes:
        address, count = (int(part, 16) for part in command[1:].split(b","))
        data = bytes(self.board.ram[address - RAM :][:count]) if address >= RAM else b""
        return data.hex().encode() or b"E01"


@pytest.fixture
def board(make_board: MakeBoard) -> Board:
    board = make_board(size=0x800)
    board.variable("counter", 42)
    board.ram[0x100:0x140] = bytes(range(64))
    return board


def test_memory_and_registers_are_copied_while_it_is_halted(board: Board) -> None:
    with Server(board) as server, GdbTarget(server.spec, board.firmware(), Stopwatch()) as target:
        image = target.image(1)

    assert image.memory.read(RAM, 0x800) == bytes(board.ram)
    assert image.registers[0].values[3] == 0x2000_0003
    assert image.registers[0].stack_pointer == 0x2000_000D
    assert "halted for 0.25 s while 2,048 B were copied" in image.notes[0]
    assert server.asked[-2:] == [b"c", b"D"], "it runs on, and is left running"


def test_a_second_image_halts_it_again(board: Board) -> None:
    with Server(board) as server, GdbTarget(server.spec, board.firmware(), Stopwatch()) as target:
        first = target.image(1)
        board.ram[0x200] = 0x77
        second = target.image(2)

    assert first.memory.read(RAM + 0x200, 1) == b"\0"
    assert second.memory.read(RAM + 0x200, 1) == b"\x77"


def test_it_runs_to_a_function_and_stops_there(board: Board) -> None:
    with Server(board) as server, GdbTarget(server.spec, board.firmware(), Stopwatch()) as target:
        target.run_to("main")
        target.image(1)

    assert b"Z1,8000000,2" in server.asked
    assert b"z1,8000000,2" in server.asked


def test_a_function_that_is_not_there_is_said(board: Board) -> None:
    with (
        Server(board) as server,
        GdbTarget(server.spec, board.firmware(), Stopwatch()) as target,
        pytest.raises(UsageError, match="has no function"),
    ):
        target.run_to("mian")


def test_run_lengths_and_repeated_packets_are_understood(board: Board) -> None:
    def damage_once(packet: bytes, asked: int) -> bytes:
        return packet.replace(b"#", b"0#", 1) if asked == 1 else packet

    replies = {b"m": b"0* " * 1}
    with (
        Server(board, replies=replies, mangle=damage_once) as server,
        GdbTarget(server.spec, board.firmware(), Stopwatch()) as target,
    ):
        image = target.image(1)

    assert image.memory.read(RAM, 8) == bytes(8), "`0* ` is four zeros"


def test_memory_that_is_refused_is_named(board: Board) -> None:
    with (
        Server(board, replies={b"m": b"E14"}) as server,
        GdbTarget(server.spec, board.firmware(), Stopwatch()) as target,
        pytest.raises(TargetError, match="does not give memory at 0x20000000"),
    ):
        target.image(1)


def test_a_target_that_ended_is_said(board: Board) -> None:
    with (
        Server(board, replies={b"c": b"W00"}) as server,
        GdbTarget(server.spec, board.firmware(), Stopwatch()) as target,
        pytest.raises(TargetError, match="the program ended"),
    ):
        target.run_to("main")


@pytest.mark.parametrize("spec", ["gdb:", "gdb:host", "gdb:host:0", "gdb:host:99999", "gdb:a:b:1"])
def test_a_spec_that_is_no_address_is_refused(board: Board, spec: str) -> None:
    with pytest.raises(UsageError, match="no gdb server's address"):
        GdbTarget(spec, board.firmware(), Stopwatch())


def test_nobody_there_says_what_to_start(board: Board) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(TargetError, match="no gdb server answers") as told:
        GdbTarget(f"gdb:127.0.0.1:{port}", board.firmware(), Stopwatch())

    assert "openocd" in told.value.try_this


def test_a_breakpoint_is_taken_away_also_after_an_error(board: Board) -> None:
    with (
        Server(board, replies={b"m": b"E14"}) as server,
        GdbTarget(server.spec, board.firmware(), Stopwatch()) as target,
    ):
        target.run_to("main")
        with pytest.raises(TargetError, match="does not give memory"):
            target.image(1)

    assert server.asked[-2:] == [b"z1,8000000,2", b"D"]
