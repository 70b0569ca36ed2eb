"""Fuzz target: a RAM image with any bytes in it, its heap walked and its blocks searched for; and any image file."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz.harness import fuzz, patched
from unit.ram.conftest import RAM, Board, Heap4Writer

from heaptrail.errors import HeaptrailError
from heaptrail.limits import DEFAULT_LIMITS
from heaptrail.ram.images import Image, read_image
from heaptrail.ram.memory import Memory, Piece
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from heaptrail.ram.firmware import Firmware


@cache
def board() -> tuple[Firmware, bytes, Path]:
    folder = Path(tempfile.mkdtemp(prefix="heaptrail-fuzz-"))
    made = Board(folder)
    heap = Heap4Writer(made, 0x1000)
    blocks = [heap.alloc(size) for size in (24, 100, 8, 300, 64)]
    heap.free(blocks[1])
    heap.finish()
    made.variable("kept", blocks[0])
    made.poke(blocks[0], blocks[2])
    return made.firmware(), bytes(made.ram), folder


def ram_any(data: bytes) -> None:
    """Raises what is no HeaptrailError where something breaks."""
    firmware, ram, folder = board()
    memory = Memory([Piece(RAM, memoryview(patched(ram, data)))], order="<", word_bytes=4)
    try:
        found = survey(Image("any.bin", "raw", memory, (), len(ram)), firmware, Question())
        assert len(found.reach.states) <= len(ram) // 8
    except HeaptrailError:
        pass
    path = folder / "any.img"
    for start in (b"", b"\x7fELF", b":", b"S1"):
        path.write_bytes(start + data)
        try:
            read_image(str(path), firmware, DEFAULT_LIMITS, base=RAM)
        except HeaptrailError:
            continue


if __name__ == "__main__":
    fuzz(ram_any)
