"""Programs that know their own answers: each is compiled here and prints its own addresses and lines."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

from heaptrail.model.observations import RawFrame
from heaptrail.symbols.elf import open_image

if TYPE_CHECKING:
    from pathlib import Path

# `tell` prints where it was called from: the name, the line, and the return address relative to the start of the image.
PLAYER = r"""
#include <stdio.h>
#include <stdlib.h>

extern char __executable_start;

__attribute__((noinline, noclone)) void tell(const char *name, int line)
{
    printf("%s %d %#lx\n", name, line, (unsigned long)((char *)__builtin_return_address(0) - &__executable_start));
}

static inline __attribute__((always_inline)) void softvol_apply(void)
{
    tell("softvol_apply", __LINE__);
}

static inline __attribute__((always_inline)) void softvol_update(void)
{
    softvol_apply();
}

__attribute__((noinline, noclone)) int AudioTrackStart(int round)
{
    tell("AudioTrackStart", __LINE__);
    softvol_update();
    return round + 1;
}

int main(void)
{
    tell("main", __LINE__);
    int rounds = AudioTrackStart(1);
    printf("end %d 0x0\n", rounds);
    return 0;
}
"""


@pytest.fixture
def player_source() -> str:
    return PLAYER


class Compile(Protocol):
    def __call__(self, source: str, *flags: str, suffix: str = ".c", output: str = "program") -> Path: ...


@pytest.fixture
def compile_program(tmp_path: Path) -> Compile:
    """A C compiler: source in, ELF out."""

    def compile_(source: str, *flags: str, suffix: str = ".c", output: str = "program") -> Path:
        file = tmp_path / f"{output}{suffix}"
        file.write_text(source)
        elf = tmp_path / output
        driver = "g++" if suffix == ".cc" else "gcc"
        subprocess.run([driver, *flags, file, "-o", elf], check=True, capture_output=True, cwd=tmp_path)
        return elf

    return compile_


@pytest.fixture(scope="session")
def optimized_player(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The player at -O2 -g, shared: nothing changes it."""
    folder = tmp_path_factory.mktemp("player")
    source = folder / "player.c"
    source.write_text(PLAYER)
    elf = folder / "player"
    subprocess.run(["gcc", "-O2", "-g", "-no-pie", source, "-o", elf], check=True, capture_output=True)
    return elf


class Told(Protocol):
    def __call__(self, elf: Path) -> dict[str, tuple[int, RawFrame]]: ...


@pytest.fixture
def told() -> Told:
    """Runs a player: name -> (line, return address as linked)."""

    def run(elf: Path) -> dict[str, tuple[int, RawFrame]]:
        start = open_image(elf).load_address
        printed = subprocess.run([elf], check=True, capture_output=True, text=True).stdout
        rows = [line.split() for line in printed.splitlines()]
        return {name: (int(line), RawFrame(start + int(offset, 16), "return")) for name, line, offset in rows}

    return run


class TinyElf(Protocol):
    def __call__(
        self,
        machine: int,
        code: bytes,
        *,
        bits: int = 32,
        address: int = 0x0800_0000,
        symbols: tuple[tuple[str, int, int], ...] = (),
        order: str = "<",
    ) -> Path: ...


@pytest.fixture
def tiny_elf(tmp_path: Path) -> TinyElf:
    """A firmware of one .text section for a CPU without a compiler here; symbols are (name, value, size)."""

    def build(
        machine: int,
        code: bytes,
        *,
        bits: int = 32,
        address: int = 0x0800_0000,
        symbols: tuple[tuple[str, int, int], ...] = (),
        order: str = "<",
    ) -> Path:
        wide = bits == 64
        names, table = b"\0", bytes(24 if wide else 16)
        for name, value, size in symbols:
            if wide:
                table += struct.pack(order + "IBBHQQ", len(names), 0x12, 0, 1, value, size)
            else:
                table += struct.pack(order + "IIIBBH", len(names), value, size, 0x12, 0, 1)
            names += name.encode() + b"\0"
        section_names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
        header_size, segment_size = (64, 56) if wide else (52, 32)
        bodies = (code, table, names, section_names)
        offsets = []
        at = header_size + segment_size
        for body in bodies:
            offsets.append(at)
            at += -(-len(body) // 8) * 8
        section = struct.Struct(order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"))
        rows = [
            (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            (1, 1, 6, address, offsets[0], len(code), 0, 0, 4, 0),
            (7, 2, 0, 0, offsets[1], len(table), 3, 1, 4, 24 if wide else 16),
            (15, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0),
            (23, 3, 0, 0, offsets[3], len(section_names), 0, 0, 1, 0),
        ]
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
        head = struct.pack(
            order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
            *(2, machine, 1, address, header_size, at, 0, header_size, segment_size, 1, section.size, len(rows), 4),
        )
        if wide:
            segment = struct.pack(order + "IIQQQQQQ", 1, 5, offsets[0], address, address, len(code), len(code), 4)
        else:
            segment = struct.pack(order + "IIIIIIII", 1, offsets[0], address, address, len(code), len(code), 5, 4)
        data = ident + head + segment
        for offset, body in zip(offsets, bodies, strict=True):
            data = data.ljust(offset, b"\0") + body
        data = data.ljust(at, b"\0") + b"".join(section.pack(*row) for row in rows)
        path = tmp_path / "tiny.elf"
        path.write_bytes(data)
        return path

    return build
