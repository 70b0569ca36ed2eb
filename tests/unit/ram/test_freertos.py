"""Tasks through the kernel's lists: the default layout, the layout that DWARF tells, broken lists, several cores."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from heaptrail.ram.kernels.freertos import FreeRtosKernel
from heaptrail.ram.memory import Registers
from heaptrail.ram.reach import MASKED, REACHABLE, UNREACHABLE
from heaptrail.ram.structs import struct_layouts
from heaptrail.ram.survey import Question, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Board, Heap4Writer

    MakeBoard = Callable[..., Board]
    MakeHeap = Callable[..., Heap4Writer]


class Lists:
    """The kernel's lists on a board, in the layout of its default configuration."""

    def __init__(self, board: Board, cores: int = 1) -> None:
        self.board = board
        self.current = board.variable("pxCurrentTCB" if cores == 1 else "pxCurrentTCBs", words=cores)
        self.ready = board.variable("pxReadyTasksLists", words=5 * 3)
        self.delayed = board.variable("xDelayedTaskList1", words=5)
        board.variable("uxCurrentNumberOfTasks")
        self.count = 0
        for at in (*(self.ready + 20 * level for level in range(3)), self.delayed):
            board.poke(at, 0, at + 8, 0xFFFF_FFFF, at + 8, at + 8)

    def link(self, at: int, control_block: int) -> None:
        """Put a task's list item (its second word on) at the end of a list."""
        item, end = control_block + 4, at + 8
        last = int.from_bytes(self.board.ram[end + 8 - 0x2000_0000 :][:4], "little")
        self.board.poke(item, 0, end, last, control_block, at)
        self.board.poke(last + 4, item)
        self.board.poke(end + 8, item)
        self.count += 1
        self.board.poke(self.board.symbols["uxCurrentNumberOfTasks"][0], self.count)


def task(heap: Heap4Writer, used: int) -> tuple[int, int]:
    """A control block and a stack of 256 bytes of which the last `used` are live: `(control block, stack)`."""
    stack = heap.alloc(256)
    return heap.alloc(64, stack + 256 - used), stack


def test_tasks_are_found_through_the_lists_and_only_live_stack_holds(
    make_board: MakeBoard, make_heap: MakeHeap
) -> None:
    board = make_board()
    lists, heap = Lists(board), make_heap(board, 0x1000)
    running, running_stack = task(heap, 0)
    waiting, waiting_stack = task(heap, 64)
    dead, live, live_in_running, dead_in_running = (heap.alloc(24) for _ in range(4))
    heap.finish()
    lists.link(lists.ready, running)
    lists.link(lists.delayed, waiting)
    board.poke(lists.current, running)
    board.poke(waiting_stack + 100, dead)
    board.poke(waiting_stack + 200, live)
    board.poke(running_stack + 100, dead_in_running)
    board.poke(running_stack + 240, live_in_running)
    board.poke(running, running_stack + 8)  # saved long ago: it must not be used
    for at in (running, waiting):
        board.poke(at + 40, running_stack if at == running else waiting_stack)
    cpu = Registers("CPU 0", (0,), running_stack + 200)

    found = survey(board.image(registers=(cpu,)), board.firmware(), Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert [(item.control_block, item.state) for item in found.tasks] == [(running, "running"), (waiting, "blocked")]
    assert states[dead] == states[dead_in_running] == UNREACHABLE
    assert states[live] == states[live_in_running] == REACHABLE


def test_a_running_task_without_registers_only_masks(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    lists, heap = Lists(board), make_heap(board, 0x1000)
    _, stack = task(heap, 0)
    buffer = heap.alloc(24)
    control_block = board.variable("static_task", words=16)
    heap.finish()
    lists.link(lists.ready, control_block)
    board.poke(lists.current, control_block)
    board.poke(stack + 128, buffer)
    board.poke(control_block, stack + 100)  # saved long ago: it only shows which stack it is
    found = survey(board.image(), board.firmware(), Question())
    states = {block.address: state for block, state in zip(found.heap.live, found.reach.states, strict=True)}

    assert states[buffer] == MASKED
    assert any(what == "stack_unknown" for what, _ in found.problems)


def test_every_core_has_its_running_task(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    lists, heap = Lists(board, cores=2), make_heap(board, 0x1000)
    (first, first_stack), (second, second_stack) = task(heap, 16), task(heap, 16)
    heap.finish()
    for at in (first, second):
        lists.link(lists.ready, at)
    board.poke(lists.current, first, second)
    registers = (Registers("CPU 0", (0,), first_stack + 200), Registers("CPU 1", (0,), second_stack + 100))

    found = survey(board.image(registers=registers), board.firmware(), Question())

    assert [item.state for item in found.tasks] == ["running", "running"]
    assert [stack.live_from for stack in found.stacks.stacks] == [first_stack + 200, second_stack + 100]


def test_broken_lists_are_followed_as_far_as_they_go(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    board = make_board()
    lists, heap = Lists(board), make_heap(board, 0x1000)
    (first, _), (second, _) = task(heap, 16), task(heap, 16)
    heap.finish()
    lists.link(lists.ready, first)
    lists.link(lists.delayed, second)
    board.poke(first + 8, first + 4)  # its item leads to itself
    board.poke(second + 8, 0x10)  # out of the image

    found = FreeRtosKernel().tasks(board.firmware(), board.image().memory)

    assert {item.control_block for item in found.tasks} == {first, second}
    assert any("a cycle without its end" in text for text in found.problems)
    assert any("xDelayedTaskList1 leads to" in text for text in found.problems)


def test_a_task_between_two_lists_is_said_to_be_missing(make_board: MakeBoard, make_heap: MakeHeap) -> None:
    """Stopped in the middle of a context switch, a task may be in no list; the kernel's count tells."""
    board = make_board()
    lists, heap = Lists(board), make_heap(board, 0x1000)
    first, _ = task(heap, 16)
    heap.finish()
    lists.link(lists.ready, first)
    board.poke(board.symbols["uxCurrentNumberOfTasks"][0], 2)

    found = FreeRtosKernel().tasks(board.firmware(), board.image().memory)

    assert "the kernel counts 2 tasks, its lists hold 1" in found.problems


def test_lists_that_were_never_initialised_are_empty(make_board: MakeBoard) -> None:
    board = make_board()
    board.variable("pxCurrentTCB")
    board.variable("pxReadyTasksLists", words=15)

    found = FreeRtosKernel().tasks(board.firmware(), board.image().memory)

    assert found.tasks == ()


SOURCE = """
#include <stdint.h>
struct xLIST;
struct xLIST_ITEM {
    long check; uint32_t value; struct xLIST_ITEM *pxNext, *pxPrevious; void *pvOwner; struct xLIST *box; };
typedef struct xLIST { long check; long count; struct xLIST_ITEM *pxIndex; struct xLIST_ITEM xListEnd; } List_t;
typedef struct tskTaskControlBlock {
    volatile long *pxTopOfStack; struct xLIST_ITEM state, event; unsigned long uxPriority; long *pxStack;
    char pcTaskName[16]; } tskTCB;
List_t pxReadyTasksLists[2]; tskTCB *pxCurrentTCB;
"""


def test_struct_offsets_come_from_dwarf(tmp_path: Path) -> None:
    (tmp_path / "tasks.c").write_text(SOURCE + "int main(void) { return pxCurrentTCB != 0; }\n")
    elf = tmp_path / "program"
    subprocess.run(["gcc", "-g", "-no-pie", "-o", elf, tmp_path / "tasks.c"], check=True)

    layouts = struct_layouts(elf, ("tskTaskControlBlock", "xLIST", "xLIST_ITEM", "List_t"), files=("tasks.c",))

    assert layouts["xLIST_ITEM"].offset("pvOwner") == 32
    assert layouts["xLIST"].offset("nothing", "xListEnd") == 24
    assert layouts["List_t"].size == layouts["xLIST"].size
    assert layouts["tskTaskControlBlock"].offset("pcTaskName") == 8 + 2 * 48 + 16


def test_no_dwarf_finds_no_struct(make_board: MakeBoard) -> None:
    assert struct_layouts(make_board().elf(), ("xLIST",), files=("list.c",)) == {}
