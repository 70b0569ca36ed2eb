"""`heaptrail ram` as a user calls it: what a workload file tells it, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit.ram.conftest import Board, Heap4Writer

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Heaptrail


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Three lost blocks, one that a packed struct holds, and one that only a tracer's table points to."""
    made = Board(tmp_path)
    heap = Heap4Writer(made, 0x400)
    packed, traced = heap.alloc(56), heap.alloc(56)
    for _ in range(3):
        heap.alloc(24)
    hidden = heap.alloc(104)
    heap.finish()
    message = made.variable("message", words=4)
    made.ram[message + 1 - 0x2000_0000 : message + 5 - 0x2000_0000] = packed.to_bytes(4, "little")
    made.variable("trace_table", traced)
    made.elf()
    made.raw()
    (tmp_path / "heaptrail.toml").write_text(
        '[target]\nelf = "firmware.elf"\n[ram]\nroots = ["message"]\nexclude = ["trace_*"]\n'
        f'keep = ["{hidden:#x}"]\nheap = "ucHeap"\n'
    )
    return made


def test_the_ram_table_of_a_workload_file_is_used(board: Board, heaptrail: Heaptrail) -> None:
    del board

    done = heaptrail("ram", "board.bin@0x20000000", "--workload", "heaptrail.toml", "--list", "unreachable")

    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "4 blocks, 160 B", "the traced one and the three lost ones"


def test_the_command_line_adds_to_the_file(board: Board, heaptrail: Heaptrail) -> None:
    more = ("--keep", f"{board.symbols['ucHeap'][0] + 8 + 64:#x}")

    done = heaptrail("ram", "board.bin@0x20000000", "--workload", "heaptrail.toml", *more, "--list", "unreachable")

    assert done.stdout.splitlines()[-1] == "3 blocks, 96 B"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("board.bin@0x20000000",), "no ELF is named"),
        (("--elf", "firmware.elf"), "no image is named"),
        (("board.bin", "--elf", "firmware.elf"), "nothing says at which address"),
        (("board.bin@0x20000000", "--elf", "firmware.elf", "--root", "mesage"), "--root mesage"),
        (("board.bin@0x20000000", "--elf", "firmware.elf", "--keep", "here"), "--keep here: this is no address"),
        (("gdb:1", "--elf", "firmware.elf", "--at-failure", "auto", "--watch", "3"), "--at-failure takes one image"),
        (("gdb:1", "--elf", "firmware.elf", "--at-failure", "oom"), "has no function oom"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    board: Board, heaptrail: Heaptrail, arguments: tuple[str, ...], sentence: str
) -> None:
    del board

    done = heaptrail("ram", *arguments)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert "try: " in done.stderr
    assert "Traceback" not in done.stderr
