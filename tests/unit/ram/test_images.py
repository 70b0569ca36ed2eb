"""Image files of every kind: whole, cut, broken, of the wrong target."""

from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError, FormatError, HeaptrailError, UsageError
from heaptrail.limits import DEFAULT_LIMITS, Limits
from heaptrail.ram.images import read_image
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board

    MakeBoard = Callable[..., Board]

RAM = 0x2000_0000


def ihex(address: int, data: bytes) -> bytes:
    lines = []

    def record(kind: int, at: int, payload: bytes) -> None:
        body = bytes([len(payload)]) + at.to_bytes(2, "big") + bytes([kind]) + payload
        lines.append(b":" + (body + bytes([-sum(body) & 0xFF])).hex().upper().encode())

    for at in range(0, len(data), 16):
        if at % 0x10000 == 0:
            record(4, 0, ((address + at) >> 16).to_bytes(2, "big"))
        record(0, (address + at) & 0xFFFF, data[at : at + 16])
    record(1, 0, b"")
    return b"\r\n".join(lines) + b"\r\n"


def srec(address: int, data: bytes) -> bytes:
    lines = [b"S0030000FC"]
    for at in range(0, len(data), 16):
        body = (address + at).to_bytes(4, "big") + data[at : at + 16]
        body = bytes([len(body) + 1]) + body
        lines.append(b"S3" + (body + bytes([~sum(body) & 0xFF])).hex().upper().encode())
    return b"\n".join([*lines, b"S70500000000FA"]) + b"\n"


def core(
    address: int, data: bytes, *, word: int = 4, machine: int = 40, registers: tuple[int, ...] = (), kind: int = 4
) -> bytes:
    """An ELF core with one PT_LOAD and one NT_PRSTATUS for each CPU."""
    wide = word == 8
    note = b""
    if registers:
        body = bytes(112 if wide else 72) + struct.pack("<" + ("Q" if wide else "I") * len(registers), *registers)
        note = struct.pack("<III", 5, len(body), 1) + b"CORE\0\0\0\0" + body
    head, entry = (64, 56) if wide else (52, 32)
    note_at = head + 2 * entry
    data_at = note_at + len(note)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH", kind, machine, 1, 0, head, 0, 0, head, entry, 2, 0, 0, 0
    )
    if wide:
        table = struct.pack("<IIQQQQQQ", 4, 0, note_at, 0, 0, len(note), 0, 4)
        table += struct.pack("<IIQQQQQQ", 1, 6, data_at, address, address, len(data), len(data), 1)
    else:
        table = struct.pack("<IIIIIIII", 4, note_at, 0, 0, len(note), 0, 0, 4)
        table += struct.pack("<IIIIIIII", 1, data_at, address, address, len(data), len(data), 6, 1)
    return header + table + note + data


@pytest.fixture
def board(make_board: MakeBoard) -> Board:
    board = make_board(size=0x400)
    board.ram[:] = random.Random(1).randbytes(0x400)
    return board


def test_every_format_holds_the_same_memory(board: Board, tmp_path: Path) -> None:
    firmware, ram = board.firmware(), bytes(board.ram)
    files = {
        "raw": (ram, f"{tmp_path / 'raw'}@0x{RAM:x}"),
        "ihex": (ihex(RAM, ram), str(tmp_path / "ihex")),
        "srec": (srec(RAM, ram), str(tmp_path / "srec")),
        "core": (core(RAM, ram, registers=tuple(range(18))), str(tmp_path / "core")),
    }
    for kind, (content, spec) in files.items():
        (tmp_path / kind).write_bytes(content)
        image = read_image(spec, firmware, DEFAULT_LIMITS)
        assert image.kind == kind
        assert image.memory.read(RAM, 0x400) == ram
        assert image.memory.read(RAM + 0x3FC, 8) is None
        assert image.bytes_read == len(content)
    assert image.registers[0].stack_pointer == 13


def test_parts_of_one_moment_are_joined(board: Board, tmp_path: Path) -> None:
    low, high = tmp_path / "low.bin", tmp_path / "high.bin"
    low.write_bytes(bytes(board.ram[:0x100]))
    high.write_bytes(bytes(board.ram[0x100:]))

    image = read_image(f"{high}@{RAM + 0x100:#x},{low}", board.firmware(), DEFAULT_LIMITS, base=RAM)

    assert image.memory.read(RAM + 0xF0, 0x20) == bytes(board.ram[0xF0:0x110])
    assert image.name == "high.bin@0x20000100,low.bin"


def test_parts_that_overlap_are_refused(board: Board) -> None:
    raw = board.raw()

    with pytest.raises(FormatError, match="two parts of the image overlap"):
        read_image(f"{raw}@0x20000000,{raw}@0x20000100", board.firmware(), DEFAULT_LIMITS)


def test_raw_bytes_without_a_base_say_where_ram_is(board: Board) -> None:
    with pytest.raises(UsageError, match="at which address they begin") as asked:
        read_image(str(board.raw()), board.firmware(), DEFAULT_LIMITS)

    assert "0x20000000" in asked.value.try_this


@pytest.mark.parametrize("spec", ["missing.bin", "", ".", "a.bin,b.bin", "missing@0x10"])
def test_what_is_no_file_is_said(board: Board, spec: str) -> None:
    with pytest.raises(UsageError):
        read_image(spec, board.firmware(), DEFAULT_LIMITS, base=0)


def test_a_base_beyond_the_address_space_is_refused(board: Board) -> None:
    with pytest.raises(UsageError, match="do not fit behind"):
        read_image(str(board.raw()), board.firmware(), DEFAULT_LIMITS, base=0xFFFF_FFF0)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (ihex(RAM, bytes(64))[:-15], "cut off: its end record"),
        (ihex(RAM, bytes(64)).replace(b":10", b":11", 2), "line 2: no record"),
        (ihex(RAM, bytes(64)).replace(b"0000000000", b"0000000001", 1), "checksum|no record"),
        (ihex(RAM, bytes(64)).replace(b"\r\n:10", b"\r\n:1G", 1), "no hexadecimal digits"),
        (srec(RAM, bytes(64))[:-16], "cut off: its end record"),
        (srec(RAM, bytes(64)).replace(b"S315", b"S316", 1), "line 2: no S-record"),
        (core(RAM, bytes(64))[:-1], "cut off: a loaded segment"),
        (core(RAM, bytes(64))[:40], "cut off"),
        (core(RAM, bytes(64), kind=2), "an ELF program, not a core file"),
        (core(RAM, b""), "holds no memory"),
    ],
)
def test_cut_and_broken_files_say_where(board: Board, tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)

    with pytest.raises(FormatError, match=match):
        read_image(str(path), board.firmware(), DEFAULT_LIMITS, base=RAM)


def test_a_cut_core_or_a_missing_file_is_not_told_of_as_the_programs_elf(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core(RAM, bytes(64))[:40])

    with pytest.raises(FormatError) as cut:
        read_image(str(path), board.firmware(), DEFAULT_LIMITS)
    with pytest.raises(UsageError, match="no such file"):
        read_image(str(tmp_path / "nothing"), board.firmware(), DEFAULT_LIMITS)

    assert cut.value.try_this == "the core file as it was written, copied whole"


def test_a_core_of_another_cpu_is_refused(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core(RAM, bytes(64), word=8, machine=62))

    with pytest.raises(EvidenceError, match="64-bit CPU"):
        read_image(str(path), board.firmware(), DEFAULT_LIMITS)


def test_a_file_over_the_limit_is_refused(board: Board) -> None:
    with pytest.raises(FormatError, match="the limit is 100 B"):
        read_image(str(board.raw()), board.firmware(), Limits(elf_section_bytes=100), base=RAM)


@pytest.mark.parametrize("seed", range(30))
def test_mangled_files_end_in_an_image_or_one_sentence(board: Board, tmp_path: Path, seed: int) -> None:
    chooser = random.Random(seed)
    ram = bytes(board.ram)
    content = bytearray(chooser.choice([ihex(RAM, ram), srec(RAM, ram), core(RAM, ram, registers=(1,) * 18)]))
    for _ in range(chooser.randrange(1, 8)):
        content[chooser.randrange(len(content))] = chooser.randrange(256)
    del content[chooser.randrange(len(content) // 2, len(content) + 1) :]
    path = tmp_path / "image"
    path.write_bytes(content)

    try:
        pieces = len(read_image(str(path), board.firmware(), DEFAULT_LIMITS, base=RAM).memory.pieces)
    except HeaptrailError as error:
        pieces = len(error.sentence)

    assert pieces > 0


def test_64_mb_of_random_bytes_are_refused_in_bounded_time(make_board: MakeBoard, tmp_path: Path) -> None:
    board = make_board()
    for name, words in (("xStart", 2), ("pxEnd", 1), ("ucHeap", 64)):
        board.variable(name, words=words)
    path = tmp_path / "noise.bin"
    path.write_bytes(random.Random(2).randbytes(1 << 20) * 64)
    started = time.process_time()

    with pytest.raises(EvidenceError, match="do not belong together"):
        survey(read_image(str(path), board.firmware(), DEFAULT_LIMITS, base=RAM), board.firmware(), Question())

    assert time.process_time() - started < 3
