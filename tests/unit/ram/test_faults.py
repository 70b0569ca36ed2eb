"""Every layout under every fault: damage anywhere, noise, zeros, wrong bases, cuts. Each ends and says what it saw."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from heaptrail.errors import EvidenceError, HeaptrailError
from heaptrail.ram.heaps import Corruption
from heaptrail.ram.memory import Memory, Piece
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Heap4Writer, Program

    from heaptrail.ram.firmware import Firmware
    from heaptrail.ram.images import Image
    from heaptrail.ram.survey import Survey

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]
    MakeProgram = Callable[..., Program]

LAYOUTS = ["heap_1", "heap_2", "heap_4", "heap_5", "tlsf", "zephyr", "nuttx", "esp_idf"]
SEEDS = range(12)


class Sample:
    """A sound heap of one layout in the memory of a board or a program."""

    def __init__(self, target: Board | Program) -> None:
        self.target = target
        self.firmware: Firmware = target.firmware if not callable(target.firmware) else target.firmware()

    def image(self, ram: bytes | None = None, *, shift: int = 0) -> Image:
        """The memory, or other bytes in its place, or the same at a wrong base."""
        image = self.target.image()
        first = image.memory.pieces[-1].address
        data = memoryview(bytes(self.target.ram) if ram is None else ram)
        pieces = [*image.memory.pieces[:-1], Piece(first + shift, data)]
        memory = Memory(pieces, order=image.memory.order, word_bytes=image.memory.word_bytes)
        return type(image)(image.name, "raw", memory, (), len(data))

    def survey(self, ram: bytes | None = None, *, shift: int = 0) -> Survey:
        return survey(self.image(ram, shift=shift), self.firmware, Question())

    def outcome(self, ram: bytes | None = None, *, shift: int = 0) -> Survey | HeaptrailError:
        """The survey, or the sentence that refuses the image."""
        try:
            return self.survey(ram, shift=shift)
        except HeaptrailError as refused:
            return refused


@pytest.fixture(params=LAYOUTS)
def sample(
    request: pytest.FixtureRequest, make_board: MakeBoard, make_heap: MakeHeap, make_program: MakeProgram
) -> Sample:
    name: str = request.param
    if name == "nuttx":
        from unit.ram.test_nuttx import NEW, MmHeap

        program = make_program(NEW.source(), file="mm_malloc.c")
        mm = MmHeap(program, NEW)
        blocks = [mm.alloc(20 * number) for number in range(1, 12)]
        mm.free(blocks[4])
        mm.finish()
        return Sample(program)
    if name == "esp_idf":
        from unit.ram.test_tlsf import esp, link

        program, one, two = esp(make_program, 8)
        blocks = [one.alloc(20 * number) for number in range(1, 12)]
        one.free(blocks[4])
        for heap in (one, two):
            link(program, heap.control, heap.table, heap.finish())
        return Sample(program)
    board = make_board()
    if name in ("heap_4", "heap_5"):
        heap_4 = make_heap(board, 0x1000, array="ucHeap" if name == "heap_4" else None)
        blocks = [heap_4.alloc(20 * number) for number in range(1, 12)]
        heap_4.free(blocks[4])
        heap_4.finish()
        if name == "heap_5":
            board.poke(board.variable("xHeapRegions", words=4), heap_4.array, 0x1000, 0, 0)
    elif name == "tlsf":
        from unit.ram.test_tlsf import CONTROL_BYTES, link, stock

        pool, control = stock(board)
        blocks = [pool.alloc(20 * number) for number in range(1, 12)]
        pool.free(blocks[4])
        link(board, control, control + CONTROL_BYTES[4] - 256, pool.finish())
    elif name == "zephyr":
        from unit.ram.test_zephyr import zephyr

        chunks = zephyr(board, field=2)
        blocks = [chunks.alloc(20 * number) for number in range(1, 12)]
        chunks.free(blocks[4])
        chunks.finish()
    elif name == "heap_1":
        board.variable("ucHeap", size=0x1000)
        board.variable("xNextFreeByte", 0x400)
    else:
        start, end = board.variable("xStart", words=2), board.variable("xEnd", words=2)
        array = board.variable("ucHeap", size=0x100)
        board.poke(end, 0, 0x100)
        for at, following, size in ((0, 0, 0x8000_0020), (0x20, end, 0xE0)):
            board.poke(array + at, following, size)
        board.poke(start, array + 0x20)
    return Sample(board)


def check(found: Survey | HeaptrailError) -> None:
    """What holds whatever was walked: blocks in order inside the heap, corruption that says where; or a sentence."""
    if isinstance(found, HeaptrailError):
        assert found.sentence
        assert found.try_this
        return
    end = 0
    for block in found.heap.live:
        assert any(first <= block.address and block.end <= last for first, last in found.heap.place.arenas)
        assert block.address >= end - block.shared_bytes
        end = block.end
    for item in found.heap.corrupt:
        assert isinstance(item, Corruption)
        assert item.text
    lost = sum(last - first for first, last in found.heap.untrusted)
    assert lost <= sum(last - first for first, last in found.heap.place.arenas)


def test_a_sound_heap_has_no_fault(sample: Sample) -> None:
    found = sample.survey()

    check(found)
    assert found.heap.corrupt == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_anywhere_ends_in_a_walk_or_a_sentence(sample: Sample, seed: int) -> None:
    chooser = random.Random(seed)
    damaged = bytearray(sample.target.ram)
    for _ in range(1 + seed * 4):
        at = chooser.randrange(len(damaged) - 8)
        damaged[at : at + 8] = chooser.choice([bytes(8), b"\xff" * 8, chooser.randbytes(8)])

    check(sample.outcome(bytes(damaged)))


@pytest.mark.parametrize("seed", range(3))
def test_noise_in_place_of_memory_ends(sample: Sample, seed: int) -> None:
    noise = random.Random(seed).randbytes(len(sample.target.ram))

    check(sample.outcome(noise))


def test_a_memory_of_zeros_is_refused(sample: Sample) -> None:
    with pytest.raises(EvidenceError):
        sample.survey(bytes(len(sample.target.ram)))


@pytest.mark.parametrize("shift", [-0x100, 0x10, 0x40_0000])
def test_a_wrong_base_gives_no_sound_looking_heap(sample: Sample, shift: int) -> None:
    """Either refused, or so corrupt or incomplete that nothing is accused."""
    found = sample.outcome(shift=shift)

    check(found)
    assert isinstance(found, HeaptrailError) or found.heap.corrupt or not found.conclusive or not found.heap.live


def test_an_image_cut_anywhere_accuses_nobody_by_mistake(sample: Sample) -> None:
    whole = sample.survey()
    sound = {block.address for block in whole.heap.live}
    for share in (0.25, 0.5, 0.75, 0.95):
        found = sample.outcome(bytes(sample.target.ram[: int(len(sample.target.ram) * share)]))
        check(found)
        if not isinstance(found, HeaptrailError):
            assert not found.conclusive
            assert {block.address for block in found.heap.live} <= sound


def test_64_mb_of_noise_end(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board(size=64_000_000)
    heap = make_heap(board, 60_000_000)
    heap.alloc(24)
    heap.finish()
    pointer_at, marker = heap.end_pointer - 0x2000_0000, heap.end
    board.ram[:] = np.random.default_rng(1).bytes(len(board.ram))
    board.ram[pointer_at : pointer_at + 4] = marker.to_bytes(4, "little")

    check(Sample(board).outcome())
