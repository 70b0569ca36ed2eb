"""Zephyr's sys_heap and threads: chunks small and big, old and new, whole and broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from heaptrail.errors import EvidenceError, UsageError
from heaptrail.ram.heaps.zephyr import ZephyrHeap
from heaptrail.ram.kernels.zephyr import ZephyrKernel
from heaptrail.ram.memory import Registers
from heaptrail.ram.reach import REACHABLE, UNREACHABLE
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Board, Program

    from heaptrail.ram.heaps import HeapWalk

    MakeBoard = Callable[..., Board]
    MakeProgram = Callable[..., Program]

UNIT = 8


class SysHeap:
    """A sys_heap written chunk by chunk into the memory of `target` at `first`."""

    def __init__(self, target: Board | Program, first: int, size: int, *, field: int, old: bool = False) -> None:
        self.target, self.first, self.field, self.old = target, first, field, old
        self.last = size // UNIT - 1
        self.chunks: list[tuple[int, bool]] = [(4, True)]  # units, used; the heap's own chunk is the first

    def alloc(self, count: int, *words: int) -> int:
        """A used chunk; gives the payload's address."""
        at = self.first + UNIT * sum(units for units, _ in self.chunks) + 2 * self.field
        self.chunks.append((-(-(count + 2 * self.field) // UNIT), True))
        if words:
            self.target.poke(at, *words)
        return at

    def free(self, payload: int) -> None:
        """Mark the chunk free, as the heap does before it joins neighbours."""
        at = self.first + 2 * self.field
        for index, (units, _) in enumerate(self.chunks):
            if at == payload:
                self.chunks[index] = (units, False)
            at += UNIT * units

    def finish(self) -> None:
        self._number(self.first + 8, self.last, 4)
        rest = self.last - sum(units for units, _ in self.chunks)
        at, left = 0, 0
        for units, used in [*self.chunks, (rest, False), (0, True)]:
            self.header(self.first + UNIT * at, left, units << 1 | used)
            at, left = at + units, units

    def header(self, at: int, left: int, size_and_used: int) -> None:
        pair = (size_and_used, left) if self.old else (left, size_and_used)
        for index, value in enumerate(pair):
            self._number(at + index * self.field, value, self.field)

    def _number(self, at: int, value: int, size: int) -> None:
        data = value.to_bytes(size, "little" if self.target.order == "<" else "big")
        self.target.ram[at - 0x2000_0000 : at - 0x2000_0000 + size] = data


SHAPES = [
    pytest.param({"word": 4}, {"field": 2}, id="small"),
    pytest.param({"word": 4}, {"field": 4}, id="big, 32-bit"),
    pytest.param({"word": 8}, {"field": 4}, id="64-bit"),
    pytest.param({"word": 4, "order": ">"}, {"field": 2}, id="small, big-endian"),
    pytest.param({"word": 4}, {"field": 2, "old": True}, id="small, before 2.5"),
    pytest.param({"word": 8}, {"field": 4, "old": True}, id="64-bit, before 2.5"),
]


def zephyr(board: Board, name: str = "_system_heap", **options: int) -> SysHeap:
    """A board with one k_heap of 2 KB."""
    board.functions["sys_heap_alloc"] = 0x0800_0040
    heap = board.variable(name, words=3)
    memory = board.variable(f"kheap_{name}", size=2048)
    board.poke(heap, memory)
    return SysHeap(board, memory, 2048, **options)


def walk(board: Board, heap: str | None = None) -> HeapWalk:
    firmware, memory = board.firmware(), board.image().memory
    layout = ZephyrHeap()
    return layout.walk(firmware, memory, layout.place(firmware, memory, heap))


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_chunks_are_walked_in_every_layout(
    make_board: MakeBoard, shape: dict[str, int], options: dict[str, int]
) -> None:
    board = make_board(**shape)
    heap = zephyr(board, **options)
    kept = [heap.alloc(count) for count in (24, 1, 100, 40)]
    heap.free(kept.pop(1))
    heap.finish()

    found = walk(board)

    assert [block.address for block in found.live] == kept
    assert found.live[0].size_bytes == -(-(24 + 2 * heap.field) // 8) * 8
    assert len(found.free) == 2
    assert found.corrupt == ()
    assert found.header_bytes == 2 * heap.field


def test_a_pointer_in_one_heap_holds_a_block_in_another(make_board: MakeBoard) -> None:
    board = make_board()
    system, libc = zephyr(board, field=2), zephyr(board, "z_malloc_heap", field=2)
    tail, lost = libc.alloc(24), libc.alloc(24)
    head = system.alloc(24, tail)
    board.variable("list", head)
    system.finish()
    libc.finish()

    found = survey(board.image(), board.firmware(), Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert states == {head: REACHABLE, tail: REACHABLE, lost: UNREACHABLE}
    assert found.heap.place.name == "_system_heap, z_malloc_heap"


def test_the_linkers_list_of_heaps_is_read(make_board: MakeBoard) -> None:
    board = make_board()
    board.variable("_k_heap_list_start", size=0)
    heap = zephyr(board, "audio_heap", field=2)
    board.variable("_k_heap_list_end", size=0)
    board.symbols["_k_heap_list_start"] = (board.symbols["audio_heap"][0], 0)
    board.symbols["_k_heap_list_end"] = (board.symbols["audio_heap"][0] + 12, 0)
    block = heap.alloc(24)
    heap.finish()

    found = walk(board)

    assert [item.address for item in found.live] == [block]
    assert found.place.name == "audio_heap"


def test_an_overwritten_chunk_is_named_and_the_walk_comes_back_from_the_end(make_board: MakeBoard) -> None:
    board = make_board()
    heap = zephyr(board, field=2)
    blocks = [heap.alloc(24) for _ in range(6)]
    heap.finish()
    board.poke(blocks[2] - 4, 0x4141_4141)

    found = walk(board)

    assert [block.address for block in found.live] == [blocks[0], *blocks[3:]]
    (corruption,) = found.corrupt
    assert corruption.address == blocks[1] - 4, "the one whose size its right neighbour no longer confirms"
    assert "one of them is overwritten" in corruption.text
    assert found.untrusted == ((blocks[1] - 4, blocks[3] - 4),)


@pytest.mark.parametrize(("value", "expected"), [(1, "has the size 0"), (0x7FFF, "the heap ends at")])
def test_a_size_that_cannot_be_says_what_was_expected(make_board: MakeBoard, value: int, expected: str) -> None:
    board = make_board()
    heap = zephyr(board, field=2)
    block = heap.alloc(24)
    heap.finish()
    heap.header(block - 4, 4, value)

    assert expected in walk(board).corrupt[0].text


def test_a_heap_that_is_none_is_named_and_scanned_whole(make_board: MakeBoard) -> None:
    board = make_board()
    sound, rubble = zephyr(board, field=2), zephyr(board, "z_malloc_heap", field=2)
    sound.alloc(24)
    sound.finish()
    board.poke(rubble.first, 0x5555_5554, 0x5555_5554, 20)

    found = walk(board)

    assert len(found.live) == 1
    assert "which do not fit" in found.corrupt[0].text
    assert found.untrusted[0][0] == rubble.first


def test_heaps_that_were_never_initialised_are_refused(make_board: MakeBoard) -> None:
    board = make_board()
    zephyr(board, field=2)
    board.poke(board.symbols["_system_heap"][0], 0)

    with pytest.raises(EvidenceError, match="leads to memory"):
        walk(board)


def test_a_heap_that_the_user_names_must_be_there(make_board: MakeBoard) -> None:
    board = make_board()
    zephyr(board, field=2).finish()

    with pytest.raises(UsageError, match="no variable of this name"):
        walk(board, "sytsem_heap")


THREADS = """
#include <stdint.h>
typedef struct { void *next, *prev; } node;
struct _thread_base { union { node dlist; void *rb[2]; }; void *pended_on; uint16_t options;
    union { struct { int8_t prio; uint8_t sched_locked; }; uint16_t preempt; }; uint8_t thread_state; };
struct _callee_saved { uintptr_t v1, v2, psp; };
struct _thread_stack_info { uintptr_t start, size, delta; };
struct k_thread { struct _thread_base base; struct _callee_saved callee_saved; void *init_data;
    LINK char name[16]; struct _thread_stack_info stack_info; };
struct _cpu { uint32_t nested; char *irq_stack; struct k_thread *current; };
struct z_kernel { struct _cpu cpus[2]; HEAD uint32_t idle; };
struct sys_heap { void *heap, *memory; uintptr_t bytes; };
struct z_kernel _kernel;
struct k_thread main_thread, logger;
struct sys_heap _system_heap;
uint64_t kheap_system_heap[256], main_stack[32], other[8];
void z_impl_k_thread_create(void) {}
void sys_heap_alloc(void) {}
"""
LISTED = THREADS.replace("LINK", "struct k_thread *next_thread;").replace("HEAD", "struct k_thread *threads;")
UNLISTED = THREADS.replace("LINK", "").replace("HEAD", "")


def kernel(program: Program) -> tuple[SysHeap, int, int]:
    """A heap with two stacks' worth of blocks; `main` runs on its own stack, `logger` sleeps on one in the heap."""
    heap = SysHeap(program, program.at("kheap_system_heap"), 2048, field=4 if program.word == 8 else 2)
    program.poke(program.at("_system_heap"), heap.first)
    stack = heap.alloc(256)
    layouts = program.firmware.structs(
        ("k_thread", "_thread_base", "_callee_saved", "_thread_stack_info", "z_kernel"), ()
    )
    thread, base = layouts["k_thread"], layouts["_thread_base"]
    for name, first, size, saved in (
        ("main_thread", program.at("main_stack"), 256, program.at("main_stack") + 8),
        ("logger", stack, 256, stack + 128),
    ):
        at = program.at(name)
        info, callee = thread.offset("stack_info"), thread.offset("callee_saved")
        assert info is not None
        assert callee is not None
        program.poke(at + info, first, size)
        program.poke(at + callee + 2 * program.word, saved)
        program.poke(at + (base.offset("prio") or 0), 0xFE if name == "logger" else 5, size=1)
        program.poke(at + (base.offset("thread_state") or 0), 0x02 if name == "logger" else 0, size=1)
        name_at = at + (thread.offset("name") or 0) - program.first
        program.ram[name_at : name_at + len(name)] = name.encode()
    program.poke(program.at("_kernel") + 2 * program.word, program.at("main_thread"))
    return heap, stack, thread.offset("next_thread") or 0


@pytest.mark.parametrize("word", [4, 8])
def test_threads_are_found_through_the_kernels_list(make_program: MakeProgram, word: int) -> None:
    program = make_program(LISTED, word=word, file="sched.c")
    heap, stack, link = kernel(program)
    dead, live = heap.alloc(24), heap.alloc(24)
    heap.finish()
    program.poke(stack + 64, dead)
    program.poke(stack + 192, live)
    threads = program.firmware.structs(("z_kernel",), ())["z_kernel"].offset("threads")
    assert threads is not None
    program.poke(program.at("_kernel") + threads, program.at("logger"))
    program.poke(program.at("logger") + link, program.at("main_thread"))
    image = program.image(registers=(Registers("CPU 0", (0,), program.at("main_stack") + 64),))

    found = survey(image, program.firmware, Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert found.kernel == "zephyr"
    assert [(task.name, task.state, task.priority) for task in found.tasks] == [
        ("logger", "blocked", -2),
        ("main_thread", "running", 5),
    ]
    assert states[dead] == UNREACHABLE
    assert states[live] == REACHABLE


def test_a_cycle_in_the_list_of_threads_ends(make_program: MakeProgram) -> None:
    program = make_program(LISTED, file="sched.c")
    _, _, link = kernel(program)
    threads = program.firmware.structs(("z_kernel",), ())["z_kernel"].offset("threads")
    assert threads is not None
    program.poke(program.at("_kernel") + threads, program.at("logger"))
    program.poke(program.at("logger") + link, program.at("logger"))

    found = ZephyrKernel().tasks(program.firmware, program.image().memory)

    assert [task.name for task in found.tasks] == ["logger", "main_thread"], "the running one is known anyway"
    assert any("a cycle" in text for text in found.problems)


def test_without_a_list_threads_are_variables_of_the_right_size(make_program: MakeProgram) -> None:
    program = make_program(UNLISTED, file="sched.c")
    kernel(program)

    found = ZephyrKernel().tasks(program.firmware, program.image().memory)

    assert {task.name for task in found.tasks} == {"main_thread", "logger"}
    assert any("CONFIG_THREAD_MONITOR" in text for text in found.problems)


def test_without_debug_information_no_thread_is_known(make_board: MakeBoard) -> None:
    board = make_board()
    board.variable("_kernel", words=16)
    board.functions["z_impl_k_thread_create"] = 0x0800_0010

    found = ZephyrKernel().tasks(board.firmware(), board.image().memory)

    assert found.tasks == ()
    assert "no debug information" in found.problems[0]
