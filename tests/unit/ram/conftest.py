"""A target made of bytes: variables at addresses, an ELF that names them, and heaps written block by block."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.firmware import Firmware
from heaptrail.ram.images import Image
from heaptrail.ram.memory import Memory, Piece, Registers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = 0x0800_0000
RAM = 0x2000_0000


class Board:
    """RAM from `RAM` on with variables in it; `word` is 4 or 8, `order` as struct writes it."""

    def __init__(self, folder: Path, *, word: int = 4, order: str = "<", size: int = 0x8000, machine: int = 0) -> None:
        self.folder, self.word, self.order = folder, word, order
        self.ram = bytearray(size)
        self.machine = machine or (243 if word == 8 else 40)  # RISC-V, Arm
        self.symbols: dict[str, tuple[int, int]] = {}
        self.functions: dict[str, int] = {"main": TEXT}
        self.constants = bytes(64)
        self._next = RAM

    def variable(self, name: str, value: int = 0, *, words: int = 1, size: int | None = None) -> int:
        """The next variable; its first word is `value`."""
        address = -(-self._next // 16) * 16
        size = words * self.word if size is None else size
        self._next = address + size
        self.symbols[name] = (address, size)
        self.poke(address, value)
        return address

    def poke(self, address: int, *values: int) -> None:
        """Words at an address."""
        kind = self.order + ("Q" if self.word == 8 else "I") * len(values)
        struct.pack_into(kind, self.ram, address - RAM, *values)

    def elf(self, name: str = "firmware.elf") -> Path:
        """An ELF with these symbols: .text, .bss over all the RAM, .symtab, .strtab."""
        path = self.folder / name
        path.write_bytes(elf_bytes(self))
        return path

    def firmware(self) -> Firmware:
        return Firmware(self.elf(), DEFAULT_LIMITS)

    def image(self, *, registers: tuple[Registers, ...] = (), first: int = RAM, end: int | None = None) -> Image:
        """The RAM, or part of it."""
        data = memoryview(bytes(self.ram))[first - RAM : None if end is None else end - RAM]
        memory = Memory([Piece(first, data)], order=self.order, word_bytes=self.word)
        return Image("board.bin", "raw", memory, registers, len(data))

    def raw(self, name: str = "board.bin") -> Path:
        path = self.folder / name
        path.write_bytes(bytes(self.ram))
        return path


class Heap4Writer:
    """A heap_4 heap of a board: `alloc` in address order, `free`, then `finish` writes headers and the free list."""

    def __init__(
        self, board: Board, size: int, *, align: int = 8, canary: int = 0, array: str | None = "ucHeap"
    ) -> None:
        self.board, self.canary = board, canary
        self.start = board.variable("xStart", words=2)
        self.end_pointer = board.variable("pxEnd")
        self.free_total = board.variable("xFreeBytesRemaining")
        if canary:
            board.variable("xHeapCanary", canary)
        self.array = board.variable(array or "region", size=size)
        if array is None:
            del board.symbols["region"]
        self.header = -(-2 * board.word // align) * align
        self.align = align
        self.first = -(-self.array // align) * align
        self.end = (self.array + size - self.header) // align * align
        self.blocks: list[tuple[int, int]] = []  # address of the header, size
        self.freed: set[int] = set()
        self.unlisted: set[int] = set()
        self._at = self.first

    def alloc(self, count: int, *words: int) -> int:
        """A block for `count` bytes that begins with `words`; gives the payload's address."""
        size = -(-(count + self.header) // self.align) * self.align
        at = self._at
        self.blocks.append((at, size))
        self._at += size
        if words:
            self.board.poke(at + self.header, *words)
        return at + self.header

    def free(self, payload: int) -> None:
        self.freed.add(payload - self.header)

    def finish(self) -> None:
        """Write it all; what lies behind the last block is one free block."""
        bit = 1 << (8 * self.board.word - 1)
        free = []
        for at, size in self.blocks:
            if at in self.freed:
                free.append((at, size))
            else:
                self.board.poke(at, self.canary, size | bit)
        free.append((self._at, self.end - self._at))
        listed = [(at, size) for at, size in free if at not in self.unlisted]
        for at, size in free:
            self.board.poke(at, self.canary, size)
        chain = [self.start, *(at for at, _ in listed)]
        for at, following in zip(chain, [*chain[1:], self.end], strict=True):
            self.board.poke(at, following ^ self.canary)
        self.board.poke(self.end, self.canary, 0)
        self.board.poke(self.end_pointer, self.end)
        self.board.poke(self.free_total, sum(size for _, size in free))


class Program:
    """A C program of variables, compiled for its symbols and its DWARF; its memory is written from outside.

    Args:
        folder: Where to compile.
        source: C; it needs no `main`.
        word: 8 for this machine's compiler, 4 for Arm's.
        file: Base name of the source, as a reader of DWARF looks for it.
    """

    def __init__(self, folder: Path, source: str, *, word: int = 8, file: str = "program.c") -> None:
        compiler = (
            ("gcc", "-no-pie", "-fno-pie", "-nostartfiles") if word == 8 else ("arm-none-eabi-gcc", "-mcpu=cortex-m3")
        )
        if shutil.which(compiler[0]) is None:
            text = f"needs {compiler[0]} (apt-get install gcc-arm-none-eabi)"
            if os.environ.get("HEAPTRAIL_NO_SKIP"):
                pytest.fail(text)
            pytest.skip(text)
        path, elf = folder / file, folder / "program.elf"
        path.write_text(source + "int main(void) { return 0; }\n")
        options = ("-g", "-O0", "-fno-common", "-nostdlib", "-Wl,-e,main", "-Wl,-z,norelro", "-Wl,-Tbss=0x20000000")
        done = subprocess.run([*compiler, *options, path, "-o", elf], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.firmware = Firmware(elf, DEFAULT_LIMITS)
        self.word, self.order = word, "<"
        self.first = 0x2000_0000
        self.ram = bytearray(self.firmware.writable[-1][1] - self.first)

    def at(self, name: str) -> int:
        """A variable's address."""
        symbol = self.firmware.variable(name)
        assert symbol is not None, name
        return symbol.address

    def poke(self, address: int, *values: int, size: int | None = None) -> None:
        """Numbers of `size` bytes, a word by default, at an address."""
        size = self.word if size is None else size
        for index, value in enumerate(values):
            at = address - self.first + index * size
            assert 0 <= at <= len(self.ram) - size, "outside of the program's memory, which is all in .bss"
            self.ram[at : at + size] = value.to_bytes(size, "little")

    def image(self, *, registers: tuple[Registers, ...] = (), end: int | None = None) -> Image:
        """The memory; what the linker added below it is zeros."""
        data = memoryview(bytes(self.ram))[: None if end is None else end - self.first]
        linked = [
            Piece(first, memoryview(bytes(end - first))) for first, end in self.firmware.writable if first < self.first
        ]
        memory = Memory([*linked, Piece(self.first, data)], order=self.order, word_bytes=self.word)
        return Image("program.bin", "raw", memory, registers, len(data))


def elf_bytes(board: Board) -> bytes:
    """A linked ELF, written from the System V ABI."""
    wide = board.word == 8
    order = board.order
    text = bytes(range(256)) * 2
    names = b"\0"
    rows = [struct.pack(order + ("IBBHQQ" if wide else "IIIBBH"), *([0] * 6))]
    entries = [(name, *place, 1, 2) for name, place in board.symbols.items()]
    entries += [(name, address, 4, 2, 1) for name, address in board.functions.items()]
    for name, address, size, kind, section in entries:
        at = len(names)
        names += name.encode() + b"\0"
        info = 0x10 | kind
        row = (at, info, 0, section, address, size) if wide else (at, address, size, info, 0, section)
        rows.append(struct.pack(order + ("IBBHQQ" if wide else "IIIBBH"), *row))
    symbols = b"".join(rows)
    head = 64 if wide else 52
    section_names = b"\0.text\0.bss\0.symtab\0.strtab\0.shstrtab\0"
    parts = [text, symbols, names, section_names]
    offsets = [head]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    sections = [
        (0, 0, 0, 0, 0, 0, 0),
        (1, 1, 0x6, TEXT, offsets[0], len(text), 0),
        (7, 8, 0x3, RAM, offsets[0], len(board.ram), 0),
        (12, 2, 0, 0, offsets[1], len(symbols), 4),
        (20, 3, 0, 0, offsets[2], len(names), 0),
        (28, 3, 0, 0, offsets[3], len(section_names), 0),
    ]
    table = b"".join(
        struct.pack(order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"), *section, 0, 4, len(rows[0]))
        for section in sections
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    fields = (2, board.machine, 1, TEXT, 0, offsets[4], 0, head, 0, 0, 64 if wide else 40, len(sections), 5)
    header = ident + struct.pack(order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"), *fields)
    return header + b"".join(parts) + table


@pytest.fixture
def make_board(tmp_path: Path) -> Callable[..., Board]:
    def make(**options: int | str) -> Board:
        return Board(tmp_path, **options)  # type: ignore[arg-type]  # a test gives what the class takes

    return make


@pytest.fixture
def make_heap() -> Callable[..., Heap4Writer]:
    return Heap4Writer


@pytest.fixture
def make_program(tmp_path: Path) -> Callable[..., Program]:
    def make(source: str, **options: int | str) -> Program:
        return Program(tmp_path, source, **options)  # type: ignore[arg-type]  # a test gives what the class takes

    return make
