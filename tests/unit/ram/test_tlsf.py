"""TLSF: the stock one and ESP-IDF's behind its registered heaps, whole and broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError
from heaptrail.ram.heaps.esp_idf import EspIdfHeap
from heaptrail.ram.heaps.tlsf import Tlsf, find_controls
from heaptrail.ram.reach import REACHABLE, UNREACHABLE
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Program

    from heaptrail.ram.heaps import HeapWalk

    MakeBoard = Callable[..., Board]
    MakeProgram = Callable[..., Program]

CONTROL_BYTES = {4: 16 + 4 + 24 * 4 + 24 * 32 * 4, 8: 32 + 4 * 26 + 25 * 32 * 8}
HEAD, TAIL = 0xABBA1234, 0xBAAD5678


class Pool:
    """A pool written block by block; `at` is where a block's size stands."""

    def __init__(self, target: Board | Program, first: int, end: int) -> None:
        self.target, self.word = target, target.word
        self.at, self.end = first, end - target.word
        self.blocks: list[tuple[int, int, bool]] = []

    def alloc(self, count: int, *words: int) -> int:
        """A block; gives the payload's address."""
        size = max(-(-count // self.word) * self.word, 3 * self.word)
        payload = self.at + self.word
        self.blocks.append((self.at, size, False))
        self.at = payload + size
        if words:
            self.target.poke(payload, *words)
        return payload

    def free(self, payload: int) -> None:
        self.blocks = [(at, size, free or at == payload - self.word) for at, size, free in self.blocks]

    def finish(self) -> list[int]:
        """Write sizes and links; gives the headers of the free blocks."""
        rest = (self.at, self.end - self.at - self.word, True)
        before_free = 0
        for at, size, free in (*self.blocks, rest, (self.end, 0, False)):
            self.target.poke(at, size | free | before_free << 1)
            if free:
                self.target.poke(at + self.word + size - self.word, at - self.word)
            before_free = int(free)
        return [at - self.word for at, _, free in (*self.blocks, rest) if free]


def stock(board: Board, size: int = 0x4000) -> tuple[Pool, int]:
    """A board with a stock TLSF in an array, and where its control structure is."""
    board.functions["tlsf_malloc"] = 0x0800_0040
    control = board.variable("pool_memory", size=size)
    board.variable("tlsf", control)
    lists = control + CONTROL_BYTES[board.word]
    for at in range(control + 4 * board.word + 4 * 26, lists, board.word):
        board.poke(at, control)
    return Pool(board, lists, control + size), control


def link(board: Board | Program, control: int, table: int, free: list[int]) -> None:
    """All free blocks on the first list of a table."""
    chain = [*free, control]
    board.poke(table, chain[0])
    for at, following in zip(free, chain[1:], strict=True):
        board.poke(at + 2 * board.word, following)


def walk(board: Board, heap: str | None = None) -> HeapWalk:
    firmware, memory = board.firmware(), board.image().memory
    layout = Tlsf()
    return layout.walk(firmware, memory, layout.place(firmware, memory, heap))


@pytest.mark.parametrize("word", [4, 8])
@pytest.mark.parametrize("given", [None, "pool_memory", "tlsf"], ids=["found", "array", "pointer"])
def test_blocks_are_walked_from_the_control_structure(make_board: MakeBoard, word: int, given: str | None) -> None:
    board = make_board(word=word)
    pool, control = stock(board)
    kept = [pool.alloc(count) for count in (24, 1, 100, 40)]
    pool.free(kept.pop(1))
    free = pool.finish()
    link(board, control, control + CONTROL_BYTES[word] - 64 * word, free)

    found = walk(board, given)

    assert [block.address for block in found.live] == kept
    assert found.live[0].size_bytes == 24 + word
    assert len(found.free) == 2
    assert found.corrupt == ()
    assert found.notes == ()


def test_a_link_into_a_blocks_last_word_is_the_allocators_own(make_board: MakeBoard) -> None:
    """The header of a block begins in the last word of the one before: links to free blocks lead there."""
    board = make_board()
    pool, control = stock(board)
    lost, held, tail = pool.alloc(24), pool.alloc(24), pool.alloc(24)
    free = pool.finish()
    link(board, control, control + CONTROL_BYTES[4] - 64 * 4, free)
    board.variable("stale", free[0])
    board.variable("player", held)
    board.poke(held + 20, lost)

    found = survey(board.image(), board.firmware(), Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert states == {lost: REACHABLE, held: REACHABLE, tail: UNREACHABLE}


def test_an_overwritten_header_is_named_and_the_walk_goes_on_from_the_free_lists(make_board: MakeBoard) -> None:
    board = make_board()
    pool, control = stock(board)
    blocks = [pool.alloc(24) for _ in range(6)]
    pool.free(blocks[3])
    link(board, control, control + CONTROL_BYTES[4] - 64 * 4, pool.finish())
    board.poke(blocks[1] - 4, 0x4141_4140)

    found = walk(board)

    assert [block.address for block in found.live] == [blocks[0], *blocks[4:]]
    assert "the pool ends at" in found.corrupt[0].text
    assert found.untrusted == ((blocks[1] - 4, blocks[3] - 4),)


@pytest.mark.parametrize(("value", "expected"), [(0x19, "the header behind it"), (0x04, "a multiple of 4")])
def test_each_broken_header_says_what_was_expected(make_board: MakeBoard, value: int, expected: str) -> None:
    board = make_board()
    pool, _ = stock(board)
    victim = pool.alloc(24)
    pool.alloc(24)
    pool.finish()
    board.poke(victim - 4, value)

    texts = [item.text for item in walk(board).corrupt]

    assert any(expected in text for text in texts), texts


def test_a_cycle_in_a_free_list_ends(make_board: MakeBoard) -> None:
    board = make_board()
    pool, control = stock(board)
    first = pool.alloc(24)
    pool.alloc(24)
    pool.free(first)
    free = pool.finish()
    link(board, control, control + CONTROL_BYTES[4] - 64 * 4, free)
    board.poke(free[-1] + 8, free[0])

    assert len(walk(board).live) == 1


def test_an_image_without_a_control_structure_is_refused(make_board: MakeBoard) -> None:
    board = make_board()
    board.functions["tlsf_malloc"] = 0x0800_0040

    with pytest.raises(EvidenceError, match="no control structure") as refused:
        walk(board)

    assert "--heap" in refused.value.try_this


def test_runs_of_equal_words_that_point_nowhere_near_are_no_control_structure(make_board: MakeBoard) -> None:
    board = make_board()
    fill = board.variable("fill", words=400)
    board.poke(fill, *([0xA5A5_A5A5] * 200), *([fill + 0x7000] * 200))

    assert find_controls(board.image().memory) == []


ESP = """
#include <stddef.h>
#include <stdint.h>
struct heap_t_ { NAME uint32_t caps[3]; intptr_t start, end; uint32_t mux[2]; void *heap; struct heap_t_ *next; };
struct multi_heap_info { void *lock; size_t free_bytes, minimum_free_bytes, pool_size; void *heap_data; };
typedef struct control_t { void *null_block[4]; unsigned levels; size_t size; unsigned map; void *maps, **blocks; }
    control_t;
typedef struct { uint32_t head_canary; size_t alloc_size; } poison_head_t;
struct heap_t_ first, second;
struct { struct heap_t_ *slh_first; } registered_heaps;
control_t control;
poison_head_t head;
struct multi_heap_info info;
uint64_t internal[512], external[512], player;
"""


class EspHeap(Pool):
    """One registered heap with its control structure and a table of 32 lists."""

    def __init__(self, program: Program, name: str, memory: str) -> None:
        layouts = program.firmware.structs(("heap_t_", "multi_heap_info", "control_t"), ())
        registered, info, control = (layouts[key] for key in ("heap_t_", "multi_heap_info", "control_t"))
        first, word = program.at(memory), program.word
        for member, value in (("start", first), ("end", first + 4096), ("heap", first)):
            program.poke(program.at(name) + registered.members[member][0], value)
        self.control = first + info.size
        self.table = self.control + control.size
        program.poke(first + info.members["heap_data"][0], self.control)
        program.poke(first + info.members["minimum_free_bytes"][0], 100)
        program.poke(self.control + control.members["size"][0], control.size + 32 * word)
        program.poke(self.table, *([self.control] * 32))
        super().__init__(program, self.table + 32 * word, first + 4096)

    def poisoned(self, count: int, *words: int) -> int:
        """A block with canaries around `count` bytes; gives the address that the program knows."""
        head = 2 * self.word
        at = self.alloc(count + head + 4)
        self.target.poke(at, HEAD, size=4)  # type: ignore[call-arg]  # only programs hold these heaps
        self.target.poke(at + self.word, count)
        self.target.poke(at + head, *words)
        tail = at + head + count - 0x2000_0000
        self.target.ram[tail : tail + 4] = TAIL.to_bytes(4, "little")
        return at + head


def esp(make_program: MakeProgram, word: int, name: str = "") -> tuple[Program, EspHeap, EspHeap]:
    program = make_program(ESP.replace("NAME", name), word=word, file="heap_caps_init.c")
    one, two = EspHeap(program, "first", "internal"), EspHeap(program, "second", "external")
    link_at = program.firmware.structs(("heap_t_",), ())["heap_t_"].members["next"][0]
    program.poke(program.at("registered_heaps"), program.at("first"))
    program.poke(program.at("first") + link_at, program.at("second"))
    return program, one, two


def esp_walk(program: Program) -> HeapWalk:
    memory, layout = program.image().memory, EspIdfHeap()
    return layout.walk(program.firmware, memory, layout.place(program.firmware, memory, None))


@pytest.mark.parametrize("word", [4, 8])
def test_registered_heaps_are_walked(make_program: MakeProgram, word: int) -> None:
    program, one, two = esp(make_program, word)
    lost, held = one.alloc(24), two.alloc(24)
    program.poke(program.at("player"), held)
    for heap in (one, two):
        link(program, heap.control, heap.table, heap.finish())

    found = survey(program.image(), program.firmware, Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert states == {lost: UNREACHABLE, held: REACHABLE}
    assert found.heap.min_free_bytes == 200
    assert found.heap.corrupt == ()


@pytest.mark.parametrize("word", [4, 8])
def test_canaries_that_were_written_over_are_named(make_program: MakeProgram, word: int) -> None:
    program, one, two = esp(make_program, word)
    sound, overrun, underrun, fine = (one.poisoned(24) for _ in range(4))
    program.poke(overrun + 24, 0x41, size=1)
    program.poke(underrun - 2 * word, 0x41, size=1)
    one.finish()
    two.finish()

    found = esp_walk(program)

    assert [block.address for block in found.live][:2] == [sound, overrun]
    assert fine in {block.address for block in found.live}
    texts = [item.text for item in found.corrupt]
    assert len(texts) == 2
    assert "the canary behind" in texts[0]
    assert f"{overrun:08x}" in texts[0]
    assert "the canary in front" in texts[1]


def test_the_tasks_handle_is_read_where_tasks_are_tracked(make_program: MakeProgram) -> None:
    program, one, two = esp(make_program, 8, name="const char *name;")
    block = one.alloc(40, 0x2000_0123)
    one.finish()
    two.finish()

    (found,) = esp_walk(program).live

    assert found.address == block + 8
    assert found.owner == 0x2000_0123


def test_a_heap_without_a_control_structure_is_named_and_the_others_are_walked(make_program: MakeProgram) -> None:
    program, one, two = esp(make_program, 8)
    one.alloc(24)
    two.alloc(24)
    one.finish()
    two.finish()
    program.poke(program.at("internal") + 32, 0x1234)

    found = esp_walk(program)

    assert len(found.live) == 1
    assert "a TLSF control structure was expected" in found.corrupt[0].text
    assert found.untrusted[0][0] == program.at("internal")


def test_a_cycle_in_the_list_of_heaps_ends(make_program: MakeProgram) -> None:
    program, one, two = esp(make_program, 8)
    one.finish()
    two.finish()
    link_at = program.firmware.structs(("heap_t_",), ())["heap_t_"].members["next"][0]
    program.poke(program.at("second") + link_at, program.at("first"))

    assert len(esp_walk(program).place.arenas) == 2


def test_without_debug_information_the_list_cannot_be_read(make_board: MakeBoard) -> None:
    board = make_board()
    board.variable("registered_heaps", 0x2000_0100)

    with pytest.raises(EvidenceError, match="heap_t_"):
        EspIdfHeap().place(board.firmware(), board.image().memory, None)
