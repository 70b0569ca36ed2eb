"""A device that records with SystemView, and the three kinds of files that OpenOCD makes of what it sends."""

from __future__ import annotations

from typing import NamedTuple

VERSION = "; Version     SEGGER SystemViewer V3.60\n; Author      Espressif Inc\n"
TO_ALL_CORES = {1, 6, 9, 10, 11, 12, 13, 14, 21, 22, 24, 27}
HZ = 1_000_000


class Sent(NamedTuple):
    core: int
    id: int
    payload: bytes
    ticks: int


def number(value: int) -> bytes:
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*coded, value])


def string(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data if len(data) < 255 else b"\xff" + len(data).to_bytes(2, "little") + data


def packet(sent: Sent, delta: int, *, mark_core: bool) -> bytes:
    bit = 0x40 if mark_core and sent.core else 0
    head = bytes([sent.id | bit]) if sent.id < 0x40 else bytes([sent.id & 0x7F | 0x80, sent.id >> 7 | bit])
    length = b""
    if sent.id >= 24:
        size = len(sent.payload)
        length = bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
    return head + length + sent.payload + number(delta)


class Device:
    """What firmware on two cores sends; `ticks` is the clock of the next event, in microseconds."""

    def __init__(self, *, described: bool = True) -> None:
        self.sent: list[Sent] = []
        self.ticks = 5000
        if described:
            self.start()

    def send(self, core: int, event: int, *values: int | str) -> None:
        payload = b"".join(string(value) if isinstance(value, str) else number(value) for value in values)
        self.sent.append(Sent(core, event, payload, self.ticks))

    def start(self) -> None:
        self.send(0, 10)
        self.send(0, 24, HZ, 160 * HZ, 0x3F40_0000, 0)
        self.send(0, 14, "N=An application,D=esp32,O=FreeRTOS")
        self.send(0, 14, "I#15=Systick,I#27=timer")
        self.send(0, 22, 0, 512, "M=ESP32 SystemView Heap Tracing Module")

    def task(self, tid: int, name: str) -> None:
        self.send(0, 9, tid, 5, name)
        self.send(0, 21, tid, 0x3FFB_0000, 2048, 0)

    def runs(self, core: int, tid: int) -> None:
        self.send(core, 4, tid)

    def leaves(self, core: int, tid: int) -> None:
        self.send(core, 7, tid, 4)

    def alloc(self, core: int, address: int, size: int, *callers: int) -> None:
        self.send(core, 512, address, size, *callers, *[0] * (8 - len(callers)))

    def free(self, core: int, address: int, *callers: int) -> None:
        self.send(core, 513, address, *callers, *[0] * (8 - len(callers)))

    def says(self, core: int, text: str) -> None:
        self.send(core, 26, text, 0, 0)

    def wait(self, ticks: int) -> None:
        self.ticks += ticks

    def one_file(self) -> bytes:
        """`esp sysview_mcore` of OpenOCD: all cores on one clock, told apart by a bit."""
        return f";\n{VERSION}; ESP_Extension\n;\n".encode() + self._body(None)

    def files(self) -> tuple[bytes, bytes]:
        """`esp sysview`: a file for each core; what describes the system is in both."""
        head = f";\n{VERSION};\n".encode()
        return head + self._body(0), head + self._body(1)

    def one_file_of_parts(self) -> bytes:
        """The newer multi-core file: the cores' parts one behind the other, with their places in the header."""
        parts = self._body(0), self._body(1)
        offsets = f"; Offset Core0 0\n; Offset Core1 {len(parts[0])}\n"
        return f";\n{VERSION}{offsets};\n".encode() + b"".join(parts)

    def _body(self, core: int | None) -> bytes:
        body, before = bytearray(10), 0
        for sent in self.sent:
            if core is not None and sent.core != core and sent.id not in TO_ALL_CORES:
                continue
            body += packet(sent, sent.ticks - before, mark_core=core is None)
            before = sent.ticks
        return bytes(body)


MAIN, WORKER, FREER = 0x1000, 0x2000, 0x3000


def leaking(rounds: int, *, said: str | None = None) -> Device:
    """A worker on core 0 that keeps one of its two blocks a round; a task on core 1 frees the other."""
    device = Device()
    for tid, name in ((MAIN, "main"), (WORKER, "worker"), (FREER, "freer")):
        device.task(tid, name)
    device.runs(0, MAIN)
    for number_of in range(3):
        device.wait(20)
        device.alloc(0, 0x3FFB_0000 + 4096 * number_of, 2500, 0x400D_1000, 0x400D_2000)
    device.runs(0, WORKER)
    device.runs(1, FREER)
    for turn in range(rounds):
        device.wait(1000)
        device.alloc(0, 0x3FFC_0000 + 64 * turn, 40, 0x400D_3000, 0x400D_4000)
        device.alloc(0, 0x3FFE_0000, 80, 0x400D_3008, 0x400D_4000)
        device.wait(7)
        device.free(1, 0x3FFE_0000, 0x400D_5000)
        if said is not None:
            device.says(0, said.format(turn + 1))
    return device
