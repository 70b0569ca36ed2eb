"""Hints at what lost blocks are: who pointed to them last, what type they may be, which contents grow."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from heaptrail.model.verdict import JudgeSettings
from heaptrail.postmortem import CycleRule, examine, report_on
from heaptrail.ram.contents import content_counts, growth_by_content
from heaptrail.ram.memory import Registers
from heaptrail.ram.structs import sized_structs
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Heap4Writer, Program

    from heaptrail.model.report import Report

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]
    MakeProgram = Callable[..., Program]


def report(target: Board | Program, **registers: int) -> Report:
    firmware = target.firmware if not callable(target.firmware) else target.firmware()
    cpus = (Registers("CPU 0", (), registers["stack_pointer"]),) if registers else ()
    examined = examine([target.image(registers=cpus)], firmware, Question(), CycleRule())
    return report_on(examined, firmware, JudgeSettings(), options={})


def test_who_pointed_to_a_lost_block_last_is_told_from_dead_frames(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x800)
    lost = [heap.alloc(40) for _ in range(4)]
    stack = heap.alloc(256)
    heap.finish()
    board.variable("stack_of_main", stack)
    board.poke(stack + 16, *lost[:3])

    found = report(board, stack_pointer=stack + 200)

    evidence = found.findings[0].evidence
    assert found.findings[0].finding_class == "leak"
    assert "Old pointers to them stand in dead frames of the stacks of CPU 0 (3)." in evidence


HEAP_4 = """
#include <stdint.h>
struct link { struct link *next; uintptr_t size; };
struct link xStart; void *pxEnd; uintptr_t xFreeBytesRemaining;
uint64_t ucHeap[512];
"""
STRUCTS = """
struct packet { struct packet *next; void *payload; uint32_t flags; char data[DATA]; };
struct odd { void *one; uint32_t number; char more[DATA]; };
struct packet packet; struct odd odd;
struct operations { void (*open)(void), (*close)(void); };
void opened(void) {}
const struct operations uart_operations = { opened, opened };
"""


class Heap:
    """heap_4 in a compiled program: `alloc` in address order, then `finish`."""

    def __init__(self, program: Program) -> None:
        self.program, self.first = program, program.at("ucHeap")
        self.at, self.header = self.first, 16

    def alloc(self, count: int, *words: int) -> int:
        size = -(-(count + self.header) // 16) * 16
        self.program.poke(self.at, 0, size | 1 << (8 * self.program.word - 1))
        payload = self.at + self.header
        self.program.poke(payload, *words)
        self.at += size
        return payload

    def finish(self) -> None:
        end = self.first + 4096 - 16
        self.program.poke(self.at, end, end - self.at)
        self.program.poke(self.program.at("xStart"), self.at)
        self.program.poke(self.program.at("pxEnd"), end)


def test_a_struct_of_the_size_whose_pointers_are_plausible_is_guessed(make_program: MakeProgram) -> None:
    program = make_program(HEAP_4 + STRUCTS.replace("DATA", "20"))
    heap = Heap(program)
    before = 0
    for _ in range(4):
        before = heap.alloc(40, before, program.at("packet"), 7)
    heap.finish()

    (finding, *_) = report(program).findings

    guess = next(line for line in finding.evidence if line.startswith("Type, a guess"))
    assert "struct packet (40 bytes), whose 2 pointers" in guess
    assert "4 blocks" in guess


def test_pointers_that_lead_nowhere_guess_nothing(make_program: MakeProgram) -> None:
    program = make_program(HEAP_4 + STRUCTS.replace("DATA", "20"))
    heap = Heap(program)
    for _ in range(4):
        heap.alloc(40, 0x1234, 0x5678)
    heap.finish()

    (finding, *_) = report(program).findings

    assert not any(line.startswith("Type, a guess") for line in finding.evidence)


def test_a_table_of_constants_in_the_first_word_is_named(make_program: MakeProgram) -> None:
    program = make_program(HEAP_4 + STRUCTS.replace("DATA", "20"))
    heap = Heap(program)
    for _ in range(4):
        heap.alloc(200, program.at("uart_operations"))
    heap.finish()

    (finding, *_) = report(program).findings

    assert "Type, a guess: each begins with a pointer to uart_operations." in finding.evidence


@pytest.mark.parametrize(("name", "expected"), [("_ZTV4Song", "Song"), ("_ZTVN5audio6PlayerE", "audio::Player")])
def test_a_vtable_names_the_class(make_board: MakeBoard, make_heap: MakeHeap, name: str, expected: str) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    for _ in range(3):
        heap.alloc(24, 0x0800_0108)
    heap.finish()
    board.symbols[name] = (0x0800_0100, 32)

    (finding, *_) = report(board).findings

    assert f"Type, a guess: {expected}, whose vtable the first word of each points to." in finding.evidence


def test_structs_are_read_with_the_offsets_of_their_pointers(make_program: MakeProgram) -> None:
    program = make_program(HEAP_4 + STRUCTS.replace("DATA", "20"))

    found = {struct.name: struct for struct in sized_structs(program.firmware.path)}

    assert found["struct packet"].pointers == (0, 8)
    assert found["struct packet"].size == 40
    assert found["struct link"].pointers == (0,)


def test_an_elf_without_debug_information_knows_no_struct(make_board: MakeBoard) -> None:
    assert sized_structs(make_board().elf()) == ()


def contents_board(make_board: MakeBoard, make_heap: MakeHeap, cycle: int) -> Board:
    """Three more blocks of one size each cycle, one of text and two of zeros, beside five that stay."""
    board = make_board()
    heap = make_heap(board, 0x2000)
    for _ in range(cycle):
        heap.alloc(40, 0x6964_7541, 0x6E65_526F, 0x7265_6420)
        heap.alloc(40)
        heap.alloc(40)
    for _ in range(5):
        heap.alloc(40, 0x0800_0010)
    heap.finish()
    board.symbols["song_operations"] = (0x0800_0000, 64)
    return board


def test_growth_is_told_apart_by_content(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    boards = [contents_board(make_board, make_heap, cycle) for cycle in range(1, 7)]
    firmware = boards[-1].firmware()
    examined = examine([board.image() for board in boards], firmware, Question(), CycleRule(apart=1))

    found = report_on(examined, firmware, JudgeSettings(), options={})

    sentence = "By content: +2 per cycle of 0x30 that begin with zeros, +1 per cycle of 0x30 that begin with text."
    assert sentence in found.findings[0].evidence


def test_each_content_has_its_class(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    board.symbols["song_operations"] = (0x0800_0000, 64)
    first = heap.alloc(24, 0x0800_0010)
    heap.alloc(24, first)
    heap.alloc(24)
    heap.alloc(24, 0x0102_0304)
    heap.alloc(24, 0x6964_7541, 0x6E65_526F)
    heap.alloc(24, heap.start)
    heap.finish()

    counts = content_counts(survey(board.image(), board.firmware(), Question()), board.firmware())

    kinds = ("a pointer to song_operations", "a pointer into the heap", "zeros", "other data", "text",
             "a pointer to a variable")  # fmt: skip
    assert counts == Counter({(32, kind): 1 for kind in kinds})


def test_what_does_not_grow_is_not_named() -> None:
    flat = [Counter({(48, "zeros"): 5, (64, "text"): 3 + cycle}) for cycle in range(5)]

    assert growth_by_content(flat, range(5)) == {64: "By content: +1 per cycle of 0x40 that begin with text."}
    assert growth_by_content(flat[:2], None) == {}
    assert growth_by_content(flat, [0] * 5) == {}
