"""A live target through any gdb server, by the remote serial protocol: halt, copy, resume, and say how long that took.

Spoken as the GDB manual, appendix E, documents it (`?`, `g`, `m`, `c`, `s`, `Z`, `D`, thread lists). OpenOCD, J-Link,
pyOCD, probe-rs, QEMU and gdbserver speak it. Most servers halt the target when a client connects.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, NamedTuple, Self

from heaptrail.errors import TargetError, UsageError
from heaptrail.ram.images import Image
from heaptrail.ram.memory import Memory, Piece, Registers
from heaptrail.units import format_address, format_bytes

if TYPE_CHECKING:
    from types import TracebackType

    from heaptrail.clock import Clock
    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.intervals import Interval

_ADDRESS = re.compile(r"gdb:(?:(?P<host>[^:\[\]]+|\[[0-9a-fA-F:]+\]):)?(?P<port>\d{1,5})")
_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 600.0
_REPLY_BYTES = 1 << 22
_DEFAULT_PACKET = 1_024
_STACK_PROBE_BYTES = 65_536
"""How far above a stack pointer outside of all known memory the stack is read."""
_STACK_STEP = 1_024
_RETRIES = 3


class _Cpu(NamedTuple):
    """Where these are in a `g` packet, and how many registers of a word precede the others."""

    stack_pointer: int
    program_counter: int
    registers: int


class _Breakpoint(NamedTuple):
    """A breakpoint that is set: the function, its address, and the packet's words behind `Z` or `z`."""

    function: str
    address: int
    words: bytes


# The order of `g` without a target description: gdb's own for each CPU.
_CPUS = {
    "arm": _Cpu(13, 15, 16),
    "riscv32": _Cpu(2, 32, 33),
    "riscv64": _Cpu(2, 32, 33),
    "aarch64": _Cpu(31, 32, 33),
    "x86_64": _Cpu(7, 16, 17),
    "x86": _Cpu(4, 8, 9),
}


class GdbTarget:
    """A connection to a gdb server; a context manager that leaves the target running.

    Args:
        spec: `gdb:HOST:PORT`, or `gdb:PORT` for this machine.
        firmware: What to read: its writable memory, and the registers of its CPU.
        clock: Measures how long the target was halted.

    Raises:
        UsageError: The address cannot be read.
        TargetError: No server answers there.
    """

    def __init__(self, spec: str, firmware: Firmware, clock: Clock) -> None:
        found = _ADDRESS.fullmatch(spec)
        if found is None or not 0 < int(found["port"]) < 1 << 16:
            raise UsageError(f"{spec} is no gdb server's address", try_this="gdb:HOST:PORT, such as gdb:localhost:3333")
        self._host, self._port = (found["host"] or "localhost").strip("[]"), int(found["port"])
        self._name = f"gdb:{self._host}:{self._port}"
        self._firmware = firmware
        self._clock = clock
        self._halted_since: float | None = None
        self._breakpoint: _Breakpoint | None = None
        self._waits_for: str | None = None
        self._buffer = b""
        self._packet_bytes = _DEFAULT_PACKET
        try:
            self._socket = socket.create_connection((self._host, self._port), timeout=_TIMEOUT_S)
        except OSError as error:
            raise TargetError(
                f"no gdb server answers at {self._host}:{self._port} ({error.strerror or error})",
                try_this="start it (openocd, JLinkGDBServer, pyocd gdbserver, qemu -s) and give its port",
            ) from error
        # An acknowledgement and the next command are two small packets, which TCP would hold back for 40 ms each.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._halted_since = self._clock.monotonic()
        features = self._ask(b"qSupported:swbreak+;hwbreak+")
        size = re.search(rb"PacketSize=([0-9a-fA-F]+)", features)
        if size is not None:
            self._packet_bytes = min(max(int(size[1], 16), 64), 1 << 16)
        self._halt()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._breakpoint is not None:
                self._stand()
                self._ask(b"z" + self._breakpoint.words)
            self._send(b"D")  # detach: the target runs on
        except TargetError:
            pass
        finally:
            self._socket.close()

    def image(self, number: int) -> Image:
        """Halt, copy registers and writable memory, resume.

        Args:
            number: Of this image in the series, for its name.

        Raises:
            TargetError: The server does not answer, or refuses memory that the ELF says is there.
        """
        self._stand()
        registers = self._registers()
        pieces = [self._copy(first, end) for first, end in self._firmware.writable]
        pieces += self._outer_stacks(registers, [(piece.address, piece.end) for piece in pieces])
        halted_s = self._resume()
        memory = Memory(pieces, order=self._firmware.order, word_bytes=self._firmware.word_bytes)
        size = sum(len(piece.data) for piece in pieces)
        note = f"the target was halted for {halted_s:.2f} s while {format_bytes(size)} were copied"
        return Image(f"{self._name}, image {number}", "gdb", memory, tuple(registers), size, (note,))

    def run_to(self, function: str, *, wait_s: float = STOP_TIMEOUT_S) -> None:
        """Let the target run until it calls `function`, and leave it halted there.

        The breakpoint stays, so that after an image the target runs on to the very next call and waits there.

        Raises:
            UsageError: The ELF has no such function.
            TargetError: The server sets no breakpoint, or the function is not called in `wait_s` seconds.
        """
        if self._breakpoint is None or self._breakpoint.function != function:
            self._stand()
            self._arm(function)
        if self._halted_since is not None:
            self._go()
        self._socket.settimeout(wait_s)
        self._waits_for = f"{function} was not called in {wait_s:g} s"
        self._wait_for_stop()
        self._waits_for = None
        self._socket.settimeout(_TIMEOUT_S)
        self._halted_since = self._clock.monotonic()

    def _arm(self, function: str) -> None:
        address = self._firmware.function(function)
        if address is None:
            raise UsageError(
                f"{self._firmware.name} has no function {function} to stop the target at",
                try_this="the name as the linker has it (`nm`)",
            )
        where = b",%x,%s" % (address, b"2" if self._firmware.image.arch == "arm" else b"4")
        kind = next((kind for kind in (b"1", b"0") if self._ask(b"Z" + kind + where) == b"OK"), None)
        if kind is None:
            raise TargetError(
                f"{self._name} sets no breakpoint at {function} ({format_address(address)})",
                try_this="--every SECONDS instead of --cycle-at",
            )
        self._breakpoint = _Breakpoint(function, address, kind + where)

    def _go(self) -> None:
        """Run on; from a breakpoint by way of one step without it, or it would stop there at once."""
        cpu, at = _CPUS.get(self._firmware.image.arch), self._breakpoint
        if at is not None and cpu is not None:
            registers = self._registers()
            if registers and registers[0].values[cpu.program_counter] & ~1 == at.address:
                self._ask(b"z" + at.words)
                self._send(b"s")
                self._wait_for_stop()
                self._ask(b"Z" + at.words)
        self._send(b"c")
        self._halted_since = None

    def _stand(self) -> None:
        """Halt the target if it runs."""
        if self._halted_since is None:
            self._write(b"\x03")
            self._halted_since = self._clock.monotonic()
            self._wait_for_stop()

    def _halt(self) -> None:
        """Make sure that the target stands: most servers halt it when a client connects."""
        if not self._ask(b"?").startswith((b"S", b"T")):
            self._write(b"\x03")
            self._wait_for_stop()

    def _wait_for_stop(self) -> None:
        while not (packet := self._receive()).startswith((b"S", b"T")):
            if packet.startswith((b"W", b"X")):
                raise TargetError(f"{self._name}: the program ended", try_this="start it again")

    def _resume(self) -> float:
        """Run on, and say for how long it stood."""
        assert self._halted_since is not None, "it was halted before it was read"
        halted = self._clock.monotonic() - self._halted_since
        self._go()
        return halted

    def _registers(self) -> list[Registers]:
        """The general registers of every thread that the server shows; one that shows none has one CPU."""
        cpu = _CPUS.get(self._firmware.image.arch)
        threads = self._threads() or [b""]
        found = []
        for number, thread in enumerate(threads):
            if thread and self._ask(b"Hg" + thread) != b"OK":
                continue
            text = self._ask(b"g")
            if cpu is None or len(text) < 2 * self._firmware.word_bytes or text.startswith(b"E"):
                continue
            width = 2 * self._firmware.word_bytes
            digits = [text[at : at + width] for at in range(0, min(len(text), width * cpu.registers), width)]
            values = tuple(self._number(part) for part in digits if len(part) == width)
            pointer = values[cpu.stack_pointer] if len(values) > cpu.stack_pointer else 0
            found.append(Registers(f"CPU {number}", values, pointer))
        return found

    def _threads(self) -> list[bytes]:
        threads: list[bytes] = []
        reply = self._ask(b"qfThreadInfo")
        while reply.startswith(b"m") and len(threads) < 4_096:
            threads += reply[1:].split(b",")
            reply = self._ask(b"qsThreadInfo")
        return threads

    def _number(self, digits: bytes) -> int:
        """A register as the target's bytes; `x` digits mean that it is not available."""
        try:
            return int.from_bytes(
                bytes.fromhex(digits.decode("ascii")), "little" if self._firmware.order == "<" else "big"
            )
        except ValueError:
            return 0

    def _copy(self, first: int, end: int) -> Piece:
        data = bytearray()
        while first + len(data) < end:
            part = self._memory(first + len(data), end - first - len(data))
            if part is None:
                raise TargetError(
                    f"{self._name} does not give memory at {format_address(first + len(data))}, which "
                    f"{self._firmware.name} uses",
                    try_this="the ELF of the build that runs, on the right core",
                )
            data += part
        return Piece(first, memoryview(data))

    def _memory(self, address: int, count: int) -> bytes | None:
        """Up to `count` bytes, None where the server refuses."""
        count = min(count, (self._packet_bytes - 8) // 2)
        reply = self._ask(b"m%x,%x" % (address, count))
        if reply.startswith(b"E") and len(reply) == 3:
            return None
        try:
            return bytes.fromhex(reply.decode("ascii")) or None
        except ValueError:
            return None

    def _outer_stacks(self, registers: list[Registers], known: list[Interval]) -> list[Piece]:
        """Stacks in no section, as the start-up stack at the end of RAM often is: from the stack pointer up."""
        pieces: list[Piece] = []
        for cpu in registers:
            areas = [*known, *((piece.address, piece.end) for piece in pieces)]
            at = cpu.stack_pointer
            if not at or any(first <= at < end for first, end in areas):
                continue
            stop = min((first for first, _ in areas if first > at), default=at + _STACK_PROBE_BYTES)
            data = bytearray()
            while at + len(data) < min(stop, at + _STACK_PROBE_BYTES):
                part = self._memory(at + len(data), min(_STACK_STEP, stop - at - len(data)))
                if part is None:
                    break
                data += part
            pieces.append(Piece(at, memoryview(data)))
        return pieces

    def _ask(self, command: bytes) -> bytes:
        self._send(command)
        while (reply := self._receive()).startswith(b"O") and reply != b"OK":  # the target's own console output
            continue
        return reply

    def _send(self, command: bytes) -> None:
        self._write(b"$%s#%02x" % (command, sum(command) & 0xFF))

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error) from error

    def _receive(self) -> bytes:
        """The next packet's data; its acknowledgement is sent, run lengths and escapes are undone."""
        for _ in range(_RETRIES):
            while (start := self._buffer.find(b"$")) < 0:
                self._buffer = b""
                self._fill()
            while (end := self._buffer.find(b"#", start)) < 0 or len(self._buffer) < end + 3:
                self._fill()
            data, digits = self._buffer[start + 1 : end], self._buffer[end + 1 : end + 3]
            self._buffer = self._buffer[end + 3 :]
            sound = digits.lower() == b"%02x" % (sum(data) & 0xFF)
            self._write(b"+" if sound else b"-")
            if sound:
                return _expanded(data)
        raise TargetError(f"{self._name}: the connection garbles packets", try_this="another cable or a lower speed")

    def _fill(self) -> None:
        if len(self._buffer) > _REPLY_BYTES:
            raise TargetError(f"{self._name} answers without end", try_this="is it a gdb server?")
        try:
            more = self._socket.recv(1 << 16)
        except TimeoutError:
            if self._waits_for is not None:
                raise TargetError(
                    f"{self._name}: {self._waits_for}", try_this="a workload that leads there, or a longer --wait"
                ) from None
            raise TargetError(
                f"{self._name} does not answer", try_this="is it a gdb server, and does no other debugger hold it?"
            ) from None
        except OSError as error:
            raise self._gone(error) from error
        if not more:
            raise TargetError(f"{self._name} closed the connection", try_this="its own log, and no second client")
        self._buffer += more

    def _gone(self, error: OSError) -> TargetError:
        return TargetError(
            f"{self._name}: the connection was lost ({error.strerror or error})", try_this="start the server again"
        )


def _expanded(data: bytes) -> bytes:
    """Without escapes (`}`: next byte XOR 0x20) and run lengths (`*n`: the byte before, n - 29 times more)."""
    if b"*" not in data and b"}" not in data:
        return data
    out = bytearray()
    at = 0
    while at < len(data):
        byte = data[at]
        if byte == 0x7D and at + 1 < len(data):
            out.append(data[at + 1] ^ 0x20)
            at += 1
        elif byte == 0x2A and at + 1 < len(data) and out:
            out += bytes([out[-1]]) * max(data[at + 1] - 29, 0)
            at += 1
        else:
            out.append(byte)
        at += 1
    return bytes(out)
