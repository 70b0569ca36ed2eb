"""Every layout, whole and broken: what is walked, and what is said of what cannot be."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError, UsageError
from heaptrail.ram.heaps.heap_2 import Heap2
from heaptrail.ram.heaps.heap_4 import Heap4
from heaptrail.ram.heaps.heap_5 import Heap5

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Heap4Writer

    from heaptrail.ram.heaps import HeapWalk

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]

SHAPES = [
    pytest.param({"word": 4}, 8, 0, id="32-bit"),
    pytest.param({"word": 4, "machine": 243}, 16, 0, id="RV32, aligned to 16"),
    pytest.param({"word": 8}, 16, 0, id="64-bit"),
    pytest.param({"word": 4, "order": ">"}, 8, 0, id="big-endian"),
    pytest.param({"word": 4}, 8, 0x5EED_BEE7, id="protector"),
    pytest.param({"word": 8}, 16, 0x5EED_BEE7_1234_5678, id="64-bit protector"),
]


def walk(board: Board) -> HeapWalk:
    firmware, memory = board.firmware(), board.image().memory
    heap = Heap4()
    return heap.walk(firmware, memory, heap.place(firmware, memory, None))


@pytest.mark.parametrize(("shape", "align", "canary"), SHAPES)
def test_heap_4_is_walked_block_by_block(
    make_board: MakeBoard, make_heap: MakeHeap, shape: dict[str, int], align: int, canary: int
) -> None:
    board = make_board(**shape)
    heap = make_heap(board, 0x1000, align=align, canary=canary)
    kept = [heap.alloc(count) for count in (24, 100, 0xF00 // 8, 8, 40)]
    heap.free(kept.pop(1))
    heap.finish()

    found = walk(board)

    assert [block.address for block in found.live] == kept
    assert found.corrupt == ()
    assert len(found.free) == 2
    assert found.total_bytes == heap.end - heap.first
    assert found.header_bytes == heap.header


def test_a_block_marked_free_and_not_yet_on_the_list_is_free(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """The kernel clears the bit before it suspends the scheduler: no agreement of walk and list is asked for."""
    board = make_board()
    heap = make_heap(board, 0x400)
    first, second = heap.alloc(24), heap.alloc(24)
    heap.free(first)
    heap.unlisted.add(first - heap.header)
    heap.finish()

    found = walk(board)

    assert [block.address for block in found.live] == [second]
    assert found.corrupt == ()


def test_a_heap_that_was_never_used_is_one_free_block(make_board: MakeBoard) -> None:
    board = make_board()
    for name, words in (("xStart", 2), ("pxEnd", 1), ("ucHeap", 64)):
        board.variable(name, words=words)

    found = walk(board)

    assert found.live == ()
    assert found.free_bytes == 256


def test_an_overwritten_header_is_named_and_the_walk_goes_on_from_the_free_list(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    board = make_board()
    heap = make_heap(board, 0x800)
    blocks = [heap.alloc(24) for _ in range(6)]
    heap.free(blocks[3])
    heap.finish()
    board.poke(blocks[1] - heap.header, 0x4141_4140, 0x4141_4140)

    found = walk(board)

    assert [block.address for block in found.live] == [blocks[0], blocks[4], blocks[5]]
    (corruption,) = found.corrupt
    assert corruption.address == blocks[1] - heap.header
    assert "the heap ends at" in corruption.text
    assert found.untrusted == ((blocks[1] - heap.header, blocks[3] - heap.header),)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, 0x8000_0000), "has the size 0, at least 8 bytes were expected"),
        ((0, 0x8000_0013), "a multiple of 4 was expected"),
        ((0x2000_0100, 0x8000_0020), "links to 0x20000100; an allocated block's link is null"),
        ((0, 0x8001_0000), "the heap ends at"),
    ],
)
def test_each_broken_header_says_what_was_expected(
    make_board: MakeBoard, make_heap: MakeHeap, words: tuple[int, int], expected: str
) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    victim = heap.alloc(24)
    heap.alloc(24)
    heap.finish()
    board.poke(victim - heap.header, *words)

    texts = [item.text for item in walk(board).corrupt]

    assert any(expected in text for text in texts), texts


def test_a_block_marked_allocated_whose_link_is_not_yet_null_is_allocated(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    """The kernel marks the block first: stopped in between, its link still leads to the next free block."""
    board = make_board()
    heap = make_heap(board, 0x400)
    taken, _, free = heap.alloc(24), heap.alloc(24), heap.alloc(24)
    heap.free(free)
    heap.finish()
    board.poke(taken - heap.header, free - heap.header)

    found = walk(board)

    assert found.corrupt == ()
    assert found.live[0].address == taken


def test_a_lost_canary_is_named(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400, canary=0x5EED_BEE7)
    victim = heap.alloc(24)
    heap.finish()
    board.poke(victim - heap.header, 0)

    assert any("canary" in item.text for item in walk(board).corrupt)


def test_a_cycle_in_the_free_list_ends(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    first, _, third = heap.alloc(24), heap.alloc(24), heap.alloc(24)
    heap.free(first)
    heap.free(third)
    heap.finish()
    board.poke(third - heap.header, first - heap.header)

    found = walk(board)

    assert any("a cycle" in item.text for item in found.corrupt)
    assert len(found.live) == 1


def test_a_free_list_that_leaves_the_heap_is_named(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    heap.alloc(24)
    heap.finish()
    board.poke(heap.start, 0x1234_5678)

    assert any("0x12345678" in item.text for item in walk(board).corrupt)


def test_a_zeroed_stretch_is_untrusted_and_ends_the_walk_where_no_list_helps(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    blocks = [heap.alloc(24) for _ in range(8)]
    heap.finish()
    board.ram[blocks[2] - heap.header - 0x2000_0000 : blocks[5] - 0x2000_0000] = bytes(blocks[5] - blocks[2] + 8)

    found = walk(board)

    assert [block.address for block in found.live] == blocks[:2]
    assert "has the size 0" in found.corrupt[0].text
    assert found.untrusted[0][0] == blocks[2] - heap.header


def test_an_image_that_ends_inside_the_heap_is_walked_as_far_as_it_goes(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    blocks = [heap.alloc(56) for _ in range(8)]
    heap.finish()
    firmware, memory = board.firmware(), board.image(end=blocks[4]).memory
    layout = Heap4()

    found = layout.walk(firmware, memory, layout.place(firmware, memory, None))

    assert [block.address for block in found.live] == blocks[:4] + blocks[4:5]
    assert any("does not hold the heap" in item.text for item in found.corrupt)


def test_another_builds_elf_is_refused(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    heap.alloc(24)
    heap.finish()
    board.symbols["pxEnd"] = (heap.free_total, 4)

    with pytest.raises(EvidenceError, match="do not belong together") as refused:
        walk(board)

    assert "the very build" in refused.value.try_this


def test_an_image_without_the_heaps_variables_is_refused(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400)
    heap.finish()
    firmware, memory = board.firmware(), board.image(first=heap.array).memory
    layout = Heap4()

    with pytest.raises(EvidenceError, match="the image does not hold pxEnd"):
        layout.walk(firmware, memory, layout.place(firmware, memory, None))


@pytest.mark.parametrize("seed", range(20))
def test_any_damage_ends_and_keeps_blocks_inside_the_heap(
    make_board: MakeBoard, make_heap: MakeHeap, seed: int
) -> None:
    chooser = random.Random(seed)
    board = make_board()
    heap = make_heap(board, 0x1000)
    blocks = [heap.alloc(chooser.randrange(1, 200)) for _ in range(20)]
    for block in chooser.sample(blocks, 6):
        heap.free(block)
    heap.finish()
    for _ in range(chooser.randrange(1, 40)):
        board.poke(chooser.randrange(heap.first, heap.end, 4), chooser.getrandbits(32))

    found = walk(board)

    ends = [block.end for block in found.live]
    assert all(heap.first <= block.address <= block.end <= heap.end for block in found.live)
    assert ends == sorted(ends)
    assert all(item.text for item in found.corrupt)


def test_heap_5_walks_each_region_of_the_table(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400, array=None)
    last = heap.alloc(24)
    heap.finish()
    lower = board.variable("lower", size=0x204)
    del board.symbols["lower"]
    marker = (lower + 0x204 - 8) // 8 * 8
    board.poke(lower, 0, 0x8000_0020)
    board.poke(lower + 0x20, marker, marker - lower - 0x20)
    board.poke(marker, heap.first, 0)
    table = board.variable("xHeapRegions", words=6)
    board.poke(table, heap.array, 0x400, lower, 0x204, 0, 0)
    firmware, memory = board.firmware(), board.image().memory
    layout = Heap5()

    found = layout.walk(firmware, memory, layout.place(firmware, memory, None))

    assert not Heap4.recognise(firmware)
    assert Heap5.recognise(firmware)
    assert {block.address for block in found.live} == {last, lower + 8}
    assert found.corrupt == ()


def test_heap_5_takes_its_regions_from_the_user(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    heap = make_heap(board, 0x400, array=None)
    block = heap.alloc(24)
    heap.finish()
    firmware, memory = board.firmware(), board.image().memory
    layout = Heap5()

    with pytest.raises(EvidenceError, match="no table of its regions") as asked:
        layout.place(firmware, memory, None)
    found = layout.walk(firmware, memory, layout.place(firmware, memory, f"{heap.array:#x}+0x400"))

    assert "--heap" in asked.value.try_this
    assert [item.address for item in found.live] == [block]


@pytest.mark.parametrize("flagged", [True, False], ids=["V10.5, with an allocated bit", "before, by the free list"])
def test_heap_2_is_walked_with_the_bit_and_without(make_board: MakeBoard, *, flagged: bool) -> None:
    board = make_board()
    start, end = board.variable("xStart", words=2), board.variable("xEnd", words=2)
    array = board.variable("ucHeap", size=0x100)
    board.poke(end, 0, 0x100)
    bit = 0x8000_0000 if flagged else 0
    # Free blocks are listed by size: the small one at +0x40 before the large one at +0x60.
    for at, link, size in ((0, 0, 0x20 | bit), (0x20, 0, 0x20 | bit), (0x40, array + 0x60, 0x20), (0x60, end, 0xA0)):
        board.poke(array + at, link, size)
    board.poke(start, array + 0x40)
    firmware, memory = board.firmware(), board.image().memory
    layout = Heap2()

    found = layout.walk(firmware, memory, layout.place(firmware, memory, None))

    assert Heap2.recognise(firmware)
    assert [block.address for block in found.live] == [array + 8, array + 0x28]
    assert [end - first for first, end in found.free] == [0x20, 0xA0]
    assert found.corrupt == ()


def test_heap_2_before_v10_5_begins_a_step_behind_an_aligned_array(make_board: MakeBoard) -> None:
    board = make_board()
    start, end = board.variable("xStart", words=2), board.variable("xEnd", words=2)
    array = board.variable("ucHeap", size=0x100)
    assert array % 16 == 0
    board.poke(end, 0, 0xF8)
    for at, link, size in ((0x08, 0, 0x20), (0x28, 0, 0x20), (0x48, 0, 0x20), (0x68, end, 0x98)):
        board.poke(array + at, link, size)
    board.poke(start, array + 0x68)
    firmware, memory = board.firmware(), board.image().memory
    layout = Heap2()

    found = layout.walk(firmware, memory, layout.place(firmware, memory, None))

    assert [block.address for block in found.live] == [array + 0x10, array + 0x30, array + 0x50]
    assert found.free == ((array + 0x68, array + 0x100),)
    assert found.corrupt == ()


def test_a_heap_that_the_user_names_must_be_there(make_board: MakeBoard) -> None:
    board = make_board()

    with pytest.raises(UsageError, match="no array of this name"):
        Heap4().place(board.firmware(), board.image().memory, "ucHaep")
