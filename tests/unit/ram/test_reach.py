"""What is reachable, and why; each test is one rule that real kernels forced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from heaptrail.ram.heaps import LiveBlock
from heaptrail.ram.intervals import holds, joined, total, within, without
from heaptrail.ram.memory import Memory, Piece, Registers
from heaptrail.ram.places import block_at, listing, why
from heaptrail.ram.reach import MASKED, REACHABLE, UNREACHABLE, Roots, find_reach
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Heap4Writer

    from heaptrail.ram.survey import Survey

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]

CPU = "CPU 0"


def states(found: Survey) -> dict[int, int]:
    return {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}


def test_a_block_is_held_by_a_variable_a_register_or_a_reached_block(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    tail = heap.alloc(24)
    held, in_register, lost, chained = heap.alloc(24, tail), heap.alloc(24), heap.alloc(24), heap.alloc(24)
    also_lost = heap.alloc(24, lost)
    heap.finish()
    board.variable("player", held)
    board.poke(tail, chained)
    image = board.image(registers=(Registers(CPU, (7, in_register), 0),))

    found = survey(image, board.firmware(), Question())

    assert {address for address, state in states(found).items() if state == UNREACHABLE} == {lost, also_lost}


def test_interior_pointers_count(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """Kernel lists are intrusive: a control block is held by a pointer to the list item inside it."""
    board = make_board()
    heap = make_heap(board, 0x400)
    control_block = heap.alloc(100)
    behind = heap.alloc(24)
    heap.finish()
    board.variable("list", control_block + 96)

    found = survey(board.image(), board.firmware(), Question())

    assert states(found) == {control_block: REACHABLE, behind: UNREACHABLE}


def test_only_the_live_part_of_a_stack_holds(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x800)
    in_dead_frame, in_live_frame = heap.alloc(24), heap.alloc(24)
    stack = heap.alloc(256)
    heap.finish()
    board.poke(stack + 64, in_dead_frame)
    board.poke(stack + 128, in_live_frame)
    board.variable("task_stack", stack)
    image = board.image(registers=(Registers(CPU, (stack + 100,), stack + 100),))

    found = survey(image, board.firmware(), Question())

    assert states(found) == {in_dead_frame: UNREACHABLE, in_live_frame: REACHABLE, stack: REACHABLE}


def test_a_tracers_table_is_no_root(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    lost = heap.alloc(24)
    heap.finish()
    board.variable("ht", lost, words=4)
    with_agent, without_agent = board.firmware(), board.firmware()
    board.functions["ht_on_malloc"] = 0x0800_0010
    with_agent = board.firmware()

    found = survey(board.image(), with_agent, Question())

    assert states(found)[lost] == UNREACHABLE
    assert any(what == "excluded" and "ht (16 B)" in text for what, text in found.problems)
    assert states(survey(board.image(), without_agent, Question()))[lost] == REACHABLE, "another variable named ht"


def test_the_user_excludes_by_name_or_range_and_keeps_by_address(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    traced, noted, hidden = heap.alloc(24), heap.alloc(24), heap.alloc(24)
    heap.finish()
    board.variable("trace_table", traced)
    note = board.variable("note", noted)

    question = Question(exclude=("trace_*", f"{note:#x}+4"), keep=(hidden + 4,))
    found = survey(board.image(), board.firmware(), question)

    assert states(found) == {traced: UNREACHABLE, noted: UNREACHABLE, hidden: REACHABLE}


def test_a_free_block_holds_nothing(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    lost = heap.alloc(24)
    freed = heap.alloc(24, lost, lost, lost)
    heap.free(freed)
    heap.finish()
    board.variable("dangling", freed)

    assert states(survey(board.image(), board.firmware(), Question())) == {lost: UNREACHABLE}


def test_a_reused_block_with_an_old_pointer_hides_a_leak(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """A known limit: nobody can tell a stale word in a live block from a pointer."""
    board = make_board()
    heap = make_heap(board, 0x400)
    lost = heap.alloc(24)
    reused = heap.alloc(24, 0, lost)
    heap.finish()
    board.variable("buffer", reused)

    assert states(survey(board.image(), board.firmware(), Question()))[lost] == REACHABLE


def test_growth_that_something_holds_is_never_unreachable(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x1000)
    entry = 0
    for _ in range(50):
        entry = heap.alloc(24, entry)
    heap.finish()
    board.variable("cache", entry)

    assert set(states(survey(board.image(), board.firmware(), Question())).values()) == {REACHABLE}


def test_a_pointer_that_does_not_look_like_one_is_a_false_positive(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    hidden = heap.alloc(24)
    heap.finish()
    board.variable("encoded", hidden ^ 0x5555_5555)

    assert states(survey(board.image(), board.firmware(), Question()))[hidden] == UNREACHABLE


def test_what_the_walk_could_not_trust_is_scanned_as_a_root(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x800)
    early = heap.alloc(24)
    broken = heap.alloc(24, early)
    later = heap.alloc(24)
    heap.free(later)
    heap.alloc(24)
    heap.finish()
    board.poke(broken - heap.header, 0xFFFF_FFFF, 0xFFFF_FFFF)

    assert states(survey(board.image(), board.firmware(), Question()))[early] == REACHABLE


def test_memory_that_lacks_accuses_nobody(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    heap.alloc(24)
    heap.finish()

    found = survey(board.image(end=heap.array + 0x400), board.firmware(), Question())

    assert not found.conclusive
    assert any(what == "roots_missing" for what, _ in found.problems)


def test_missing_memory_that_the_user_excludes_may_be_missing(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    lost = heap.alloc(24)
    heap.finish()
    behind = heap.array + 0x400
    question = Question(exclude=(f"{behind:#x}+{0x2000_8000 - behind:#x}",))

    found = survey(board.image(end=behind), board.firmware(), question)

    assert found.conclusive
    assert states(found)[lost] == UNREACHABLE


def test_why_names_the_pointers_outwards_to_a_root(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    inner = heap.alloc(24, 0x6C6C_6548)
    outer = heap.alloc(24, 0, inner)
    lost = heap.alloc(24)
    heap.finish()
    board.variable("player", words=4)
    board.poke(board.symbols["player"][0] + 8, outer)
    firmware = board.firmware()
    found = survey(board.image(), firmware, Question())

    path = why(found, firmware, inner + 3)

    assert "reachable" in path[0]
    assert "Hell" in path[1]
    assert path[2:] == [f"  <- block 0x{outer:08x}+0x4 (32 B)", "  <- player+0x8"]
    assert "no register" in why(found, firmware, lost)[-1]
    assert "not in the heap" in why(found, firmware, 0x1000)[0]
    assert "free block" in why(found, firmware, heap.end - 4)[0]
    assert block_at(found, lost - heap.header) == 2, "the header is the block's too"
    assert listing(found, firmware, (UNREACHABLE,))[-1] == "1 block, 32 B"


def test_of_several_paths_the_shortest_is_told(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    block = heap.alloc(24)
    near = heap.alloc(24, block)
    far = heap.alloc(24, heap.alloc(24, heap.alloc(24, block)))
    heap.finish()
    board.variable("near", near)
    board.variable("far", far)
    firmware = board.firmware()

    path = why(survey(board.image(), firmware, Question()), firmware, block)

    assert path[2:] == [f"  <- block 0x{near:08x}+0x0 (32 B)", "  <- near"]


def test_every_word_of_a_long_list_is_followed_in_bounded_time() -> None:
    """100,000 blocks in one chain: the depth of a search must not be Python's."""
    count, size = 100_000, 32
    base = 0x2000_0000
    words = np.zeros(count * size // 4, dtype="<u4")
    words[2 :: size // 4] = base + size * np.arange(1, count + 1) + 8
    memory = Memory([Piece(base, memoryview(words.tobytes()))], order="<", word_bytes=4)
    live = [LiveBlock(base + size * index + 8, base + size * (index + 1), size) for index in range(count)]
    roots = Roots(memory=tuple(memory.intervals), heap=((base, base + count * size),), kept=(base + 8,))

    started = time.process_time()
    found = find_reach(memory, live, roots)

    assert found.states.count(REACHABLE) == count
    assert time.process_time() - started < 5


@pytest.mark.parametrize("word", [4, 8])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_marking_agrees_with_a_search_word_by_word(word: int, data: st.DataObject) -> None:
    base, size, count = 0x2000_0000, 32, 12
    interesting = st.sampled_from([0, *(base + offset for offset in range(0, (count + 2) * size, 6))])
    words = data.draw(st.lists(interesting, min_size=(count + 2) * size // word, max_size=(count + 2) * size // word))
    raw = np.array(words, dtype=f"<u{word}").tobytes()
    memory = Memory([Piece(base, memoryview(raw))], order="<", word_bytes=word)
    live = [LiveBlock(base + size * n + 8, base + size * (n + 1), size) for n in range(count)]
    heap = ((base, base + size * count),)

    found = find_reach(memory, live, Roots(memory=tuple(memory.intervals), heap=heap))

    marked: set[int] = set()
    pending = list(words[count * size // word :])
    while pending:
        value = pending.pop()
        for index, block in enumerate(live):
            if block.address <= value < block.end and index not in marked:
                marked.add(index)
                first = (block.address - base) // word
                pending += words[first : (block.end - base) // word]
    assert {index for index, state in enumerate(found.states) if state == REACHABLE} == marked
    for index in marked:
        assert found.path(index)[-1].block is None, "each path ends at a root"


INTERVALS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))), max_size=8)


@given(INTERVALS, INTERVALS)
def test_intervals_are_sets_of_addresses(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    def members(intervals: list[tuple[int, int]]) -> set[int]:
        return {at for low, high in intervals for at in range(low, high)}

    assert members(joined(first)) == members(first)
    assert members(without(first, second)) == members(first) - members(second)
    assert members(within(first, second)) == members(first) & members(second)
    assert total(joined(first)) == len(members(first))
    assert {at for at in range(61) if holds(joined(first), at)} == members(first)


def test_memory_that_shows_twice_is_scanned_once(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """In a bus's second view of RAM nobody would know the dead parts of the stacks."""
    board = make_board()
    heap = make_heap(board, 0x800)
    in_dead_frame, stack = heap.alloc(24), heap.alloc(256)
    heap.finish()
    board.poke(stack + 64, in_dead_frame)
    board.variable("task_stack", stack)
    image = board.image(registers=(Registers(CPU, (stack + 100,), stack + 100),))
    (piece,) = image.memory.pieces
    twice = Memory([piece, piece._replace(address=piece.address + 0x40_0000)], order="<", word_bytes=4)

    found = survey(structs.replace(image, memory=twice), board.firmware(), Question())

    assert states(found)[in_dead_frame] == UNREACHABLE


def test_a_stack_of_unknown_live_part_only_masks(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    buffer = heap.alloc(24)
    heap.finish()
    stack = board.variable("stack", words=32)
    board.poke(stack + 40, buffer)
    memory = board.image().memory
    roots = Roots(
        memory=tuple(memory.intervals),
        heap=((heap.array, heap.array + 0x400),),
        doubtful=((stack, stack + 128),),
    )
    live = [LiveBlock(buffer, buffer + 24, 32)]

    assert find_reach(memory, live, roots).states == (MASKED,)
